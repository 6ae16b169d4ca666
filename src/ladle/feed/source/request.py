"""What every source does with the ids it is asked for: check them, and name all bad examples at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ladle.core.errors import ArgumentError, ExampleError, must


def require_ids(ids: object, examples: int) -> np.ndarray:
    """`ids` as `i64[k]`. Raises `ArgumentError` for what is not a row of whole numbers in `0 .. examples - 1`.

    >>> require_ids([2, 0], 3).tolist()
    [2, 0]
    """
    found = np.asarray(ids)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and found.size):
        got = f"{found.dtype} of shape {found.shape}"
        raise ArgumentError(must("ids", "be whole numbers in one row", got, "they number examples", "np.array([0, 1])"))
    found = found.astype(np.int64, copy=False)
    if found.size and not 0 <= (low := int(found.min())) <= (high := int(found.max())) < examples:
        got, why = low if low < 0 else high, f"the source has {examples} examples, counted from 0"
        raise ArgumentError(must("ids", f"be in 0 .. {examples - 1}", got, why, f"an order over {examples} examples"))
    return found


def all_bad(errors: Sequence[ExampleError]) -> ExampleError:
    """One error for several: the first one's words, and the ids of all."""
    ids = list(dict.fromkeys(id for error in errors for id in error.ids))
    if len(ids) == 1 or len(errors) == 1:
        return ExampleError(str(errors[0]), ids)
    return ExampleError(f"{errors[0]} ({len(ids)} bad examples in all)", ids)
