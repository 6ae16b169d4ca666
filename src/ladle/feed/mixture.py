"""`Mixture`: an order over several sources at once, in exact proportions, without a state of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must, nearest
from ladle.core.protocols import Order
from ladle.core.seed import seed_words
from ladle.core.spec import require_count
from ladle.feed.bijection import WIDE, host_while, permute, round_keys, sides
from ladle.feed.keys import MIXTURE, SOURCES, for_each, stream
from ladle.feed.layout import interleave
from ladle.feed.order import Permuted

PERIOD = 2**16
"""Longest period in which weights become whole shares. A share is off by less than 1 / PERIOD of all draws."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """Several sources end to end, drawn in the proportions of `weights`; implements `ladle.core.protocols.Order`.

    Ids of source `s` are its own plus the sizes of the sources before it, as in `ladle.feed.source.join.Joined`.
    With `w_s = weights[s] / sum(weights)` and `k` sources of some weight, the first `p` positions hold

        |x_s(p) - p * w_s| <= 1 - 1 / (2k - 2)

    of source `s`, hence any stretch, such as a batch, `p * w_s` give or take twice that (see
    `ladle.feed.layout.interleave`). Each source goes on through its own passes by its own order: its `j`-th draw is
    `orders[s].ids(j, 1)`, and `j` is a function of the position (`where`). So the one position is the whole state, at
    10**11 as at 0. A pass of the mixture (`epoch_size`) is a mere number of draws, at which batches end; what every
    example has its turn in is a pass of its source.

    - `orders`: name -> order of that source, or its number of examples, for `Permuted` with a seed of its own.
    - `weights`: name -> share, for every source; zero leaves one out. Shares become whole numbers of the shortest
      period of at most 65,536 draws in which they are whole, else the nearest in 65,536 (largest remainder): off by
      less than 1.6e-5 of all draws.
    - `schedule`: instead of `weights`, `{position: weights}` from that position on, the first of them 0. Counts go on
      across a change, the bound then holds from the change on.
    - `exact`: False draws the places inside blocks of `block` positions at random: a block (counted from the last
      change of weights) holds its sources in proportion, a stretch shorter than that does on average.
    - `draws`: positions in one pass; as many as all sources have examples by default.

    Raises `ArgumentError` for weights that are negative, not finite, all zero or above zero but too small for the
    period, for names without an order or orders without a weight, and for a schedule that does not begin at 0.

    >>> both = Mixture({"a": 100, "b": 10}, {"a": 3, "b": 1}, seed=0)
    >>> both.ids(0, 8).tolist()
    [26, 15, 103, 0, 1, 85, 104, 86]
    >>> both.where(10**11)
    {'a': 75000000000, 'b': 25000000000}
    """

    orders: Mapping[str, Order | int]
    weights: Mapping[str, float] | None = None
    _: KW_ONLY
    schedule: Mapping[int, Mapping[str, float]] | None = None
    exact: bool = True
    block: int = 1024
    draws: int | None = None
    seed: int = 0
    examples: int = field(init=False)
    """Ids are below this."""

    def __post_init__(self) -> None:
        if not self.orders:
            why, remedy = "there is nothing to draw from", '{"a": Permuted(n, seed)}'
            raise ArgumentError(must("orders", "name at least one source", self.orders, why, remedy))
        seed_words(self.seed)
        require_count("block", self.block)
        object.__setattr__(self, "orders", dict(zip(self.orders, self._each_order(), strict=True)))
        object.__setattr__(self, "examples", int(self._first[-1]))
        draws = self.examples if self.draws is None else require_count("draws", self.draws)
        if draws > WIDE:
            why, remedy = "places are computed in machine words", "fewer"
            raise ArgumentError(must("draws", f"be at most {WIDE}", draws, why, remedy))
        object.__setattr__(self, "draws", draws)
        assert self._phases  # Weights that cannot be are refused now.

    @property
    def epoch_size(self) -> int:
        assert self.draws is not None
        return self.draws

    def ids(self, start: int, count: int) -> np.ndarray:
        """`i64[count]` ids at positions `start .. start + count`, as the sources are numbered end to end."""
        owner = self._owners(start, count)
        before, ids = self._before(start), np.empty(count, np.int64)
        for number in np.unique(owner).tolist():
            at = np.flatnonzero(owner == number)
            ids[at] = self._first[number] + self._order(number).ids(int(before[number]), len(at))
        return ids

    def where(self, position: int) -> dict[str, int]:
        """How many examples of each source are drawn before `position`: its own position in its own order."""
        return dict(zip(self.orders, self._before(position).tolist(), strict=True))

    def _order(self, number: int) -> Any:
        return list(self.orders.values())[number]

    def _each_order(self) -> Iterator[Order]:
        for number, order in enumerate(self.orders.values()):
            if not hasattr(order, "ids"):
                low, high = round_keys(seed_words(self.seed), np.uint32(0), stream(SOURCES + number), 2)[:, 0].tolist()
                order = Permuted(order, low | high << 32)  # type: ignore[arg-type]
            yield order  # type: ignore[misc]

    @cached_property
    def _first(self) -> np.ndarray:
        """`i64[k + 1]`: the first id of each source, and one past the last."""
        sizes = [getattr(order, "examples", order.epoch_size) for order in self.orders.values()]  # type: ignore[union-attr]
        return np.cumsum([0, *sizes])

    @cached_property
    def _phases(self) -> list[_Phase]:
        schedule = _checked_schedule(self.weights, self.schedule)
        phases, before = [], np.zeros(len(self.orders), np.int64)
        for start, stop in zip(schedule, [*list(schedule)[1:], None], strict=True):
            phase = _Phase(start, stop, _owners_of(_checked_shares(schedule[start], self.orders)), before)
            phases.append(phase)
            before = before if stop is None else phase.before + phase.counts(stop - start)
        return phases

    def _phase(self, position: int) -> _Phase:
        return next(phase for phase in reversed(self._phases) if phase.start <= position)

    def _before(self, position: int) -> np.ndarray:
        """`i64[k]`, `where` by number of the source."""
        phase = self._phase(position)
        inside = position - phase.start
        whole = inside if self.exact else inside // self.block * self.block
        rest = self._owners(phase.start + whole, inside - whole)
        return phase.before + phase.counts(whole) + np.bincount(rest, minlength=len(self.orders))

    def _owners(self, start: int, count: int) -> np.ndarray:
        """`i64[count]`: the number of the source whose turn it is at each position."""
        parts, stop = [np.empty(0, np.int64)], start + count
        while start < stop:
            phase = self._phase(start)
            end = stop if phase.stop is None else min(stop, phase.stop)
            places = np.arange(start - phase.start, end - phase.start)
            parts.append(phase.owner[(places if self.exact else self._moved(phase, places)) % len(phase.owner)])
            start = end
        return np.concatenate(parts)

    def _moved(self, phase: _Phase, places: np.ndarray) -> np.ndarray:
        """Each place (`i64[k]`, neighbours) sent to another one of its block, by a bijection of the block."""
        moved = []
        for number in range(places[0] // self.block, places[-1] // self.block + 1):
            first = number * self.block
            size = self.block if phase.stop is None else min(self.block, phase.stop - phase.start - first)
            inside = places[(places >= first) & (places < first + size)] - first
            n, a, b = (np.uint32(number) for number in (size, *sides(size)))
            keys = for_each(round_keys(seed_words(self.seed), np.uint32(0), stream(MIXTURE)), np.array([number]))
            keys = for_each(keys, np.array([phase.start]))
            to = permute(inside.astype(np.uint32), n, a, b, keys=keys, xp=np, while_loop=host_while)
            moved.append(first + to.astype(np.int64))
        return np.concatenate(moved)


@dataclass(frozen=True, eq=False)
class _Phase:
    """Positions `start .. stop` (None: no end) with the same weights.

    - `owner`: `i64[period]`, whose turn it is, over and over. `before`: `i64[k]`, drawn of each before `start`.
    """

    start: int
    stop: int | None
    owner: np.ndarray
    before: np.ndarray

    def counts(self, inside: int) -> np.ndarray:
        """`i64[k]`: turns of each among the first `inside` positions of the phase."""
        periods, rest = divmod(inside, len(self.owner))
        return periods * self.shares + np.bincount(self.owner[:rest], minlength=len(self.before))

    @cached_property
    def shares(self) -> np.ndarray:
        """`i64[k]`: turns of each in one period."""
        return np.bincount(self.owner, minlength=len(self.before))


def _owners_of(shares: np.ndarray) -> np.ndarray:
    """`i64[period]`: numbers of the sources in the fairest sequence, each `shares[s]` times."""
    active = np.flatnonzero(shares)
    return np.repeat(active, shares[active])[interleave(shares[active])]


def _whole_shares(weights: np.ndarray) -> np.ndarray:
    """`i64[k]` with a sum of at most `PERIOD`, in the proportions of `weights` (`f64[k]`, of sum 1).

    >>> _whole_shares(np.array([0.7, 0.2, 0.1])).tolist(), _whole_shares(np.array([1 / 3, 2 / 3])).tolist()
    ([7, 2, 1], [1, 2])
    """
    distinct = np.unique(weights)
    for first in range(1, PERIOD + 1, 256):
        periods = np.arange(first, min(first + 256, PERIOD + 1))
        turns = periods[:, None] * distinct
        whole = np.flatnonzero((np.abs(turns - np.rint(turns)) < 1e-9).all(1))
        if whole.size:
            shares = np.rint(periods[whole[0]] * weights).astype(np.int64)
            if ((shares > 0) == (weights > 0)).all():
                return shares
    turns = weights * PERIOD
    shares = turns.astype(np.int64)
    largest = np.argsort(shares - turns, kind="stable")[: PERIOD - int(shares.sum())]
    shares[largest] += 1
    return shares


def _checked_schedule(
    weights: Mapping[str, float] | None, schedule: Mapping[int, Mapping[str, float]] | None
) -> dict[int, Mapping[str, float]]:
    if (weights is None) == (schedule is None):
        got, why = ("neither", "both")[weights is not None], "a schedule holds the weights from each position on"
        raise ArgumentError(must("weights", "be given, or a schedule", got, why, '{"a": 0.7, "b": 0.3}'))
    if schedule is None:
        assert weights is not None
        return {0: weights}
    starts = list(schedule)
    whole = all(hasattr(start, "__index__") and not isinstance(start, bool) for start in starts)
    if not whole or starts[:1] != [0] or any(one >= two for one, two in pairwise(starts)):
        why, remedy = "each position needs the weights of one phase", "{0: {...}, 1_000_000: {...}}"
        raise ArgumentError(must("schedule", "have whole positions that rise from 0", starts, why, remedy))
    return {int(start): schedule[start] for start in starts}


def _checked_shares(weights: Mapping[str, float], orders: Mapping[str, Any]) -> np.ndarray:
    for name in weights:
        if name not in orders:
            raise ArgumentError(
                must("weights", "name sources", name, "no such one has an order", nearest(name, orders))
            )
    for name in orders:
        if name not in weights:
            why, remedy = f"{name!r} has none", f"{{{name!r}: 0}} to leave it out"
            raise ArgumentError(must("weights", "be given for every source", sorted(weights), why, remedy))
    values = np.array([weights[name] for name in orders], np.float64)
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ArgumentError(must("weights", "be finite and not negative", dict(weights), "a share is", "0 or more"))
    if not values.any():
        raise ArgumentError(must("weights", "not all be zero", dict(weights), "some source has to be drawn", "1"))
    values = values / values.max()
    shares = _whole_shares(values / math.fsum(values))
    for name, share, value in zip(orders, shares.tolist(), values.tolist(), strict=True):
        if value and not share:
            why, remedy = "a smaller one has no turn in the longest period", "0, or a larger weight"
            raise ArgumentError(must(f"weight of {name!r}", f"be at least 1 / {PERIOD} of all", value, why, remedy))
    return shares
