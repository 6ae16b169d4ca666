"""Trials as jobs of a Slurm cluster, or of this machine, through submitit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladle.core.errors import ArgumentError, RunError, must


@dataclass(frozen=True)
class Submitit:
    """An `Executor` of `count` jobs, each with an equal part of the items.

    - `executor`: a submitit executor of yours, with partition, time limit and the like; where left out, Slurm if there
      is one, else processes of this machine.
    - `folder`: where submitit writes its pickles and logs; on a cluster, one that all its machines see.

    A job that failed takes its part alone with it. Raises `ArgumentError` where submitit is missing.

    Source: facebookincubator.github.io/submitit (map_array, AutoExecutor).
    """

    folder: str | os.PathLike[str] = "runs/jobs"
    count: int = 8
    executor: Any = None

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        executor = self.executor or _submitit().AutoExecutor(folder=str(Path(self.folder) / "%j"))
        todo = list(items)
        if not todo:
            return
        count = min(self.count, len(todo))
        parts = [todo[number::count] for number in range(count)]  # In turn: neighbours cost about the same.
        jobs = executor.map_array(_all, [function] * count, parts)
        answers: list[Any] = [None] * len(todo)
        for number, job in enumerate(jobs):
            answers[number::count] = _result(job, parts[number])
        yield from answers


def _all(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return [function(item) for item in items]


def _result(job: Any, part: Sequence[Any]) -> list[Any]:
    try:
        return job.result()
    except _submitit().core.utils.UncompletedJobError as error:
        name, why = f"{len(part)} from {part[0]} on", f"job {job.job_id} failed ({type(error).__name__})"
        return [RunError(must("trials", "end by themselves", name, why, f"reading {job.paths.stderr}"))] * len(part)


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        why, remedy = "jobs are sent through it", "pip install 'ladle[cluster]', or workers='processes'"
        raise ArgumentError(must("workers", "be installed", "submitit", why, remedy)) from None
    return submitit
