"""Who comes to a round, who leaves before its end, and who never answers: functions of (seed, round, client)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ladle.core.errors import ArgumentError, RunError, must
from ladle.core.seed import seed_words

SAMPLED, DROPPED, EARLY, LENGTH = range(4)
"""What a client's numbers in a round are drawn for."""


@dataclass(frozen=True)
class Absence:
    """Clients that do not do all they were asked to.

    - `drop`: the chance that a client's answer never comes. `early`: that it stops early and answers; it then does a
      share of its updates drawn evenly from `least` to 1, rounded up. The mean counts rows that were trained on, so
      such a client has less weight.

    Raises `ArgumentError` for chances that cannot be, and where all clients would be away.
    """

    drop: float = 0.0
    early: float = 0.0
    least: float = 0.1

    def __post_init__(self) -> None:
        for name, high in (("drop", 1.0), ("early", 1.0), ("least", 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
                why, remedy = "it is a chance or a share", f"{name}=0.1"
                raise ArgumentError(must(name, "lie between 0 and 1", value, why, remedy))
        if self.drop == 1:
            why = "all clients would be away, and no round would have an answer"
            raise ArgumentError(must("drop", "be below 1", self.drop, why, "drop=0.1"))


class Attending(NamedTuple):
    """Clients of a round, `i64[n]`, ascending; whether each answers, `bool[n]`; updates that it does, `i64[n]`."""

    clients: np.ndarray
    there: np.ndarray
    limit: np.ndarray


@dataclass(frozen=True)
class Attendance:
    """Draws the clients of each round.

    - `updates`: `i64[clients]`, what each does in a whole round. `count`: how many are asked.
    - `way`: "fixed", always `count` of them, none twice; "poisson", each by itself with the chance `count / clients`,
      which is what an accountant of privacy assumes.
    - `available`: which clients can be asked in a round, by number; all where left out.

    Raises `RunError` in a round that no client is available for.
    """

    updates: np.ndarray
    count: int
    seed: int
    way: Literal["fixed", "poisson"] = "fixed"
    absence: Absence = Absence()
    available: Callable[[int], Sequence[int]] | None = None

    def at(self, number: int) -> Attending:
        """The clients of round `number`, counted from 0."""
        chosen, least = self._chosen(number, self._available(number)), self.absence.least
        there, limit = np.ones(len(chosen), bool), self.updates[chosen]
        if self.absence.drop:
            there = self._drawn(number, DROPPED)[chosen] >= self.absence.drop
        if self.absence.early:
            early = self._drawn(number, EARLY)[chosen] < self.absence.early
            done = np.where(early, least + (1 - least) * self._drawn(number, LENGTH)[chosen], 1.0)
            limit = np.ceil(limit * done).astype(np.int64)
        return Attending(chosen, there, limit)

    def _chosen(self, number: int, here: np.ndarray) -> np.ndarray:
        """Those of `here` who are asked, ascending."""
        if self.way == "fixed" and self.count >= len(here):
            return here
        chance = self._drawn(number, SAMPLED)[here]
        if self.way == "poisson":
            return here[chance < self.count / len(self.updates)]
        return np.sort(here[np.argsort(chance, kind="stable")[: self.count]])

    def _available(self, number: int) -> np.ndarray:
        if self.available is None:
            return np.arange(len(self.updates))
        here = np.unique(list(self.available(number)))
        if not len(here):
            why, remedy = "all clients are away, and there is nobody to train", "rounds in which some are there"
            raise RunError(must("available", f"name a client in round {number}", "none", why, remedy))
        if here.dtype.kind not in "iu" or here[0] < 0 or here[-1] >= len(self.updates):
            why = f"there are {len(self.updates)} clients"
            raise RunError(must("available", "name clients by their numbers", here.tolist(), why, "numbers from 0"))
        return here

    def _drawn(self, number: int, purpose: int) -> np.ndarray:
        """One number from 0 to 1 for each client."""
        entropy = [*seed_words(self.seed).tolist(), number, purpose]
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy))).random(len(self.updates))
