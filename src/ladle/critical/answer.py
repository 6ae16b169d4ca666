"""`Critical`: a measured critical batch size, each number with its name. Frozen, printable, JSON out."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ladle.core import record
from ladle.core.errors import ArgumentError, must
from ladle.core.shown import shown
from ladle.critical.definition import Definition

Kind = Literal["branches", "steps to target"]


@dataclass(frozen=True)
class Critical:
    """What was measured about the critical batch size.

    - `kind`: "branches" of a run from one checkpoint, or "steps to target" from fresh parameters.
    - `table`: one mapping per size, ascending. `definitions`: each critical size with its name, interval and source.
    - `points`: `(examples, size, low, high)`: the position in a run and the critical size measured there by the paired
      test; empty for steps to a target, and where one data order left it untested. See `points_of`.
    - `facts`: what else was found (the fit, the target, examples trained). `notes`: what to know before it is used.
    - `folder`: where critical.json and critical.png are, or None.
    """

    kind: Kind
    table: tuple[Mapping[str, Any], ...]
    definitions: tuple[Definition, ...]
    points: tuple[tuple[int, float, float, float], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    folder: Path | None = None

    def __getitem__(self, name: str) -> Definition:
        """The definition whose name begins with `name`. Raises `KeyError` for none."""
        for one in self.definitions:
            if one.name.startswith(name):
                return one
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """JSON data; what has no upper bound and what is not known are written as null."""
        keys = ("examples", "size", "low", "high")
        return record.plain(
            {
                "kind": self.kind,
                "table": [dict(row) for row in self.table],
                "definitions": [one.to_json() for one in self.definitions],
                "points": [dict(zip(keys, point, strict=True)) for point in self.points],
                **self.facts,
                "notes": list(self.notes),
            }
        )

    def __str__(self) -> str:
        lines = [*_columns(self.table, COLUMNS[self.kind]), ""]
        wide = max((len(one.name) for one in self.definitions), default=0)
        lines += [f"{one.name:<{wide}}  {self._value(one):>7}  {interval(one)}" for one in self.definitions]
        return "\n".join(line.rstrip() for line in [*lines, *(f"note: {note}" for note in self.notes)])

    def _value(self, one: Definition) -> str:
        """A number, or where it is in words: that it is beyond the sizes is all that a fit can tell then."""
        sizes = [row["size"] for row in self.table if row.get("steps", 0) is not None]
        if one.value == math.inf:
            return f"above {number(max(sizes))}, not resolved"
        return number(one.value) if one.value != 0 else f"below {number(min(sizes))}, not resolved"

    def _repr_html_(self) -> str:
        return shown(self, str(self))


COLUMNS: Mapping[str, Mapping[str, str]] = {
    "branches": {
        "factor": "factor",
        "size": "size",
        "lr_factor": "rate x",
        "updates": "updates",
        "loss": "valid loss",
        "difference": "above the first",
        "error": "its error",
        "verdict": "verdict",
    },
    "steps to target": {
        "size": "size",
        "steps": "steps",
        "examples": "examples",
        "low": "least",
        "high": "most",
        "rate": "best rate",
        "fitted": "fitted",
    },
}
"""Columns of the printed table and their headings, by kind."""


def points_of(
    folders: Sequence[str | os.PathLike[str]], which: Literal["low", "size"] = "low"
) -> tuple[tuple[int, float], ...]:
    """`(examples, critical size)` of every branch measurement in `folders`, by position; the last of a place counts.

    What `ladle.policy.MeasuredWarmup` follows.

    - `which`: the largest size shown to do no harm ("low"), or the largest not shown to do any ("size"), which a
      measurement that resolves nothing puts at its largest factor.

    Raises `ArgumentError` for a folder without critical.json, and where none of them holds a point.
    """
    found: dict[int, float] = {}
    for folder in folders:
        for point in record.read_json(Path(folder) / record.CRITICAL_FILE)["points"]:
            found[int(point["examples"])] = float(point[which])
    if not found:
        why = "steps to a target say nothing of a moment in a run, nor does one data order"
        remedy = "a folder that `ladle critical` wrote for a run, of three seeds"
        raise ArgumentError(must("folders", "hold a measurement by branches", list(map(str, folders)), why, remedy))
    return tuple(sorted(found.items()))


def number(value: Any) -> str:
    """A number as it is printed: whole numbers whole, others to four digits.

    >>> number(1024.0), number(0.123456), number(None), number(float("inf"))
    ('1,024', '0.1235', '-', 'inf')
    """
    if isinstance(value, str):
        return value
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if math.isfinite(value) and (abs(value) >= 1000 or value == int(value)) else f"{value:.4g}"


def interval(one: Definition) -> str:
    """The interval in words.

    >>> interval(Definition("B", 64, 32, math.inf, "")), interval(Definition("B", 64, math.nan, math.nan, ""))
    ('at least 32', '')
    """
    bounded = one.low > 0, one.high < math.inf
    if math.isnan(one.low) or math.isnan(one.high):
        return ""
    if all(bounded):
        return f"{number(one.low)} to {number(one.high)}"
    if bounded[0]:
        return f"at least {number(one.low)}"
    return f"at most {number(one.high)}" if bounded[1] else "not bounded by these sizes"


def _columns(table: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> list[str]:
    shown = {key: heading for key, heading in columns.items() if any(row.get(key) is not None for row in table)}
    cells = [list(shown.values()), *([number(row.get(key)) for key in shown] for row in table)]
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, wide, strict=True)) for row in cells]
