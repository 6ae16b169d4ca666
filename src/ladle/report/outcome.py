"""A plan against what came of it: time, memory and noise scale, foretold and measured, with their ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.report import numbers, tracks
from ladle.report.plan_numbers import evidence, update_seconds
from ladle.report.study import RunRecord, Study

Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Held:
    """One number of a plan beside the same number of the runs. `unit` as evidence names it.

    - `low`, `high`: of the prediction. `actual_low`, `actual_high`: of what was measured; `how` says what they are.
    - `alike`: whether the two measure the same thing, so that their ratio means something.
    """

    name: str
    unit: str
    predicted: float | None
    actual: float | None
    how: str
    ends: Ends = (None, None)
    actual_ends: Ends = (None, None)
    alike: bool = True

    @property
    def ratio(self) -> float | None:
        """Actual over predicted, where both are known and alike."""
        known = self.alike and numbers.finite(self.predicted) and numbers.finite(self.actual) and self.predicted
        return self.actual / self.predicted if known else None  # type: ignore[operator]


def planned(study: Study) -> list[tuple[str, Mapping[str, Any], tuple[RunRecord, ...], float | None]]:
    """`(name, plan, runs, peak memory of an update)` of every group in `study` that was run as a plan says."""
    if study.compare:
        plan = study.compare.get("plan")
        rows = [row for row in study.rows if row["name"] == "planned"]
        if not isinstance(plan, Mapping) or not rows:
            return []
        group = study.groups[study.group_of(rows[0])]
        return [(group.label, plan, group.runs, rows[0].get("peak_memory_bytes"))]
    runs = [(group.label, run) for group in study.groups for run in group.runs]
    return [(name, run.info["plan"], (run,), None) for name, run in runs if isinstance(run.info.get("plan"), Mapping)]


def held(plan: Mapping[str, Any], runs: Sequence[RunRecord], peak_bytes: float | None = None) -> tuple[Held, ...]:
    """Every number that both `plan` and `runs` know. `runs`: of that plan, differing in their seed.

    - `peak_bytes`: peak of an update at that size, measured apart.
    """
    made = (*_speed(plan, runs), *_memory(plan, runs, peak_bytes), *_noise(plan, runs))
    return tuple(one for one in made if one.predicted is not None and one.actual is not None)


def sentence(found: Sequence[Held]) -> str:
    """How far off the plan was, in words.

    >>> sentence([Held("seconds per update", "s", 1.0, 1.5, ""), Held("peak memory", "bytes", 2e6, 1e6, "")])
    'Seconds per update: 1.5 times the plan; peak memory: 0.5 times.'
    """
    told = [(one.name, one.ratio) for one in found if one.ratio is not None]
    if not told:
        return "Nothing that the plan foretold was measured in the same way."
    words = [f"{name}: {ratio:.2g} times" for name, ratio in told]
    text = "; ".join([f"{words[0]} the plan", *words[1:]]) + "."
    return text[:1].upper() + text[1:]


def _speed(plan: Mapping[str, Any], runs: Sequence[RunRecord]) -> list[Held]:
    windows = [one for run in runs for one in _timed(run)]
    if not windows:
        return []
    seconds = np.array([taken / updates for updates, _, taken, _ in windows])
    speeds = np.array([examples / taken for _, examples, taken, _ in windows])
    foretold = [update_seconds(plan, size) for *_, size in windows]
    size = plan.get("size")
    at_plan = np.array([one[-1] == size for one in windows])
    made = []
    if at_plan.any() and numbers.finite(size):
        how = "median window; small print: the middle nine tenths of the windows"
        speed = evidence(plan, "examples_per_second")
        update = size / speed["value"] if speed.get("value") else update_seconds(plan, size)
        made.append(_of("seconds per update, median window", "s/update", update, seconds[at_plan], how))
        made.append(
            _of(
                "examples per second, median window",
                "examples/s",
                size / update if update else None,
                speeds[at_plan],
                how,
            )
        )
    if all(one is not None for one in foretold):
        total = sum(one[0] * told for one, told in zip(windows, foretold, strict=True) if told is not None)
        how = "the plan's time per update, at every size that was run, times the updates made; training alone"
        made.append(Held("time of all updates", "s", total, float(sum(one[2] for one in windows)), how))
    return made


def _of(name: str, unit: str, predicted: float | None, values: np.ndarray, how: str) -> Held:
    low, middle, high = (float(x) for x in np.quantile(values, (0.05, 0.5, 0.95)))
    return Held(name, unit, predicted, middle, how, actual_ends=(low, high) if len(values) > 1 else (None, None))


def _timed(run: RunRecord) -> list[tuple[float, float, float, float]]:
    """`(updates, examples, seconds, size)` of every window that tells them."""
    made, before = [], {"updates": 0.0, "examples": 0.0, "seconds": 0.0}
    for line in run.lines:
        if not all(numbers.finite(line.get(name)) for name in before):
            continue
        updates, examples, seconds = (line[name] - before[name] for name in before)
        before = {name: line[name] for name in before}
        if updates > 0 and seconds > 0 and numbers.finite(line.get("size")):
            made.append((updates, examples, seconds, float(line["size"])))
    return made


def _memory(plan: Mapping[str, Any], runs: Sequence[RunRecord], peak_bytes: float | None) -> list[Held]:
    foretold = evidence(plan, "memory_predicted_bytes").get("value")
    measured = evidence(plan, "memory_measured_bytes").get("value")
    most = max((float(run.column("memory_bytes")[1].max(initial=0.0)) for run in runs), default=0.0)
    on_host = any(run.on_host for run in runs)
    made = [Held("memory of an update", "bytes", foretold, measured, "peak of a child process, before the run")]
    if numbers.finite(peak_bytes):
        made.append(Held("memory, after the runs", "bytes", foretold, peak_bytes, "peak of a child process"))
    if most > 0:
        how = "whole process, its libraries too: no ratio" if on_host else "on the device between windows, highest"
        made.append(Held("memory in the record", "bytes", foretold, most, how, alike=not on_host))
    return made


def _noise(plan: Mapping[str, Any], runs: Sequence[RunRecord]) -> list[Held]:
    noise = plan.get("noise")
    known = noise if isinstance(noise, Mapping) else {}
    ends = [tracks.summary(run) for run in runs]
    if not runs or not all(ends) or known.get("verdict") == "unresolved":
        return []
    value = known.get("value")
    made = []
    for k, part in enumerate(("first", "last")[: min(map(len, ends))]):
        found = np.median([one[k] for one in ends], axis=0)
        how = f"{part} third of the windows that measured it; at least the lower end, where there is no upper one"
        actual, low, high = (float(x) for x in found)
        shown = actual if math.isfinite(actual) else low
        foretold = value if numbers.finite(value) else known.get("low")
        own = known.get("low"), known.get("high")
        open_end = not math.isfinite(high)
        made.append(
            Held(
                f"noise scale, {part} third", "examples", foretold, shown, how, own,
                (low, None if open_end else high), alike=not open_end and numbers.finite(value),
            )
        )  # fmt: skip
    return made
