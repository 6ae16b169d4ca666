"""What a search tries: a candidate (size and rate), a trial of it (fold and seed), and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, order=True)
class Candidate:
    """A batch size with a learning rate, as the search compares them."""

    size: int
    lr: float

    def __str__(self) -> str:
        return f"size {self.size}, rate {self.lr:g}"


@dataclass(frozen=True)
class Trial:
    """A candidate trained on all folds but `fold`, from `seed`, and judged on that fold."""

    candidate: Candidate
    fold: int
    seed: int

    def __str__(self) -> str:
        return f"{self.candidate}, fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True)
class Stretch:
    """A stretch of a trial: from update `begun`, where `state` was, up to update `updates`.

    - `state`: what the stretch before returned; None at the start. `keep`: return the state, to go on from.
    """

    trial: Trial
    updates: int
    begun: int = 0
    state: Any = field(default=None, repr=False, compare=False)
    keep: bool = False

    def __str__(self) -> str:
        return str(self.trial)


@dataclass(frozen=True)
class Outcome:
    """What came of a trial so far.

    - `reading`: losses and metrics on the fold left out. `seconds`: training and judging, all stretches together.
    - `diverged`: an update was refused, or the loss is not finite. `state`: to go on from, where it was asked for.
    - `failed`: why the trial did not end, where it did not; it then has no reading and counts as diverged.
    """

    trial: Trial
    updates: int
    reading: Mapping[str, float]
    seconds: float
    diverged: bool = False
    state: Any = field(default=None, repr=False, compare=False)
    failed: str = ""

    @classmethod
    def of_failure(cls, stretch: Stretch, why: object) -> Outcome:
        return cls(stretch.trial, stretch.updates, {}, math.nan, diverged=True, failed=str(why))


class Executor(Protocol):
    """Who runs trials."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """`function` of every item, in the order of the items. Where it must travel, it is pickled once a worker.

        An exception of `function` is raised here. A worker that died takes no other item with it: the answer to its
        item is a `RunError` that names it.
        """
        ...
