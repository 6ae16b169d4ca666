"""Learning-rate schedules as functions `examples drawn -> factor`, in plain numbers."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

from ladle.core.rate_schedule import RateSchedule

Rate = Callable[[float], float]


def constant_rate(examples: float) -> float:
    """No schedule: the factor is one throughout."""
    return 1.0


def rate_from_text(text: str, *, total: int, epoch_size: int) -> Rate:
    """The schedule that `text` names, as a factor of the learning rate; see `RateSchedule.read`.

    >>> rate = rate_from_text("cosine, warmup 100 examples", total=300, epoch_size=100)
    >>> [round(rate(at), 2) for at in (0, 50, 100, 200, 300)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    schedule = RateSchedule.read(text, total=total, epoch_size=epoch_size)
    main, over = _main(schedule), schedule.warmup
    return main if not over else lambda examples: examples / over if examples < over else main(examples - over)


def _main(schedule: RateSchedule) -> Rate:
    if schedule.form == "cosine":
        return lambda examples: 0.5 * (1 + math.cos(math.pi * min(examples / schedule.length, 1.0)))
    if schedule.form == "linear":
        return lambda examples: 1 - min(examples / schedule.length, 1.0)
    if schedule.form == "drops":
        return lambda examples: schedule.drop ** bisect_right(schedule.places, examples)
    return constant_rate
