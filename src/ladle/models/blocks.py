"""`block`: marks a function as one block of a model, whose inside may be computed again instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import jax

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


class Asked:
    """What a trace wants of blocks: `wrap` is put around each, `met` counts them."""

    def __init__(self, wrap: Wrap) -> None:
        self.wrap, self.met = wrap, 0


_ASKED: ContextVar[Asked | None] = ContextVar("asked", default=None)


def block(function: Callable[..., Any]) -> Callable[..., Any]:
    """Marks one block of a model, so that `Task(remat=...)` keeps what enters it and computes its inside again.

    `function` is called as ever; without remat nothing changes. Arrays among its arguments, and those that it closes
    over, may be of any shape; anything else (a flag, None) stays what it is. Where a model marks no block, remat takes
    the whole model as one.

    >>> import jax.numpy as jnp
    >>> float(block(lambda x, twice: 2 * x if twice else x)(jnp.float32(3.0), True))
    6.0
    """
    asked = _ASKED.get()
    if asked is None:
        return function
    asked.met += 1
    return partial(_called, asked.wrap, function)


def _called(wrap: Wrap, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """`function` within `wrap`, which sees the arrays alone: it would make an array of a flag."""
    leaves, tree = jax.tree.flatten((given, named))

    def inside(*arrays: Any) -> Any:
        left = iter(arrays)
        whole = [next(left) if isinstance(leaf, jax.Array) else leaf for leaf in leaves]
        positional, by_name = tree.unflatten(whole)
        return function(*positional, **by_name)

    return wrap(inside)(*(leaf for leaf in leaves if isinstance(leaf, jax.Array)))


@contextmanager
def recomputing(wrap: Wrap) -> Iterator[Asked]:
    """While it lasts, `wrap` is put around every block that is traced; what it yields counts them."""
    asked = Asked(wrap)
    token = _ASKED.set(asked)
    try:
        yield asked
    finally:
        _ASKED.reset(token)
