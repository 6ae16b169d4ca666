"""How random an order is: numbers that are 1 (or near 0) for a true shuffle. Pure functions of ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count


def variance_ratio(ids: Any, labels: Any, size: int) -> float:
    """Between-batch variance of class counts over that of a true shuffle: 1 for batches that are random samples.

    Batches of `b` out of `n` examples, `K_c` of which are of class `c`, drawn without repeats (hypergeometric):

        ratio = sum over batches and classes of (x_c - b K_c / n)^2
                / (batches * sum over classes of b (K_c / n) (1 - K_c / n) (n - b) / (n - 1))

    Below 1 batches are more alike than random ones (stratified: near 0), above 1 classes come in clumps (sorted data
    as it is stored: near `b`). With `m` batches and `k` even classes the ratio of a true shuffle is itself spread
    by `sqrt(2 / (m (k - 1)))`. Labels sorted by id are the hardest test of an order.

    - `ids`: `i64[n]` or `i64[passes, n]`, whole passes. `labels`: `[n]`, the class of each example.
    - `size`: examples in a batch; what is left at the end of a pass is left out.

    Raises `ArgumentError` for ids that are not whole passes over the labels, a size above `n - 1`, or one class only.

    >>> sorted_labels = np.arange(1000) // 500
    >>> round(variance_ratio(np.arange(1000), sorted_labels, 10), 2)
    10.09
    >>> variance_ratio(np.arange(1000).reshape(2, 500).T.reshape(-1), sorted_labels, 10)
    0.0
    """
    _, class_of, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    n, k = len(class_of), len(counts)
    passes = _passes(ids, n)
    if require_count("size", size) >= n or k < 2:
        got, why = f"size={size}, {k} classes, {n} examples", "nothing varies between batches otherwise"
        raise ArgumentError(must("size", "be below n, and classes two or more", got, why, "size=32"))
    share = counts / n
    true = size * (share * (1 - share)).sum() * (n - size) / (n - 1)
    total, batches = 0.0, n // size
    for one in passes:
        owner = class_of[one[: batches * size]].reshape(batches, size) + k * np.arange(batches)[:, None]
        seen = np.bincount(owner.ravel(), minlength=batches * k).reshape(batches, k)
        total += float(((seen - size * share) ** 2).sum())
    return total / (len(passes) * batches * float(true))


def position_chi_square(ids: Any, buckets: int = 10) -> float:
    """Chi-square of (place, example) counts over several passes, divided by its mean under a true shuffle.

    Places and ids are cut into `buckets` runs each; `X_ij` counts how often an example of run `j` stood in run `i`.
    With `m` passes the statistic `sum (X - E X)^2 / E X` has the mean `n (buckets - 1)^2 / (n - 1)`, exactly, whatever
    the sizes of the runs. The ratio is spread by about `sqrt(2) / (buckets - 1)` once `E X` is some ten or more.

    - `ids`: `i64[passes, n]`.

    >>> rng = np.random.default_rng(0)
    >>> 0.8 < position_chi_square([rng.permutation(100) for _ in range(500)]) < 1.2
    True
    """
    values = np.asarray(ids)
    n = values.shape[-1]
    passes = _passes(values, n)
    if not 2 <= require_count("buckets", buckets) <= n:
        why, remedy = "each run needs an example", "buckets=10"
        raise ArgumentError(must("buckets", f"be 2 to {n}", buckets, why, remedy))
    run = np.arange(n) * buckets // n
    sizes = np.bincount(run)
    expected = len(passes) * np.outer(sizes, sizes) / n
    seen = np.zeros((buckets, buckets))
    for one in passes:
        seen += np.bincount(run * buckets + run[one], minlength=buckets**2).reshape(buckets, buckets)
    return float(((seen - expected) ** 2 / expected).sum() / (n * (buckets - 1) ** 2 / (n - 1)))


def place_correlation(ids: Any) -> float:
    """Correlation of place and example number over one pass: 1 as stored, 0 give or take `1 / sqrt(n)` for a shuffle.

    - `ids`: `i64[n]`.

    >>> round(place_correlation([0, 1, 2, 3]), 6), round(place_correlation([3, 2, 1, 0]), 6)
    (1.0, -1.0)
    """
    values = np.asarray(ids, np.float64)
    return correlation(np.arange(len(values)), values)


def correlation(one: Any, other: Any) -> float:
    """Correlation of the examples at the same places of two passes: 0 give or take `1 / sqrt(n)` for two shuffles.

    >>> round(correlation([0, 2, 1, 3], [0, 2, 1, 3]), 6)
    1.0
    """
    first, second = (np.asarray(values, np.float64) for values in (one, other))
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        got, why = f"shapes {first.shape} and {second.shape}", "places are compared one by one"
        raise ArgumentError(must("ids", "be two passes of one length, 2 or more", got, why, "order.ids(0, n)"))
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def agreement(one: Any, other: Any) -> int:
    """At how many places two passes (other seeds, other passes) have the same example: 1 on average for two shuffles.

    The number is nearly Poisson: 0 to 5 with a chance of 99.9 %.

    >>> agreement([0, 1, 2, 3], [0, 2, 1, 3])
    2
    """
    return int((np.asarray(one) == np.asarray(other)).sum())


def _passes(ids: Any, n: int) -> np.ndarray:
    """`i64[passes, n]`; refused where a pass does not hold each of `0 .. n - 1` once."""
    values = np.atleast_2d(np.asarray(ids))
    whole = values.ndim == 2 and values.shape[1] == n and values.dtype.kind in "iu" and values.size > 0
    if not whole or any(not _once(one, n) for one in values):
        got = f"an array of shape {values.shape}"
        be = f"be whole passes, each of the {n} examples once"
        raise ArgumentError(must("ids", be, got, "a shuffle is compared with a shuffle", "order.ids(0, n)"))
    return values


def _once(one: np.ndarray, n: int) -> bool:
    return one.min() >= 0 and one.max() < n and bool((np.bincount(one, minlength=n) == 1).all())
