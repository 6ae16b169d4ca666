"""A batch size fixed in advance, as a table of `Segment`s; `follow` is the one place that answers "which size here".

A segment begins exactly at its `start`: the update whose first example is number `start` has the new size. Because the
clock counts examples, a schedule ends where it was told to, whatever the sizes were on the way.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ladle.core.decision import Decision
from ladle.core.spec import BatchSpec, rung_for
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.change import Last, Reason, decided
from ladle.policy.coupling import Rate, coupled


@dataclass(frozen=True)
class Segment:
    """Holds from position `start` (examples drawn) on: `size` examples per update at `lr_factor` times the rate.

    - `hyper`: optimiser constants in force there; empty where they stay as they are.
    """

    start: int
    size: int
    lr_factor: float = 1.0
    hyper: Mapping[str, float] = field(default_factory=dict, hash=False)


def follow(
    segments: Sequence[Segment], memory: Any, *, examples: int, micro_size: int, kind: str
) -> tuple[Last, Decision]:
    """Finds the decision at position `examples`: the last segment whose `start` is reached, until the next one's.

    `micro_size`: most rows that fit at once; the decision's own is the rung for its size. `kind` ends the reason,
    which is there exactly when size, cut, factor or constants differ from `memory`.

    >>> table = (Segment(0, 64), Segment(1000, 128))
    >>> follow(table, None, examples=999, micro_size=64, kind="steps")[1].spec.size
    64
    >>> follow(table, None, examples=1000, micro_size=64, kind="steps")[1].spec.size
    128
    """
    index = bisect_right(segments, examples, key=lambda segment: segment.start)
    now = segments[index - 1]
    spec = BatchSpec(now.size, rung_for(now.size, micro_size))
    stop = segments[index].start if index < len(segments) else None
    rate = Rate(now.lr_factor, now.hyper)
    return decided(Last.recall(memory), spec, rate, examples=examples, reason=Reason(kind), stop=stop)


def serial_fraction(segments: Sequence[Segment], end: int) -> float:
    """Updates until position `end`, as a share of those at the first size throughout: 1/end sum_k n_k size_0 / size_k.

    n_k is the number of examples that segment k lasts; ragged last batches of an epoch are left out of account.

    >>> serial_fraction((Segment(0, 64), Segment(1000, 128)), end=2000)
    0.75
    """
    starts = [min(segment.start, end) for segment in segments] + [end]
    lengths = [after - before for before, after in pairwise(starts)]
    return math.fsum(n * segments[0].size / segment.size for n, segment in zip(lengths, segments, strict=True)) / end


def table_of(pairs: Sequence[tuple[int, int]], coupling: AnyCoupling) -> tuple[Segment, ...]:
    """Makes segments whose rate follows the size; the first size is where the rate belongs."""
    first = pairs[0][1]
    return tuple(Segment(start, size, *coupled(coupling, first, size)) for start, size in pairs)


def traits_of_table(segments: Sequence[Segment], coupling: AnyCoupling = "none") -> Traits:
    """What a policy that follows a table declares: how far its sizes go, and by which rule the rate followed them.

    >>> traits_of_table((Segment(0, 64), Segment(1000, 128))).largest
    128
    """
    sizes = [segment.size for segment in segments]
    return Traits(smallest=min(sizes), largest=max(sizes), coupling=coupling)
