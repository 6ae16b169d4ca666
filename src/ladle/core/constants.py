"""Constants that every update rule takes beside its own: bounds of the gradient, and the average of the weights.

They are kept where an optimiser's own are, as data of the programs: another value compiles nothing, a policy may move
them, the record and a checkpoint hold them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must

CLIP = "clip"
"""Largest norm of the mean gradient of an update: a longer one is shortened to it.

    g <- g min(1, clip / |g|)        Pascanu, Mikolov, Bengio 2013, "On the difficulty of training RNNs", section 3.2
"""

CLIP_VALUE = "clip_value"
"""Largest absolute value of a coordinate of the mean gradient, after `clip`: larger ones are set to it."""

EMA = "ema"
"""Decay of the average of the weights at an update, at the size that a run's rate belongs to.

At another size it is decay^(size / that size), which keeps its half-life in examples (Busbridge et al. 2023, "How to
scale your EMA", NeurIPS, definition 1.2).
"""

SHARED = (CLIP, CLIP_VALUE, EMA)


def require_constants(given: Mapping[str, Any]) -> None:
    """Refuse values of these constants that mean nothing, and texts and truth values. Raises `ArgumentError`.

    >>> require_constants({"clip": 1.0, "ema": 0.999})
    """
    for name in (CLIP, CLIP_VALUE):
        if name in given and not 0 < _number(given[name]) < math.inf:
            why = "a gradient is shortened to it; nothing is left of one that is shortened to zero"
            raise ArgumentError(must(name, "be a positive number", given[name], why, f"{name}=1.0"))
    if EMA in given and not 0 < _number(given[EMA]) < 1:
        why = "it is the share of the average that an update keeps"
        raise ArgumentError(must(EMA, "be between 0 and 1", given[EMA], why, "ema=0.999"))


def _number(value: Any) -> float:
    """`value`, or NaN for what is no number: a text, a truth value, several numbers."""
    if isinstance(value, bool | str | np.bool_) or getattr(value, "shape", ()) != ():
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
