"""Where each class stands in a stratified epoch: the fairest sequence of classes."""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np


def interleave(counts: np.ndarray) -> np.ndarray:
    """Order the members of `k` classes so that every prefix holds the classes in proportion.

    Members are numbered class by class: the first `counts[0]` are class 0, and so on. Returns `i64[n]`, the member at
    each place. After any `p` places, class `c` of `counts[c] = n_c` out of `n` members has had its turn `x_c(p)` times:

        |x_c(p) - p * n_c / n| <= 1 - 1 / (2k - 2)                                (k >= 2 classes)

    The bound is the smallest possible over all counts. Member `j` (from 0) of class `c` may stand at the places
    `ceil((j + e) * n / n_c) .. floor((j + 1 - e) * n / n_c)` (from 1) with `e = 1 / (2k - 2)`; each place takes the
    member with the earliest due place among those that may stand there. O(n log k) steps, in integers throughout.

    Source: R. Tijdeman, "The chairman assignment problem", Discrete Mathematics 32 (1980), theorem 1.

    >>> interleave(np.array([2, 4])).tolist()
    [2, 0, 3, 4, 1, 5]
    """
    counts = np.asarray(counts, np.int64)
    n, k = int(counts.sum()), len(counts)
    share = np.repeat(counts, counts)
    rank = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    slack = -(-n // max(2 * k - 2, 1))  # e * n, rounded up: the places are whole numbers, so nothing is lost.
    release = -(-(rank * n + slack) // share)
    due = ((rank + 1) * n - slack) // share
    arrival = np.argsort(release, kind="stable")
    return _earliest_due_first(release[arrival].tolist(), (due * n + np.arange(n))[arrival].tolist())


def _earliest_due_first(release: list[int], rank: list[int]) -> np.ndarray:
    """`rank` is `due * n + member`: one number that sorts by due place, then by member."""
    n, arrived, waiting = len(release), 0, []
    places = np.empty(n, np.int64)
    for place in range(n):
        while arrived < n and release[arrived] <= place + 1:
            heappush(waiting, rank[arrived])
            arrived += 1
        places[place] = heappop(waiting) % n
    return places
