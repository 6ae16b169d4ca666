"""Runs as reports know them: `RunRecord`, seeds together as a `Group`, and a `Study` of several. Frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ladle.report.numbers import finite


@dataclass(frozen=True)
class RunRecord:
    """One run as it was written: `info` from `run.json`, `lines` from `metrics.jsonl`, oldest first."""

    folder: Path
    info: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[Mapping[str, Any], ...] = ()

    @property
    def diverged(self) -> bool:
        return self.info.get("status") == "diverged"

    @property
    def on_host(self) -> bool:
        """Whether it ran on processors alone: the memory in its record is then that of the whole process."""
        hardware = self.info.get("hardware")
        devices = hardware.get("devices") if isinstance(hardware, Mapping) else None
        return isinstance(devices, list | tuple) and any(str(one).startswith("cpu") for one in devices)

    @property
    def last(self) -> Mapping[str, Any]:
        """The newest value of every field that any line has."""
        newest: dict[str, Any] = {}
        for line in self.lines:
            newest.update({name: value for name, value in line.items() if value is not None})
        return newest

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """`(examples f64[lines], values f64[lines])` of the lines where `name` is a finite number."""
        pairs = [(line["examples"], line[name]) for line in self.lines if finite(line.get(name)) and "examples" in line]
        table = np.asarray(pairs, dtype=float).reshape(-1, 2)
        return table[:, 0], table[:, 1]


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed: one curve. `name` is what the user called it, `size` its batch size.

    `also`: other names of the same runs: a plan may choose a size that was asked for anyway.
    """

    name: str
    size: int
    runs: tuple[RunRecord, ...]
    also: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """All names, with the size where none says it: `full (1,437)`, `64 = planned`."""
        names = " = ".join((self.name, *self.also))
        said = str(self.size) in (name.replace(",", "") for name in (self.name, *self.also))
        return names if not self.size or said else f"{names} ({self.size:,})"


@dataclass(frozen=True)
class Study:
    """What one report section is about: a compare folder, or run folders side by side.

    - `rows`: one mapping per name with the fields of `compare.json`'s "runs", see `ladle.report.table`.
    - `compare`: the content of `compare.json`; empty for plain run folders.
    - `critical`: the content of a critical.json that `ladle critical` wrote; there are no groups then.
    """

    folder: Path
    groups: tuple[Group, ...]
    rows: tuple[Mapping[str, Any], ...]
    compare: Mapping[str, Any] = field(default_factory=dict)
    critical: Mapping[str, Any] = field(default_factory=dict)

    def group_of(self, row: Mapping[str, Any]) -> int:
        """Which group the runs of `row` are in."""
        return next(i for i, group in enumerate(self.groups) if row["name"] in (group.name, *group.also))

    @property
    def plan(self) -> Mapping[str, Any] | None:
        """The plan as JSON: of the comparison, or of the first run that has one."""
        if self.compare:
            return self.compare.get("plan")
        owner = self.planned
        return None if owner is None else owner.info["plan"]

    @property
    def planned(self) -> RunRecord | None:
        """The first run that has a plan of its own."""
        return next((run for group in self.groups for run in group.runs if run.info.get("plan")), None)


def valid_metric(runs: Sequence[RunRecord]) -> str | None:
    """The validation column besides the loss that these runs have, such as `valid_accuracy`, or None.

    Not those of one source alone, `valid_loss/web`. Of several the first by name: of a regression the absolute error,
    for the squared one is the loss again.
    """
    names = {name for run in runs for line in run.lines for name in line if name.startswith("valid_")}
    return min((name for name in names if name != "valid_loss" and "/" not in name), default=None)
