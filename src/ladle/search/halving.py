"""Successive halving: all candidates for a short time, the best third of them for three times as long, and so on."""

from __future__ import annotations

from dataclasses import dataclass

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count

FACTOR = 3
"""Each level keeps one candidate in so many, and trains it so many times as long (eta)."""

FINALISTS = 3
"""Candidates that are trained to the end: what the one-standard-error rule then chooses among."""


@dataclass(frozen=True)
class Level:
    """`count` candidates train up to the share `1 / divisor` of the whole budget."""

    count: int
    divisor: int

    def updates(self, whole: int) -> int:
        """The update to train up to, of `whole`."""
        return -(-whole // self.divisor)


def levels(candidates: int, epochs: float, *, factor: int = FACTOR, finalists: int = FINALISTS) -> tuple[Level, ...]:
    """The levels of one bracket.

        count_i = max(floor(candidates / factor^i), finalists);   budget_i = whole / factor^(s - i);   i = 0 .. s
        s = the largest for which every level drops some, and whole / factor^s >= one epoch

    - `epochs`: the whole budget. A level below one epoch says little, so there is none.
    - `finalists`: how many are trained to the end, or as many as there are.

    Source: Jamieson and Talwalkar, AISTATS 2016; the counts as in Li et al., "Hyperband", JMLR 2018, algorithm 1.

    >>> levels(15, 20.0)
    (Level(count=15, divisor=9), Level(count=5, divisor=3), Level(count=3, divisor=1))
    """
    require_count("candidates", candidates)
    if require_count("factor", factor) < 2:
        raise ArgumentError(must("factor", "be at least 2", factor, "a level keeps a part of the one before", "3"))
    fewest, last = min(require_count("finalists", finalists), candidates), 0
    while candidates // factor**last > fewest and factor ** (last + 1) <= epochs:
        last += 1
    return tuple(Level(max(candidates // factor**i, fewest), factor ** (last - i)) for i in range(last + 1))
