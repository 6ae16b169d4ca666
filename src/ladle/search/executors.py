"""Executors by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ladle.core.errors import ArgumentError, must, nearest
from ladle.search.processes import Processes
from ladle.search.ray import Ray
from ladle.search.submitit import Submitit
from ladle.search.threads import Threads
from ladle.search.trial import Executor

NAMES = ("threads", "processes", "submitit", "ray")


def executor_named(text: str, folder: Path | None = None) -> Executor:
    """The executor of that name, with a number of workers after a colon. `folder`: for submitit's files.

    >>> executor_named("threads:2")
    Threads(count=2)
    """
    name, _, number = text.partition(":")
    if name not in NAMES:
        why = "ladle knows these"
        raise ArgumentError(must("workers", "be a known name", text, why, nearest(name, NAMES)))
    if number and not (number.isdecimal() and int(number) > 0):
        why = "a trial needs a worker"
        raise ArgumentError(must("workers", "have a number of at least 1", text, why, f"{name}:2"))
    count: Any = {"count": int(number)} if number else {}
    if name == "submitit":
        return Submitit(**count) if folder is None else Submitit(folder / "jobs", **count)
    kinds: dict[str, Any] = {"threads": Threads, "processes": Processes, "ray": Ray}
    return kinds[name](**count)
