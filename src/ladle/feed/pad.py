"""`Pad`: rows of different length as one array with a mask, as long as the micro-batch needs and no longer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ladle.core.batch import Rows
from ladle.core.errors import ArgumentError, ExampleError, must
from ladle.core.spec import require_count
from ladle.feed.source.sequences import Ragged, within

Weigh = Literal["rows", "tokens", "targets"]
SMALLEST = 8
"""Shortest row worth a program of its own."""


@dataclass(frozen=True)
class Pad:
    """Pads each micro-batch to the smallest rung that holds its longest row; implements `ladle.core.protocols.Collate`.

    Gives, for a source with `lengths` such as `Sequences`: `tokens` `[rows, L, ...]`, `mask` `bool[rows, L]` (true
    where there is a token), and the fields as they are. Each rung is a shape, so at most `len(rungs)` programs are
    compiled. `L` is known from lengths alone, so hosts agree on it before they read.

    - `rungs`: row lengths to compile, rising; by default 8, 12, 16, 24, 32, ...: powers of two and the middles between.
    - `value`: what stands in the padding.
    - `longest`: the longest row allowed, by default the last of `rungs`, if given. A longer one is an `ExampleError`,
      which names it (and `HostFeed(bad="skip")` leaves it out); with `truncate=True` it loses its end.
    - `weigh`: what a row counts for in means. "rows": one. "tokens": as much as it has tokens. "targets": one less, for
      losses that predict each token from those before it.

    With "tokens", a loss that is each row's mean over its tokens `l_i = sum_t loss_it / n_i` gives over a batch

        sum_i n_i l_i / sum_i n_i = sum_it loss_it / (number of tokens)

    the mean over all its tokens, to rounding, however it was cut into micro-batches and hosts: an update adds up both
    sums and divides once. With "rows" each document counts the same and its tokens share that.

    Counts `tokens` (of the rows that count) and `token_slots` (all places, padding rows too): `1 - tokens /
    token_slots` is what padding wastes.

    Raises `ArgumentError` for rungs that do not rise, or end below `longest`.

    >>> from ladle.feed.source.sequences import Sequences
    >>> source, ids = Sequences.of([[5, 6, 7], [8]]), np.array([1, 0])
    >>> pad = Pad(rungs=(2, 4), weigh="tokens")
    >>> rows = pad(source, ids, ids, pad.extent(source, ids, ids), real=2)
    >>> rows.data["tokens"].tolist(), rows.weight.tolist(), rows.sums
    ([[8, 0, 0, 0], [5, 6, 7, 0]], [1.0, 3.0], {'tokens': 4.0, 'token_slots': 8.0})
    """

    rungs: tuple[int, ...] | None = None
    value: Any = 0
    longest: int | None = None
    weigh: Weigh = "rows"
    truncate: bool = False

    def __post_init__(self) -> None:
        check_weigh(self.weigh, ("rows", "tokens", "targets"))
        if self.longest is not None:
            object.__setattr__(self, "longest", require_count("longest", self.longest))
        if self.rungs is None and self.longest is not None:
            object.__setattr__(self, "rungs", length_rungs(self.longest))
        elif self.rungs is not None:
            object.__setattr__(self, "rungs", checked_rungs("rungs", self.rungs, self.longest))
            object.__setattr__(self, "longest", self.longest or self.rungs[-1])

    def extent(self, source: Any, ids: np.ndarray, position: np.ndarray) -> tuple[int, ...]:
        longest = lengths_of(source)[ids].max()
        return (int(rung_up(min(longest, self.longest or longest), self.rungs)),)

    def __call__(self, source: Any, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int) -> Rows:
        lengths, (length,) = lengths_of(source)[ids], extent
        keep = min(length, self.longest or length)
        if self.longest is not None and not self.truncate:
            refuse_long(ids, lengths, self.longest, "tokens", "truncate=True, a larger longest, or bad='skip'")
        lengths = np.minimum(lengths, keep)
        data = {
            name: leaf.cut(keep).padded(length, self.value) if isinstance(leaf, Ragged) else leaf
            for name, leaf in source.take(ids).items()
        }
        data["mask"] = within(lengths, length)
        sums = {"tokens": float(lengths[:real].sum()), "token_slots": float(len(ids) * length)}
        return Rows(data, row_weight(self.weigh, lengths, np.minimum(lengths, 1)), sums)


def length_rungs(longest: int, smallest: int = SMALLEST) -> tuple[int, ...]:
    """Row lengths worth compiling up to `longest`: doublings of `smallest` and the middles between.

    A row is then padded by less than half its length; `longest` itself is the last rung.

    >>> length_rungs(100)
    (8, 12, 16, 24, 32, 48, 64, 96, 100)
    """
    require_count("longest", longest)
    ladder, rung = {longest}, require_count("smallest", smallest)
    while rung < longest:
        ladder |= {rung, min(rung * 3 // 2, longest)}
        rung *= 2
    return tuple(sorted(ladder))


def rung_up(size: Any, rungs: tuple[int, ...] | None = None) -> Any:
    """The smallest rung that holds `size`, a number or an array; without `rungs`, of 8, 12, 16, 24, ... without end.

    >>> int(rung_up(13)), rung_up(np.array([3, 700]), (4, 800)).tolist()
    (16, [4, 800])
    """
    if rungs is None:
        rungs = length_rungs(1 << (max(int(np.max(size)), SMALLEST) - 1).bit_length())
    return np.array(rungs)[np.searchsorted(rungs, size)]


def row_weight(weigh: str, tokens: np.ndarray, begun: np.ndarray) -> np.ndarray | None:
    """What rows of so many `tokens`, in which so many documents are `begun`, count for: `f32[rows]`, None for one each.

    The first token of a document has none before it, so nothing predicts it.
    """
    if weigh == "rows":
        return None
    return (tokens if weigh == "tokens" else tokens - begun).astype(np.float32)


def check_weigh(weigh: Any, known: tuple[str, ...]) -> None:
    if weigh not in known:
        why, remedy = "a mean over a batch is over one of these", "weigh='tokens'"
        raise ArgumentError(must("weigh", f"be one of {', '.join(known)}", weigh, why, remedy))


def checked_rungs(name: str, rungs: Any, longest: int | None = None) -> tuple[int, ...]:
    """Rungs as a tuple of rising counts, the last at least `longest`."""
    ladder = tuple(require_count(name, rung) for rung in rungs)
    if not ladder or any(low >= high for low, high in pairwise(ladder)):
        raise ArgumentError(must(name, "rise", rungs, "each is a shape to compile", f"{name}=(16, 32, 64)"))
    if longest is not None and longest > ladder[-1]:
        why, remedy = "a row of that length has to fit", f"{name}=({', '.join(map(str, ladder))}, {longest})"
        raise ArgumentError(must(name, f"reach {longest}", rungs, why, remedy))
    return ladder


def lengths_of(source: Any) -> np.ndarray:
    """`i64[n]` lengths of a source's examples, or an `ArgumentError` where it has none."""
    lengths = getattr(source, "lengths", None)
    if lengths is None:
        why, remedy = "how far to pad is known from lengths alone", "Sequences(values, offsets)"
        raise ArgumentError(must("source", "have lengths", type(source).__name__, why, remedy))
    return lengths


def refuse_long(ids: np.ndarray, lengths: np.ndarray, longest: int, unit: str, remedy: str) -> None:
    """`ExampleError` that names all examples longer than allowed."""
    long = np.unique(ids[lengths > longest])
    if long.size:
        got = f"{lengths.max()} {unit} ({len(long)} such in this batch, example {long[0]} first)"
        why = "no row may be longer"
        raise ExampleError(must("examples", f"have at most {longest} {unit}", got, why, remedy), long)
