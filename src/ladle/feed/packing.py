"""`pack`: which documents share a row. Planned on lengths alone, before a byte is read.

In windows of documents, drawn at random. Documents of one length are alike to a packer, so it works on the histogram of
lengths: all documents of a length are placed at once, into all rows of one free space at once. The plan is that of the
textbook algorithm, document by document, up to which of equal documents and of equally free rows is meant.

Sources: D. S. Johnson et al., "Worst-case performance bounds for simple one-dimensional packing algorithms", SIAM
Journal on Computing 3 (1974) (best-fit and first-fit, by falling size); packing for language models: M. Krell et al.,
"Efficient sequence packing without cross-contamination", arXiv:2107.02027 (histograms).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ladle.core.errors import ArgumentError, DataError, ExampleError, must
from ladle.core.spec import require_count
from ladle.feed.bucket import checked_lengths
from ladle.feed.order import Permuted
from ladle.feed.source.sequences import ends, spans

WINDOW = 16_384
"""Documents planned together. Fill rises with it, by a partly filled row less for each window, and so does speed."""

Method = Literal["best", "first", "cut"]
Pieces = tuple[np.ndarray, np.ndarray, np.ndarray]
"""`document`, `start` within it, `size`: `i64[pieces]` each."""


@dataclass(frozen=True, eq=False)
class Packing:
    """Which piece of which document lies in which row: row `r` holds the pieces `row[r] .. row[r + 1]`, from the left.

    - `document`, `start` (within the document), `size`: `i32[pieces]` (`i64` where numbers need it), 12 bytes for a
      document that was not cut. `row`: `i64[rows + 1]`. `length`: places in a row.
    """

    document: np.ndarray
    start: np.ndarray
    size: np.ndarray
    row: np.ndarray
    length: int

    def __len__(self) -> int:
        return len(self.row) - 1

    @property
    def fill(self) -> float:
        """Share of all places that hold a token."""
        return float(self.size.sum(dtype=np.int64) / (len(self) * self.length))

    @property
    def full(self) -> float:
        """Share of rows without a free place."""
        return float(np.mean(np.add.reduceat(self.size, self.row[:-1]) == self.length))


def pack(
    lengths: Any, length: int, *, window: int = WINDOW, method: Method = "best", seed: int = 0, split: bool = True
) -> Packing:
    """Packs documents of `lengths` (`i64[n]`) into rows of `length` places: every token in exactly one of them.

    - `method`: "best" puts documents, longest first, into the fullest row that has room; "first" into the first that
      has. Both leave documents whole and some places free. "cut" lays all documents end to end and cuts at rows'
      ends: every row but the last is full, but one document a row is cut.
    - `window`: documents planned together. A window is a stretch of a shuffle of all documents by `seed`, so that row
      mates are random ("cut" needs no window). Another seed packs anew.
    - `split`: a document longer than a row becomes pieces of `length` and a rest. If not, it is an `ExampleError`.

    Empty documents are in no row. Raises `ArgumentError` for an unknown method or lengths that are no counts, and
    `DataError` where all documents are empty.

    >>> plan = pack([3, 5, 2, 6], 8)
    >>> [plan.document[a:b].tolist() for a, b in zip(plan.row, plan.row[1:], strict=False)], plan.fill
    ([[3, 2], [1, 0]], 1.0)
    """
    lengths, length = checked_lengths(lengths), require_count("length", length)
    require_count("window", window)
    if method not in ("best", "first", "cut"):
        why = "these are the ways to pack"
        raise ArgumentError(must("method", "be 'best', 'first' or 'cut'", method, why, "method='best'"))
    if not split:
        _refuse_long(lengths, length)
    if not lengths.any():
        why = "rows are made of tokens"
        raise DataError(must("documents", "hold a token", f"{len(lengths)} empty ones", why, "other documents"))
    order = Permuted(len(lengths), seed)
    if method == "cut":
        ids = order.ids(0, len(lengths))
        return _joined([_end_to_end(ids, lengths[ids], length)], lengths, length)
    place = _best_fit if method == "best" else _first_fit
    begins = range(0, len(lengths), window)
    blocks = (order.ids(begin, min(window, len(lengths) - begin)) for begin in begins)
    filled = (ids for ids in blocks if lengths[ids].any())  # A window may happen to hold nothing at all.
    return _joined([_window(ids, lengths[ids], length, place) for ids in filled], lengths, length)


def _window(
    ids: np.ndarray, lengths: np.ndarray, length: int, place: Callable[[list[int], list[int], int], np.ndarray]
) -> tuple[Pieces, np.ndarray]:
    """Pieces in order of rows, and how many are in each row: `i64[rows]`. A pure function of its arguments."""
    document, start, size = _pieces(ids, lengths, length)
    longest_first = np.argsort(-size, kind="stable")
    sizes, first = np.unique(-size[longest_first], return_index=True)
    row = place((-sizes).tolist(), np.diff(first, append=len(size)).tolist(), length)
    found = longest_first[np.argsort(row, kind="stable")]
    return (document[found], start[found], size[found]), np.bincount(row)


def _pieces(ids: np.ndarray, lengths: np.ndarray, length: int) -> Pieces:
    """Documents that are longer than a row in pieces of a row and a rest; empty ones left out."""
    count = -(-lengths // length)
    start = spans(np.zeros(len(ids), np.int64), count) * length
    return np.repeat(ids, count), start, np.minimum(np.repeat(lengths, count) - start, length)


def _best_fit(sizes: list[int], counts: list[int], length: int) -> np.ndarray:
    """Row of each item, by falling size: the fullest with room for it. `counts[i]` items have `sizes[i]`.

    Rows of one free space are interchangeable. One that takes an item and has room for another is then the fullest
    with room, so it takes as many as it can before the next row has its turn: whole lists move at once.
    """
    of_space: dict[int, list[int]] = {}
    spaces: list[int] = []  # Free spaces that some row has, rising.
    rows, row = 0, []
    for size, count in zip(sizes, counts, strict=True):
        while count:
            at = bisect_left(spaces, size)
            if at == len(spaces):
                fresh = -(-count // (length // size))
                of_space[length] = list(range(rows, rows + fresh))
                spaces.append(length)
                rows += fresh
            space = spaces[at]
            waiting = of_space[space]
            each = min(space // size, count)
            moved = waiting[-min(len(waiting), count // each) :]
            del waiting[-len(moved) :]
            if not waiting:
                del spaces[at]
            row += moved * each
            count -= len(moved) * each
            if left := space - each * size:
                others = of_space.setdefault(left, [])
                if not others:
                    insort(spaces, left)
                others += moved
    return np.array(row)


def _first_fit(sizes: list[int], counts: list[int], length: int) -> np.ndarray:
    """Row of each item, by falling size: the first with room for it.

    Of items of one size, the first row with room takes as many as it can, then the next: a running sum tells who
    takes how many.
    """
    free, rows, row = np.full(sum(counts), length), 0, []
    for size, count in zip(sizes, counts, strict=True):
        tried = rows - (-count // (length // size))
        room = free[:tried] // size
        taken = np.clip(count - (np.cumsum(room) - room), 0, room)
        free[:tried] -= taken * size
        row.append(np.repeat(np.arange(tried), taken))
        rows = max(rows, int(row[-1][-1]) + 1)
    return np.concatenate(row)


def _end_to_end(ids: np.ndarray, lengths: np.ndarray, length: int) -> tuple[Pieces, np.ndarray]:
    """All documents in a row, cut where rows end."""
    ids, lengths = ids[lengths > 0], lengths[lengths > 0]
    offsets = ends(lengths)
    begins = np.union1d(offsets[:-1], np.arange(0, offsets[-1], length))
    at = np.searchsorted(offsets, begins, side="right") - 1
    pieces = ids[at], begins - offsets[at], np.diff(begins, append=offsets[-1])
    return pieces, np.bincount(begins // length)


def _joined(windows: list[tuple[Pieces, np.ndarray]], lengths: np.ndarray, length: int) -> Packing:
    columns = zip(*(pieces for pieces, _ in windows), strict=True)
    bounds = (len(lengths), int(lengths.max()), length)
    document, start, size = (
        np.concatenate([part.astype(_word(bound)) for part in column])
        for column, bound in zip(columns, bounds, strict=True)
    )
    return Packing(document, start, size, ends(np.concatenate([count for _, count in windows])), length)


def _word(bound: int) -> type[np.signedinteger]:
    return np.int32 if bound < 2**31 else np.int64


def _refuse_long(lengths: np.ndarray, length: int) -> None:
    long = np.flatnonzero(lengths > length)
    if long.size:
        got = f"{lengths[long[0]]} for document {long[0]} ({long.size} such)"
        why, remedy = "longer ones do not fit into a row", "split=True, or a larger length"
        raise ExampleError(must("documents", f"have at most {length} tokens", got, why, remedy), long)
