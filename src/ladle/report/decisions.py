"""What a run changed on its way: batch size, cut, rate and constants, with the reason and the numbers it rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ladle.report import numbers
from ladle.report.curves import AXES, Curve
from ladle.report.study import RunRecord

Pair = tuple[float | None, float | None]
"""Before and after; None where the record does not say."""


@dataclass(frozen=True)
class Change:
    """One decision. `examples`: where it took effect, the end of the window before it.

    `size`, `micro_size`, `lr`: before and after. `hyper`: the constants that moved. `reason`: the policy's own words,
    "" where the record has none. `inputs`: the numbers it rests on.
    """

    examples: float
    updates: float | None
    size: Pair
    micro_size: Pair
    lr: Pair
    hyper: Mapping[str, Pair] = field(default_factory=dict)
    reason: str = ""
    inputs: Mapping[str, float] = field(default_factory=dict)


def changes(run: RunRecord) -> tuple[Change, ...]:
    """Every window of `run` whose record gives a reason, or has another size, cut or constant than the one before.

    A rate that moves by itself follows its schedule and is no decision.

    >>> from pathlib import Path
    >>> lines = [{"examples": 64, "size": 8}, {"examples": 128, "size": 16, "reason": "grew"}]
    >>> [(one.examples, one.size, one.reason) for one in changes(RunRecord(Path("a"), {}, tuple(lines)))]
    [(64.0, (8.0, 16.0), 'grew')]
    """
    found: list[Change] = []
    before: dict[str, float] = {}
    constants: dict[str, float] = {}
    for line in run.lines:
        now = _numbers(line)
        held = _numbers(line.get("hyper"))
        moved = {name: (constants.get(name), value) for name, value in held.items() if constants.get(name) != value}
        begun = "size" in before
        other = any(name in now and name in before and now[name] != before[name] for name in ("size", "micro_size"))
        reason = line.get("reason")
        if (reason or (begun and (other or moved))) and "size" in now:
            size, micro, rate = ((before.get(name), now.get(name)) for name in ("size", "micro_size", "lr"))
            said = str(reason) if reason else ""
            place = before.get("examples", 0.0), before.get("updates")
            found.append(Change(*place, size, micro, rate, moved if begun else {}, said, _numbers(line.get("inputs"))))
        before |= now
        constants |= held
    return tuple(found)


@dataclass(frozen=True)
class Mark:
    """A change on a curve: where it stands on every axis, and the curve's value there."""

    run: RunRecord
    change: Change
    examples: float
    updates: float
    seconds: float
    value: float


def marks(runs: Sequence[RunRecord], curve: Curve) -> list[Mark]:
    """Every change of `runs` on the `curve` that they share."""
    found = []
    for run in runs:
        for change in changes(run):
            columns = (getattr(curve, name) for name in (*AXES, "mean"))
            place = (float(np.interp(change.examples, curve.examples, column)) for column in columns)
            found.append(Mark(run, change, *place))
    return found


def _numbers(value: object) -> dict[str, float]:
    """The finite numbers in a mapping; nothing where it is none."""
    items = value.items() if isinstance(value, Mapping) else ()
    return {str(name): float(one) for name, one in items if numbers.finite(one)}


def pair(value: Pair, form: Callable[[Any], str] = numbers.short) -> str:
    """Before and after in words.

    >>> pair((32.0, 64.0)), pair((64.0, 64.0)), pair((None, 64.0)), pair((None, None))
    ('32 -> 64', '64', '64', '-')
    """
    old, new = value
    if new is None:
        return numbers.NOTHING
    return form(new) if old is None or old == new else f"{form(old)} -> {form(new)}"
