"""What the verbs share: the options that say what is trained, and how answers are printed."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from ladle.api.options import IN_FILE, LISTS, TaskOptions
from ladle.api.task_file import is_task_file
from ladle.cli.arguments import As, Data
from ladle.core import record
from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class Common(TaskOptions):
    """Options that say what is trained, and where the answer goes; shared by the verbs."""

    data: Data
    """Name (see `ladle data`), table, .npz/.npy/idx file, or file.py:task."""
    as_: As = ()
    """What columns are: column=number, category, text, date or id (left out)."""
    out: Path | None = None
    """Folder to write; runs/... where left out."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    RATES: ClassVar = ("auto",)
    """Words that --lr may be instead of a number."""

    def options(self) -> TaskOptions:
        """The options of the task alone. Raises `ArgumentError` for those that would be left unused."""
        given = {one.name: getattr(self, one.name) for one in fields(TaskOptions)}
        lr = rate_from(self.lr, words=self.RATES)
        for name in IN_FILE if is_task_file(self.data) else ():
            if given[name] != getattr(TaskOptions, name):
                why, remedy = "the file says it itself", f"leaving it out, or changing it in {self.data}"
                raise ArgumentError(must(f"--{name}", "be left out here", given[name], why, remedy))
        lists = {name: tuple(given[name]) for name in LISTS}
        return TaskOptions(**{**given, **lists, "lr": lr if isinstance(lr, float) else "auto"})

    def file_of(self, name: str) -> str:
        """The file of the user's where `name` is said, for the command line does not; "" where there is none."""
        if not is_task_file(self.data):
            return ""
        here = {one.name for one in fields(self)} - {one.name for one in fields(TaskOptions)}
        given = getattr(self, name, None) != getattr(TaskOptions, name, None)
        return "" if name in here or given else Path(self.data.partition(":")[0]).name

    def begun_with(self, name: str) -> bool:
        """Whether `name` was settled when the run began that the verb goes on with."""
        return False


def print_json(value: Any) -> None:
    print(json.dumps(record.plain(value), allow_nan=False))


def rate_from(given: float | str, *, words: tuple[str, ...]) -> float | str:
    """A learning rate: a positive number, or one of `words`. Raises `ArgumentError` for anything else."""
    if given in words:
        return given
    try:
        rate = float(given)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        be, why = f"be a positive number or {' or '.join(words)}", "a rate says how far to step"
        raise ArgumentError(must("lr", be, given, why, "--lr auto"))
    return rate
