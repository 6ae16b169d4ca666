"""`Bucketed`: any order, with examples of like length brought together so that padding wastes little."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.foreign import as_array
from ladle.core.protocols import Order
from ladle.core.seed import seed_words
from ladle.core.spec import require_count
from ladle.feed.bijection import host_while, permute, round_keys, sides
from ladle.feed.keys import BUCKETS
from ladle.feed.source.sequences import ends, spans


@dataclass(frozen=True, eq=False)
class Bucketed:
    """An order in which neighbours have like lengths; implements `ladle.core.protocols.Order`.

    Each pass of `order` is cut into windows of `window` positions. Within one, the examples are sorted by length (those
    of one length stay in order), cut into buckets of `bucket`, and the buckets shuffled, by a keyed bijection of
    `(seed, epoch, window)`; where they do not come out even, the bucket that stands last is short. Every pass has each
    example as often as `order` has, each window the same ones; what stands where is a function of the position alone.

    - `lengths`: `i64[examples]`, of every example that `order` may name.
    - `window`: the larger, the more alike the lengths, and the longer a batch's examples are of one kind: a batch is
      no longer an independent sample, so that gradient noise measured between batches is too large where length and
      loss go together. `bucket`: padding is lowest where it divides `window`, and the micro-batch (of all hosts
      together) divides it or is a multiple of it; any sizes work.

    Raises `ArgumentError` for lengths that are not one for each example, or a window smaller than a bucket.

    >>> from ladle.feed.order import Sequential
    >>> order = Bucketed(Sequential(6), lengths=[5, 1, 4, 2, 9, 3], window=4, bucket=2)
    >>> order.ids(0, 6).tolist()
    [2, 0, 1, 3, 5, 4]
    """

    order: Order
    lengths: Any = field(repr=False)
    window: int = 4096
    bucket: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        require_count("bucket", self.bucket)
        if require_count("window", self.window) < self.bucket:
            why = "a window is cut into buckets"
            raise ArgumentError(must("window", f"be at least bucket={self.bucket}", self.window, why, "window=4096"))
        seed_words(self.seed)
        object.__setattr__(self, "lengths", checked_lengths(self.lengths, self.examples))

    @property
    def examples(self) -> int:
        """Ids are below this."""
        return getattr(self.order, "examples", self.order.epoch_size)

    @property
    def epoch_size(self) -> int:
        return self.order.epoch_size

    def ids(self, start: int, count: int) -> np.ndarray:
        parts, stop = [np.empty(0, np.int64)], start + count
        while start < stop:
            epoch, place = divmod(start, self.epoch_size)
            window, inside = divmod(place, self.window)
            part = _window(self, epoch, window)[inside : inside + stop - start]
            parts.append(part)
            start += len(part)
        return np.concatenate(parts)


def checked_lengths(lengths: Any, examples: int | None = None) -> np.ndarray:
    """`i64[n]`, one for each example, or an `ArgumentError`."""
    array = as_array(lengths, "lengths")
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu" or len(array) != (examples or len(array)):
        got = f"an array of shape {array.shape} and type {array.dtype}"
        be = f"be {examples or 'as many'} whole numbers" + ("" if examples else " as there are examples")
        raise ArgumentError(must("lengths", be, got, "each example has one", "Sequences(...).lengths"))
    if array.min() < 0:
        at = int(array.argmin())
        got, why = f"{array[at]} for example {at}", "no example has less than nothing"
        raise ArgumentError(must("lengths", "not be negative", got, why, "np.diff(offsets)"))
    return array.astype(np.int64, copy=False)


@lru_cache(maxsize=16)
def _window(order: Bucketed, epoch: int, window: int) -> np.ndarray:
    """`i64[<= window]` ids of one window of one pass. A pure function of its arguments; remembered for its cost."""
    first = window * order.window
    size = min(order.window, order.epoch_size - first)
    ids = order.order.ids(epoch * order.epoch_size + first, size)
    ids = ids[np.argsort(order.lengths[ids], kind="stable")]
    buckets = _shuffled(-(-size // order.bucket), order.seed, epoch, window)
    sizes = np.full(len(buckets), order.bucket)
    sizes[buckets[-1]] -= len(buckets) * order.bucket - size  # The one that comes last: all before it stay whole.
    return ids[spans(ends(sizes)[buckets], sizes[buckets])]


def _shuffled(count: int, seed: int, epoch: int, window: int) -> np.ndarray:
    """`i64[count]`: the numbers below `count`, in an order that is a function of the arguments."""
    stream = np.array([(BUCKETS + window) % 2**32], np.uint32)
    keys = round_keys(seed_words(seed), np.uint32(epoch % 2**32), stream)
    n, a, b = (np.uint32(number) for number in (count, *sides(count)))
    places = permute(np.arange(count, dtype=np.uint32), n, a, b, keys=keys, xp=np, while_loop=host_while)
    return places.astype(np.int64)
