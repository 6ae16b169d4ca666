"""Fewer points for a picture, the highest and the lowest of every stretch among them: no peak is lost."""

from __future__ import annotations

import numpy as np

POINTS = 1200
"""Of a curve, about: twice the pixels that a panel is wide."""


def thin(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most about `points` of the curve `(x, y)`, `f64[n]` without nan: ends, and each stretch's extremes, in order.

    >>> y = np.zeros(10_000)
    >>> y[1234] = 7.0
    >>> x, z = thin(np.arange(10_000.0), y, 100)
    >>> len(x) <= 104, float(z.max()), float(x[z.argmax()])
    (True, 7.0, 1234.0)
    """
    places = kept(y, points)
    return x[places], y[places]


def kept(y: np.ndarray, points: int = POINTS) -> np.ndarray:
    """Which places of `y` are kept: `i64[kept]`, rising."""
    n = len(y)
    if n <= points:
        return np.arange(n)
    stretch = -(-n // max(points // 2, 1))
    whole = n // stretch * stretch
    parts = y[:whole].reshape(-1, stretch)
    begins = np.arange(0, whole, stretch)
    rest = [whole + y[whole:].argmin(), whole + y[whole:].argmax()] if whole < n else []
    places = np.concatenate([begins + parts.argmin(axis=1), begins + parts.argmax(axis=1), [0, n - 1], rest])
    return np.unique(places.astype(np.int64))


def within(x: np.ndarray, low: float, high: float) -> slice:
    """The part of rising `x` from `low` to `high`, with one point beyond each end so that lines leave the picture.

    >>> within(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), 1.5, 2.5)
    slice(1, 4, None)
    """
    first, last = np.searchsorted(x, (low, high))
    return slice(max(int(first) - 1, 0), int(last) + 1)
