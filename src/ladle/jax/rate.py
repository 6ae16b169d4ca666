"""Learning-rate schedules, counted in examples: functions `f32[] examples drawn -> f32[]`.

Any optax schedule serves, given its lengths in examples instead of steps: a schedule in examples keeps its shape when
the batch size changes. This page only reads them from text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must

Rate = Callable[[Any], Any]

_FORMS = "'constant', 'cosine', 'linear' or 'x0.1 at 10 epochs, 20 epochs', each with an optional ', warmup 1 epoch'"


def constant_rate(examples: jax.Array) -> jax.Array:
    """No schedule: the factor is one throughout."""
    return jnp.ones((), jnp.float32)


def rate_from_text(text: str, *, total: int, epoch_size: int) -> Rate:
    """The schedule that `text` names, as a factor of the learning rate; `total` examples is the whole run.

    - `constant`; `cosine` and `linear` fall to zero at `total`.
    - `x0.1 at 10 epochs, 20 epochs` multiplies by 0.1 at each of those places.
    - `, warmup 1 epoch` in front rises linearly from zero; the rest then begins after it.

    Raises `ArgumentError` for any other text, and for a drop within the warmup.
    """
    body, found, warmup = text.partition("warmup")
    over = _examples(warmup, epoch_size, text) if found else 0
    body = body.strip().rstrip(",").strip() or "constant"
    if body == "constant":
        return constant_rate if not over else optax.linear_schedule(0.0, 1.0, over)
    left = max(total - over, 1)
    if body == "cosine":
        main: Rate = optax.cosine_decay_schedule(1.0, left)
    elif body == "linear":
        main = optax.linear_schedule(1.0, 0.0, left)
    elif match := re.fullmatch(r"x([0-9.e-]+)\s+at\s+(.+)", body):
        places = [_examples(part, epoch_size, text) - over for part in match[2].split(",")]
        if min(places) < 0:
            why = "the rate still rises there"
            raise ArgumentError(must("lr schedule", "drop after its warmup", text, why, "a shorter warmup"))
        main = optax.piecewise_constant_schedule(1.0, dict.fromkeys(places, _factor(match[1], text)))
    else:
        raise ArgumentError(must("lr schedule", "be a known form", text, "it is none", _FORMS))
    return main if not over else optax.join_schedules([optax.linear_schedule(0.0, 1.0, over), main], [over])


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
        raise ArgumentError(
            must("lr schedule", "count in epochs or examples", whole, f"{text.strip()!r} is neither", _FORMS)
        )
    return stop
