"""Executors by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ladle.core.errors import ArgumentError, must, nearest
from ladle.search.hosts import Hosts
from ladle.search.processes import Processes
from ladle.search.ray import Ray
from ladle.search.submitit import Submitit
from ladle.search.threads import Threads
from ladle.search.trial import Executor

NAMES = ("threads", "processes", "hosts", "submitit", "ray")


def executor_named(text: str, folder: Path | None = None) -> Executor:
    """The executor of that name, with a number of workers after a colon; of "hosts" their commands, joined by commas.

    - `folder`: for submitit's files.

    >>> executor_named("threads:2")
    Threads(count=2)
    >>> executor_named("hosts:ssh one,ssh two").commands
    ('ssh one', 'ssh two')
    """
    name, _, number = text.partition(":")
    if name not in NAMES:
        why = "ladle knows these"
        raise ArgumentError(must("workers", "be a known name", text, why, nearest(name, (*NAMES, "devices"))))
    if name == "hosts":
        return Hosts([one.strip() for one in number.split(",")])
    if number and not (number.isdecimal() and int(number) > 0):
        why = "a trial needs a worker"
        raise ArgumentError(must("workers", "have a number of at least 1", text, why, f"{name}:2"))
    count: Any = {"count": int(number)} if number else {}
    if name == "submitit":
        return Submitit(**count) if folder is None else Submitit(folder / "jobs", **count)
    kinds: dict[str, Any] = {"threads": Threads, "processes": Processes, "ray": Ray}
    return kinds[name](**count)
