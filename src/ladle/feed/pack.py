"""`Packed`: rows of several documents each. `Weighed`: what such rows count for. `next_tokens`: what they predict."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ladle.core.batch import Rows
from ladle.feed.packing import WINDOW, Method, Packing, pack
from ladle.feed.pad import Weigh, check_weigh, lengths_of, row_weight
from ladle.feed.source.sequences import Sequences, gather, spans


@dataclass(frozen=True, eq=False)
class Packed:
    """A source of rows, in each of which lie several documents; implements `ladle.core.protocols.Source`.

    `take` gives for rows `i64[k]`: `tokens` `[k, length, ...]` in the type that `sequences` has (and each other of its
    values likewise), `segment` `i32[k, length]` (which document of the row a token belongs to, from 1; 0 = padding),
    `position` `i32[k, length]` (its place in that piece, from 0). Attention has to stay within a segment; a loss too,
    see `next_tokens`. Fields of documents are left out: a row has several documents.

    The examples of a feed are then the rows, and any order shuffles them anew in each pass. Which documents share a
    row was planned once, from lengths alone, and is the same in every pass; another `seed` packs anew. The plan takes
    12 bytes for each document and 16 for each row.

    - `length`, `window`, `method`, `seed`, `split`: see `ladle.feed.packing.pack`, which also says what is raised.

    >>> packed = Packed(Sequences.of([[1, 2, 3], [4, 5], [6]]), length=4)
    >>> rows = packed.take(np.array([0, 1]))
    >>> rows["tokens"].tolist(), rows["segment"].tolist(), rows["position"].tolist()
    ([[1, 2, 3, 6], [4, 5, 0, 0]], [[1, 1, 1, 2], [1, 1, 0, 0]], [[0, 1, 2, 0], [0, 1, 0, 0]])
    """

    sequences: Sequences = field(repr=False)
    length: int
    window: int = WINDOW
    method: Method = "best"
    seed: int = 0
    split: bool = True

    def __post_init__(self) -> None:
        _ = self.plan  # Planned now, so that whatever is wrong is said before a run starts.

    @cached_property
    def plan(self) -> Packing:
        lengths, seed, split = self.sequences.lengths, self.seed, self.split
        return pack(lengths, self.length, window=self.window, method=self.method, seed=seed, split=split)

    @property
    def fill(self) -> float:
        """Share of all places that hold a token; 1 - fill is what padding wastes."""
        return self.plan.fill

    def __len__(self) -> int:
        return len(self.plan)

    @cached_property
    def lengths(self) -> np.ndarray:
        """`i64[rows]`, tokens in each row."""
        return np.add.reduceat(self.plan.size, self.plan.row[:-1], dtype=np.int64)

    def documents(self, row: int) -> np.ndarray:
        """`i64[pieces]` documents that lie in a row, from the left."""
        return self.plan.document[self.plan.row[row] : self.plan.row[row + 1]].astype(np.int64)

    def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Rows `ids` (`i64[k]`): the values, `segment` and `position`."""
        runs, shape = self._runs(ids), (len(ids), self.length)
        empty = spans(runs.stop[runs.segment == 0] - runs.size[runs.segment == 0], runs.size[runs.segment == 0])
        rows = {}
        for name, values in self.sequences.values.items():
            flat = gather(values, runs.start, runs.size)
            flat[empty] = 0
            rows[name] = flat.reshape(*shape, *values.shape[1:])
        rows["segment"] = np.repeat(runs.segment, runs.size).reshape(shape)
        rows["position"] = np.repeat(runs.place, runs.size).reshape(shape)
        np.subtract(np.arange(self.length, dtype=np.int32), rows["position"], out=rows["position"])
        rows["position"].reshape(-1)[empty] = 0
        return rows

    def _runs(self, ids: np.ndarray) -> _Runs:
        plan, k = self.plan, len(ids)
        first, count = plan.row[ids], plan.row[ids + 1] - plan.row[ids]
        piece, last = spans(first, count), np.cumsum(count + 1) - 1
        within = spans(np.zeros(k, np.int64), count + 1)
        real = np.ones(len(piece) + k, bool)
        real[last] = False
        start, size = np.zeros((2, len(real)), np.int64)
        start[real] = self.sequences.offsets[plan.document[piece]] + plan.start[piece]
        size[real] = plan.size[piece]
        size[last] = self.length - self.lengths[ids]
        stop = np.cumsum(size)
        place = (stop - size - np.repeat(np.arange(k) * self.length, count + 1)).astype(np.int32)
        return _Runs(start, size, stop, place, np.where(real, within + 1, 0).astype(np.int32))


class _Runs(NamedTuple):
    """Runs of values that fill rows without a gap; the last run of each row is its padding, perhaps of size 0.

    `start` in the values, `size`, `stop` in the rows laid end to end: `i64[runs]`; `place` within the row and
    `segment` (0 for padding): `i32[runs]`.
    """

    start: np.ndarray
    size: np.ndarray
    stop: np.ndarray
    place: np.ndarray
    segment: np.ndarray


@dataclass(frozen=True)
class Weighed:
    """Packed rows, weighed by what is in them; implements `ladle.core.protocols.Collate`.

    - `weigh`: what a row counts for in means. "tokens": as much as it has tokens. "targets": as much as it has tokens
      that are predicted from one before them in the same document, for losses over `next_tokens`. "rows": one.

    A loss that is each row's mean over its `n_i` tokens (or targets), weighed by `n_i`, is over a batch the mean over
    all its tokens, to rounding and however it was cut; see `ladle.feed.pad.Pad`. A row without a target has weight 0:
    its loss may be anything finite, so divide by `max(n_i, 1)`.

    Counts `tokens` (of the rows that count) and `token_slots` (all places), as `Pad` does.

    >>> packed = Packed(Sequences.of([[1, 2, 3], [4, 5], [6]]), length=4)
    >>> rows = Weighed("targets")(packed, np.array([0, 1]), np.array([0, 1]), (), real=2)
    >>> rows.weight.tolist(), rows.sums
    ([2.0, 1.0], {'tokens': 6.0, 'token_slots': 8.0})
    """

    weigh: Weigh = "tokens"

    def __post_init__(self) -> None:
        check_weigh(self.weigh, ("rows", "tokens", "targets"))

    def extent(self, source: Any, ids: np.ndarray, position: np.ndarray) -> tuple[int, ...]:
        return ()

    def __call__(self, source: Any, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int) -> Rows:
        data = source.take(ids)
        segment = data["segment"]
        tokens = lengths_of(source)[ids]
        sums = {"tokens": float(tokens[:real].sum()), "token_slots": float(segment.size)}
        return Rows(data, row_weight(self.weigh, tokens, segment.max(axis=1)), sums)


def next_tokens(tokens: Any, segment: Any, xp: Any = np) -> tuple[Any, Any]:
    """What each token is to predict, and where there is something to predict.

        target[t] = tokens[t + 1],  mask[t] = segment[t] == segment[t + 1] > 0

    A document's last token predicts nothing, least of all the first token of its neighbour in the row; nor does the
    last of a piece, where a document was cut. Elsewhere the target is 0.

    - `tokens`, `segment`: `[..., length]`; for rows from `Pad`, `mask` does as `segment`.
    - `xp`: the array library: `jax.numpy` makes targets inside the compiled loss, so that they need not travel.

    >>> target, mask = next_tokens(np.array([[7, 8, 9, 4, 5, 0]]), np.array([[1, 1, 1, 2, 2, 0]]))
    >>> target.tolist(), mask.astype(int).tolist()
    ([[8, 9, 0, 5, 0, 0]], [[1, 1, 0, 1, 0, 0]])
    """
    follows = (segment[..., :-1] == segment[..., 1:]) & segment[..., 1:].astype(bool)
    mask = xp.concatenate([follows, xp.zeros_like(segment[..., :1], dtype=bool)], axis=-1)
    moved = xp.concatenate([tokens[..., 1:], tokens[..., :1]], axis=-1)
    return xp.where(mask, moved, xp.zeros_like(moved)), mask
