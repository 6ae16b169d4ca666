"""Learning-rate schedules, counted in examples: functions `examples drawn -> factor`, read from text.

The same forms as in JAX (`ladle/jax/rate.py`), as plain numbers: a schedule in examples keeps its shape when the batch
size changes.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable

from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must

Rate = Callable[[float], float]

_FORMS = "'constant', 'cosine', 'linear' or 'x0.1 at 10 epochs, 20 epochs', each with an optional ', warmup 1 epoch'"


def constant_rate(examples: float) -> float:
    """No schedule: the factor is one throughout."""
    return 1.0


def rate_from_text(text: str, *, total: int, epoch_size: int) -> Rate:
    """The schedule that `text` names, as a factor of the learning rate; `total` examples is the whole run.

    - `constant`; `cosine` and `linear` fall to zero at `total`.
    - `x0.1 at 10 epochs, 20 epochs` multiplies by 0.1 at each of those places.
    - `, warmup 1 epoch` rises linearly from zero; the rest then begins after it.

    Raises `ArgumentError` for any other text, and for a drop within the warmup.

    >>> rate = rate_from_text("cosine, warmup 100 examples", total=300, epoch_size=100)
    >>> [round(rate(at), 2) for at in (0, 50, 100, 200, 300)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    body, found, warmup = text.partition("warmup")
    over = _examples(warmup, epoch_size, text) if found else 0
    main = _main(body.strip().rstrip(",").strip() or "constant", over, total, epoch_size, text)
    if not over:
        return main
    return lambda examples: examples / over if examples < over else main(examples - over)


def _main(body: str, over: int, total: int, epoch_size: int, text: str) -> Rate:
    left = max(total - over, 1)
    if body == "constant":
        return constant_rate
    if body == "cosine":
        return lambda examples: 0.5 * (1 + math.cos(math.pi * min(examples / left, 1.0)))
    if body == "linear":
        return lambda examples: 1 - min(examples / left, 1.0)
    match = re.fullmatch(r"x([0-9.e-]+)\s+at\s+(.+)", body)
    if match is None:
        raise ArgumentError(must("lr schedule", "be a known form", text, "it is none", _FORMS))
    places, factor = sorted(_examples(p, epoch_size, text) - over for p in match[2].split(",")), _factor(match[1], text)
    if places[0] < 0:
        why = "the rate still rises there"
        raise ArgumentError(must("lr schedule", "drop after its warmup", text, why, "a shorter warmup"))
    return lambda examples: factor ** bisect_right(places, examples)


def _factor(text: str, whole: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if factor <= 0:
        raise ArgumentError(must("lr schedule", "multiply by a positive number", whole, f"{text!r} is none", _FORMS))
    return factor


def _examples(text: str, epoch_size: int, whole: str) -> int:
    try:
        stop = Until.parse(text.strip()).stop(epoch_size)
    except ArgumentError:
        stop = None
    if stop is None:
        why = f"{text.strip()!r} is neither"
        raise ArgumentError(must("lr schedule", "count in epochs or examples", whole, why, _FORMS))
    return stop
