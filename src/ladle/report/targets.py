"""Steps, examples and seconds of every size of a comparison to one loss that they reached, and what a plan foretold.

S(B) = S(B0) (1 + noise/B) / (1 + noise/B0)              steps, from the size B0 (McCandlish et al. 2018, eq. 2.11)
T(B) = S(B) (fixed + per_example B)                      seconds, by the plan's throughput line
S(B) = a + b/B,   critical size b/a                      the hyperbola through three sizes or more
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.hyperbola import fewer_steps, fit_hyperbola
from ladle.report import numbers
from ladle.report.curves import AXES
from ladle.report.plan_numbers import update_seconds
from ladle.report.study import Group, RunRecord

LOSS = "valid_loss"

COARSE = 0.5
"""A loss that a size met before it had this share of its steps behind it at the evaluation before is no target."""


@dataclass(frozen=True)
class Reached:
    """One size at the target. `steps`, `examples`, `seconds`: at the first evaluation at or below it, means over seeds
    (steps and examples geometric). `low`: steps at the evaluation before, `high`: steps, over all seeds.
    `predicted_*`: by the plan, from the reference size; None where it says nothing, or for the reference itself.
    """

    name: str
    size: int
    steps: float
    examples: float
    seconds: float
    low: float
    high: float
    predicted_steps: float | None = None
    predicted_low: float | None = None
    predicted_high: float | None = None
    predicted_seconds: float | None = None

    @property
    def steps_ratio(self) -> float | None:
        return None if not self.predicted_steps else self.steps / self.predicted_steps

    @property
    def seconds_ratio(self) -> float | None:
        return None if not self.predicted_seconds else self.seconds / self.predicted_seconds


@dataclass(frozen=True)
class Milestone:
    """A validation loss, the sizes that reached it (ascending), the names of those that did not, and the reference."""

    loss: float
    rows: tuple[Reached, ...]
    missed: tuple[str, ...] = ()
    reference: str = ""


def common_target(groups: Sequence[Group]) -> Milestone | None:
    """The lowest loss that as many sizes as possible reached, and when; None where no two sizes can be compared.

    The loss is that of the size that ended worst, rounded up to two digits. Where another size met it so early that
    evaluations are too far apart to tell when (`COARSE`), the worst size is left out and the next one asked.
    """
    known = [(max(bests), group) for group in groups if (bests := _bests(group))]
    known.sort(key=lambda pair: pair[0])
    for count in range(len(known), 1, -1):
        loss = rounded_up(known[count - 1][0])
        rows = [reached(group, loss) for _, group in known]
        met = sorted((row for row in rows if row is not None), key=lambda row: row.size)
        if len({row.size for row in met}) > 1 and all(row.low >= COARSE * row.steps for row in met):
            names = {row.name for row in met}
            return Milestone(loss, tuple(met), tuple(group.label for group in groups if group.label not in names))
    return None


def reached(group: Group, loss: float) -> Reached | None:
    """When the runs of `group` met `loss`; None where one of them did not."""
    seeds = [_first(run, loss) for run in group.runs]
    met = [one for one in seeds if one is not None]
    if not met or len(met) < len(seeds) or group.size < 1:
        return None
    steps, examples, seconds, before = (np.array(column) for column in zip(*met, strict=True))
    return Reached(
        group.label, group.size, _middle(steps), _middle(examples), float(seconds.mean()),
        float(before.min()), float(steps.max()),
    )  # fmt: skip


def foretold(target: Milestone, plan: Mapping[str, Any] | None) -> Milestone:
    """`target` with what `plan` says of every other size, from its own size where that reached it, else the smallest.

    Nothing is foretold where the plan's noise scale is not resolved.
    """
    noise = plan.get("noise") if isinstance(plan, Mapping) else None
    if plan is None or not isinstance(noise, Mapping) or noise.get("verdict") != "resolved":
        return target
    scales = [float(one) for name in ("value", "low", "high") if numbers.finite(one := noise.get(name))]
    if len(scales) < 3:
        return target
    first = next((row for row in target.rows if row.size == plan.get("size")), target.rows[0])
    rows = tuple(row if row.size == first.size else _foretold(row, first, scales, plan) for row in target.rows)
    return Milestone(target.loss, rows, target.missed, numbers.count(first.size))


def fit(rows: Sequence[Reached]) -> dict[str, Any] | None:
    """The hyperbola S = a + b/B through `rows` as a critical.json has it; None for fewer than three sizes, or no bend.

    The interval of the critical size is the profile's, open where the sizes do not bound it.

    >>> rows = [Reached("", b, 100 + 1000 / b, 0, 0, 0, 0) for b in (1, 10, 100)]
    >>> made = fit(rows)
    >>> round(made["min_steps"]), round(made["min_examples"]), round(made["critical"], 6)
    (100, 1000, 10.0)
    """
    if len({row.size for row in rows}) < 3:
        return None
    found = fit_hyperbola([row.size for row in rows], [row.steps for row in rows])
    low, high = found.interval
    return {
        "min_steps": found.min_steps, "min_examples": found.min_examples, "log_sd": list(found.log_sd),
        "log_cov": found.log_cov, "critical": found.critical, "low": low, "high": high,
    }  # fmt: skip


def sentence(target: Milestone) -> str:
    """How well steps and time were foretold, in words; "" where nothing was."""
    steps = [row.steps_ratio for row in target.rows if row.steps_ratio is not None]
    if not steps:
        return ""
    seconds = [row.seconds_ratio for row in target.rows if row.seconds_ratio is not None]
    text = f"From size {target.reference} the plan foretold the steps of {len(steps)} other sizes to within a factor "
    text += f"of {_worst(steps):.2g}"
    return text + (f", and their time to within {_worst(seconds):.2g}." if seconds else ".")


def rounded_up(value: float) -> float:
    """To two digits, never below `value`.

    >>> rounded_up(0.1613), rounded_up(0.17), rounded_up(12.1)
    (0.17, 0.17, 13.0)
    """
    if not value > 0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(round(value / unit, 9)) * unit:.3g}")


def _bests(group: Group) -> list[float]:
    """The lowest loss of each run; none where one diverged or never told a loss."""
    columns = [run.column(LOSS)[1] for run in group.runs]
    sound = columns and not any(run.diverged for run in group.runs) and all(column.size for column in columns)
    return [float(column.min()) for column in columns] if sound else []


def _first(run: RunRecord, loss: float) -> tuple[float, float, float, float] | None:
    """`(updates, examples, seconds, updates before)` at the first evaluation at or below `loss`."""
    before = 0.0
    for line in run.lines:
        if not all(numbers.finite(line.get(name)) for name in (LOSS, *AXES)):
            continue
        updates = float(line["updates"])
        if line[LOSS] <= loss:
            return (updates, float(line["examples"]), float(line["seconds"]), before) if updates else None
        before = updates
    return None


def _foretold(row: Reached, first: Reached, scales: Sequence[float], plan: Mapping[str, Any]) -> Reached:
    steps = [first.steps * fewer_steps(noise, first.size, row.size) for noise in scales]
    each = update_seconds(plan, row.size)
    return Reached(
        row.name, row.size, row.steps, row.examples, row.seconds, row.low, row.high,
        steps[0], min(steps), max(steps), None if each is None else steps[0] * each,
    )  # fmt: skip


def _middle(values: np.ndarray) -> float:
    return float(np.exp(np.log(values).mean()))


def _worst(ratios: Sequence[float]) -> float:
    return max(max(ratio, 1 / ratio) for ratio in ratios)
