"""Best learning rates and the noise of an update in closed form: what `rules.py` has the limits of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must


def noisy_rate(size: float, *, noise: float, most: float = 1.0) -> float:
    """The best rate of one SGD step at `size`: most / (1 + noise/size), McCandlish et al. 2018, eq. 2.6.

    - `noise`: B_noise = tr(H Sigma) / G'HG, the noise scale. `most`: |G|^2 / G'HG, the best rate of the full gradient.

    Proportional to `size` well below the noise scale, where it is the linear rule; constant well above it.

    >>> noisy_rate(100, noise=300), noisy_rate(300, noise=300, most=0.4)
    (0.25, 0.2)
    """
    return most / (1 + noise / size)


def surge(size: float, peak: float) -> float:
    """The best learning rate of sign-like updates at `size`, as a share of its largest value, which it has at `peak`.

    1 / (1/2 (sqrt(peak/size) + sqrt(size/peak))): rises like sqrt(size), then falls (Li et al. 2024, arXiv 2405.14578).
    There is a peak only where the curvature couples coordinates; with a diagonal one the best rate never falls.

    >>> surge(100, 100), round(surge(400, 100), 3)
    (1.0, 0.8)
    """
    return 2 / (math.sqrt(peak / size) + math.sqrt(size / peak))


def surge_peak(curvature: Any, mean: Any, sd: Any) -> float:
    """The size at which the best rate of sign-like updates is largest; `inf` where the curvature gives it no peak.

    - `curvature`: H, `f64[d, d]`. `mean`, `sd`: of the gradient of one example, `f64[d]` or one number for all.

    With a_i = mean_i / sd_i, and E[sign] of a batch mean close to sqrt(2 B / pi) a_i (small a):

        peak = (pi/2) tr(H) / sum_{i != j} H_ij a_i a_j

    >>> import numpy as np
    >>> round(surge_peak(0.1 * np.eye(50) + 0.9, mean=0.01, sd=1.0), 1), surge_peak(np.eye(50), 0.01, 1.0)
    (356.2, inf)
    """
    h, ratio = _square(curvature), np.broadcast_to(np.divide(mean, sd), len(_square(curvature)))
    coupled = float(ratio @ h @ ratio - np.diag(h) @ ratio**2)
    return math.pi / 2 * float(np.trace(h)) / coupled if coupled > 0 else math.inf


def sign_rate(curvature: Any, mean: Any, sd: Any, size: float) -> float:
    """The best rate of a sign update, exactly, for independent Gaussian gradients: what `surge` approximates.

    p_i = E[sign_i] = erf(a_i sqrt(B/2)),   rate = sum_i mean_i p_i / (sum_i H_ii + sum_{i != j} H_ij p_i p_j)

    >>> round(sign_rate([[1.0]], 0.01, 1.0, size=100), 6)
    0.000797
    """
    h = _square(curvature)
    mean = np.broadcast_to(np.asarray(mean, np.float64), len(h))
    ratio = np.broadcast_to(np.divide(mean, sd), len(h))
    p = np.array([math.erf(a * math.sqrt(size / 2)) for a in ratio])
    return float(mean @ p / (np.trace(h) + p @ h @ p - np.diag(h) @ p**2))


def sgd_noise(lr: float, *, rows: int, size: float, momentum: float = 0.0) -> float:
    """The noise of SGD, g = lr rows / (size (1 - momentum)) for size << rows (Smith et al. 2018, arXiv 1711.00489).

    Runs with the same g fluctuate alike: a rate divided by alpha, or a size multiplied by it, changes g alike.

    >>> sgd_noise(0.1, rows=50_000, size=100, momentum=0.5), sgd_noise(0.2, rows=50_000, size=200, momentum=0.5)
    (100.0, 100.0)
    """
    if not 0 <= momentum < 1:
        why = "1 / (1 - momentum) is how long a gradient acts"
        raise ArgumentError(must("momentum", "be from 0 to below 1", momentum, why, "momentum=0.9"))
    return lr * rows / (size * (1 - momentum))


def _square(matrix: Any) -> np.ndarray:
    h = np.asarray(matrix, np.float64)
    if h.ndim != 2 or h.shape[0] != h.shape[1]:
        raise ArgumentError(must("curvature", "be a square matrix", h.shape, "it is a Hessian", "np.eye(3)"))
    return h
