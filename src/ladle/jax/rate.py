"""Learning-rate schedules as functions `f32[] examples drawn -> f32[]`: optax's, with lengths in examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ladle.core.rate_schedule import RateSchedule

Rate = Callable[[Any], Any]


def constant_rate(examples: jax.Array) -> jax.Array:
    """No schedule: the factor is one throughout."""
    return jnp.ones((), jnp.float32)


def rate_from_text(text: str, *, total: int, epoch_size: int) -> Rate:
    """The schedule that `text` names, as a factor of the learning rate; see `RateSchedule.read`."""
    schedule = RateSchedule.read(text, total=total, epoch_size=epoch_size)
    main, over = _main(schedule), schedule.warmup
    if not over:
        return main
    rise = optax.linear_schedule(0.0, 1.0, over)
    return rise if schedule.form == "constant" else optax.join_schedules([rise, main], [over])


def _main(schedule: RateSchedule) -> Rate:
    if schedule.form == "cosine":
        return optax.cosine_decay_schedule(1.0, schedule.length)
    if schedule.form == "linear":
        return optax.linear_schedule(1.0, 0.0, schedule.length)
    if schedule.form == "drops":
        return optax.piecewise_constant_schedule(1.0, dict.fromkeys(schedule.places, schedule.drop))
    return constant_rate
