"""Seeds as the two words that orders and random keys are derived from: one range for both."""

from __future__ import annotations

import numpy as np

from ladle.core.errors import ArgumentError, must


def seed_words(seed: int) -> np.ndarray:
    """`u32[2]`, low word first. Raises `ArgumentError` unless `0 <= seed < 2**64`.

    >>> seed_words(2**32 + 7).tolist()
    [7, 1]
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed.__index__() < 2**64:
        why = "two 32-bit words hold it"
        raise ArgumentError(must("seed", "be a whole number from 0 to 2**64 - 1", seed, why, "seed=0"))
    return np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32)
