"""`own_rate`: the learning rate that an optax transformation of the user's brings with it, where it can be read."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

AFTER = ("trace", "identity")
"""Stages that may stand behind the rate: they add up or pass on, so that a factor on the rate is one on the step."""


def own_rate(transformation: Any) -> float | None:
    """The constant rate of `optax.sgd(lr)`, `optax.adam(lr)` and whatever ends in a scaling by a negative number.

    A transformation is a chain of closures; one of them, `optax.scale`, holds the rate as its `step_size`. It is read
    where there is exactly one negative number of the kind, with nothing behind it but momentum. None otherwise: for a
    schedule, two rates, stages that are not known, or another library's objects.

    >>> import optax
    >>> own_rate(optax.adamw(3e-4)), own_rate(optax.adam(optax.linear_schedule(1e-3, 0.0, 10)))
    (0.0003, None)
    """
    stages = list(_stages(getattr(transformation, "update", None)))
    places = [place for place, (_, size) in enumerate(stages) if size is not None]
    if len(places) != 1 or any(name not in AFTER for name, _ in stages[places[0] + 1 :]):
        return None
    size = stages[places[0]][1]
    return -size if size is not None and size < 0 else None


def _stages(update: Any) -> Iterator[tuple[str, float | None]]:
    """`(name, step size or None)` of each stage, in the order in which they are applied."""
    name = getattr(update, "__qualname__", "").partition(".<locals>")[0]
    held = inspect.getclosurevars(update).nonlocals if inspect.isfunction(update) else {}
    inner = held.get("update_fns")
    if inner is not None and name == "chain":
        for one in inner:
            yield from _stages(one)
        return
    if name == "with_extra_args_support" and "tx" in held:
        yield from _stages(getattr(held["tx"], "update", None))
        return
    size = held.get("step_size") if name == "scale" else None
    yield name, float(size) if isinstance(size, int | float) and not isinstance(size, bool) else None
