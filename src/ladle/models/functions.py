"""A model from two plain functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax

from ladle.core.errors import ArgumentError, must


class FunctionModel:
    """`init(key) -> params` and `apply(params, x) -> outputs`, as a `ladle.models.protocol.Model`.

    **Arguments**

    - `init`: starting parameters, a tree of float arrays.
    - `apply`: outputs `[examples, ...]` of a whole micro-batch `x`, each row from its own row of `x` alone. It may
      also take `keys` (one random key per example, `key[examples]`) or `key` (the first of them); both are None in
      evaluation, where nothing should be drawn.
    - `name`: for records and reports.

    For model state, or a loss that is no function of outputs, use `Task.functions`.

    **Raises** `ArgumentError` when one of them is not a function.

    >>> import jax, jax.numpy as jnp
    >>> def init(key):
    ...     return {"w": jnp.zeros((3, 1))}
    >>> model = FunctionModel(init, lambda params, x: x @ params["w"], name="scores")
    >>> params, state = model.init(jax.random.key(0))
    >>> model.apply(params, state, jnp.ones((5, 3)), keys=None, weight=jnp.ones(5), train=False)[0].shape
    (5, 1)
    """

    additive = True

    def __init__(self, init: Callable[..., Any], apply: Callable[..., Any], name: str = "functions") -> None:
        for argument, value in (("init", init), ("apply", apply)):
            if not callable(value):
                raise ArgumentError(must(argument, "be a function", value, "it is called", "def apply(params, x): ..."))
        self.name = name
        self._init = init
        self._apply = apply
        self._takes = frozenset(inspect.signature(apply).parameters) & {"key", "keys"}

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """What the given `init` returns, and no model state."""
        return self._init(key), ()

    def apply(
        self, params: Any, model_state: Any, x: Any, *, keys: jax.Array | None, weight: jax.Array, train: bool
    ) -> tuple[jax.Array, Any]:
        """What the given `apply` returns."""
        drawn = keys if train else None
        random = {"keys": drawn, "key": None if drawn is None else drawn[0]}
        return self._apply(params, x, **{name: random[name] for name in self._takes}), model_state
