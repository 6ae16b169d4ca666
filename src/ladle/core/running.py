"""What batch norm keeps from batch to batch, by its names, and how many rows a variance wants."""

from __future__ import annotations

import math
from typing import Any

RUNNING = frozenset({"mean", "variance", "updates", "rows"})
"""The entries of one layer's running averages: see `ladle.models.norm.batch_norm_init`."""

FEWEST = 16
"""Rows normalised together below which a run is warned: the standard error of their variance is then above 37 %."""


def is_running(node: Any) -> bool:
    """Whether a part of a model's state is the running averages of one batch norm."""
    return isinstance(node, dict) and set(node) == RUNNING


def variance_error(rows: int) -> float:
    """The relative standard error of a variance from so many rows: sqrt(2 / (rows - 1)), for normal values.

    The variance of s^2 is 2 sigma^4 / (n - 1): Cramer 1946, Mathematical Methods of Statistics, section 29.3.

    >>> [round(variance_error(rows), 2) for rows in (2, 16, 32, 256)]
    [1.41, 0.37, 0.25, 0.09]
    """
    return math.sqrt(2 / (rows - 1)) if rows > 1 else math.inf


def smallest_group(size: int, micro_size: int, norm_rows: int) -> int:
    """The fewest rows that an update of `size` rows normalises together.

    - `norm_rows`: what the norm takes together, 0 for a whole micro-batch.

    >>> smallest_group(100, 32, 0), smallest_group(64, 64, 24), smallest_group(64, 64, 32)
    (4, 16, 32)
    """
    cut = {min(micro_size, size), size % micro_size} - {0}
    if not norm_rows:
        return min(cut)
    return min(min(rows, rows % norm_rows or norm_rows) for rows in cut)


def too_few(size: int, micro_size: int, norm_rows: int | None) -> tuple[str, ...]:
    """What to say where an update normalises fewer than `FEWEST` rows together; nothing where it does not.

    - `norm_rows`: as in `smallest_group`; None for a model without batch norm.
    """
    if norm_rows is None or (rows := smallest_group(size, micro_size, norm_rows)) >= FEWEST:
        return ()
    if rows == 1:
        error = "one row has no variance, and its normalised values are zero"
    else:
        error = f"the standard error of a variance from so few is {variance_error(rows):.0%} (sqrt(2 / {rows - 1}))"
    of = "1 row alone" if rows == 1 else f"{rows} rows together"
    where = f"size {size}, micro_size {micro_size}" + (f", ghost_size {norm_rows}" if norm_rows else "")
    return (f"Batch norm normalises {of} ({where}): {error}; take {FEWEST} or more, or norm='group' or 'layer'.",)
