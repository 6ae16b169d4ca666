"""Defaults that fit the data: usual batch sizes and folds, as far as the rows go; and what is said of the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ladle.core.errors import ArgumentError, must


def fitting(usual: Sequence[int], rows: int, fewest: int = 1) -> tuple[int, ...]:
    """Those of the `usual` sizes, ascending, that are at most `rows`; halves of the smallest until there are `fewest`.

    >>> fitting((16, 32, 64), 100), fitting((16, 32, 64), 40), fitting((16, 32, 64), 9, fewest=3)
    ((16, 32, 64), (16, 32), (2, 4, 8))
    """
    found = [size for size in usual if size <= rows] or [1 << (rows.bit_length() - 1)]
    while len(found) < fewest and found[0] > 1:
        found = [found[0] // 2, *found]
    return tuple(found)


def fitting_folds(usual: int, rows: int, labels: np.ndarray | None) -> int:
    """The `usual` number of folds, or as many as rows, and rows of a second class, allow; two at least.

    >>> fitting_folds(5, 100, None), fitting_folds(5, 10, np.array([0] * 7 + [1] * 3)), fitting_folds(5, 3, None)
    (5, 3, 3)
    """
    counts = np.sort(np.unique(np.asarray(labels), return_counts=True)[1])[::-1] if labels is not None else [rows, rows]
    second = int(counts[1]) if len(counts) > 1 else 0
    return max(min(usual, rows, second), 2)


def fitting_factors(usual: Sequence[int], size: int, rows: int) -> tuple[int, ...]:
    """Those of the `usual` factors by which a batch of `size` stays within `rows`. Raises `ArgumentError` below two.

    >>> fitting_factors((1, 2, 4, 8), size=10, rows=45)
    (1, 2, 4)
    """
    if 2 * size > rows:
        why = f"branches are of twice its size and more, of {rows:,} rows"
        remedy = f"a run of size {max(rows // 4, 1)}"
        raise ArgumentError(must("the run", f"have a batch size of at most {rows // 2}", size, why, remedy))
    return fitting(usual, rows // size)


def fitted(what: str, found: Sequence[object], usual: Sequence[object], rows: int) -> list[str]:
    """The sentence that says that other values than the usual ones are taken; none where they are the usual ones.

    >>> fitted("sizes", (16, 32), (16, 32, 64), 40), fitted("sizes", (16,), (16,), 40)
    (['sizes 16, 32, not 16, 32, 64: there are 40 rows to train on'], [])
    """
    if list(found) == list(usual):
        return []
    shown = [", ".join(map(str, values)) for values in (found, usual)]
    return [f"{what} {shown[0]}, not {shown[1]}: there are {rows:,} rows to train on"]
