"""Weights that training leaves as they are: they move from the parameters into what a model carries beside them.

So nothing else has to know: no gradient is taken of them, no moment, norm, decay or average, and the optimiser keeps no
state for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax

from ladle.core.errors import ArgumentError, must
from ladle.core.paths import matches, require_matches
from ladle.jax.objective import Objective
from ladle.jax.paths import path_text, paths_of


class Frozen(NamedTuple):
    """The model's state where weights are frozen. `weights`: a tree of the parameters' form, None where they train."""

    weights: Any
    inner: Any


def freeze(objective: Objective, patterns: tuple[str, ...]) -> Objective:
    """`objective` with the weights that `patterns` mean as they begin, for good; the same where there are none.

    Raises `ArgumentError` for a pattern that means no weight, and where nothing is left to train.
    """
    if not patterns:
        return objective
    paths = paths_of(jax.eval_shape(objective.init, jax.random.key(0))[0])
    require_matches("frozen", patterns, paths)
    if all(matches(path, patterns) for path in paths):
        why, remedy = "nothing would be left to train", "the layers before the last"
        raise ArgumentError(must("frozen", "leave an array to train", patterns, why, remedy))
    return replace(
        objective,
        init=FrozenStart(objective.init, patterns),
        losses=FrozenLosses(objective.losses),
        predict=objective.predict and FrozenOutputs(objective.predict),
    )


def whole(params: Any, model_state: Any) -> tuple[Any, Any]:
    """Parameters and state as the model itself has them: with the frozen weights in their places."""
    if not isinstance(model_state, Frozen):
        return params, model_state
    trees = params, model_state.weights
    joined = jax.tree.map(lambda mine, kept: mine if kept is None else kept, *trees, is_leaf=_is_none)
    return joined, model_state.inner


def own_state(model_state: Any) -> Any:
    """The model's own state, which training changes: without frozen weights."""
    return model_state.inner if isinstance(model_state, Frozen) else model_state


def parted(params: Any, own: Any, like: Frozen) -> tuple[Any, Frozen]:
    """The inverse of `whole`: the weights that `like` freezes, apart."""
    trees = like.weights, params
    mine = jax.tree.map(lambda kept, value: value if kept is None else None, *trees, is_leaf=_is_none)
    theirs = jax.tree.map(lambda kept, value: None if kept is None else value, *trees, is_leaf=_is_none)
    return mine, Frozen(theirs, own)


@dataclass(frozen=True)
class FrozenStart:
    """`init` with the weights parted."""

    init: Callable[[jax.Array], tuple[Any, Any]]
    patterns: tuple[str, ...]

    def __call__(self, key: jax.Array) -> tuple[Any, Frozen]:
        params, own = self.init(key)
        return self._part(params, False), Frozen(self._part(params, True), own)

    def _part(self, params: Any, kept: bool) -> Any:
        """The weights that are kept, or those that train, with None in the places of the others."""

        def leaf(path: Any, value: Any) -> Any:
            return value if matches(path_text(path), self.patterns) is kept else None

        return jax.tree_util.tree_map_with_path(leaf, params)


@dataclass(frozen=True)
class FrozenLosses:
    """`losses` of a model with frozen weights: see `Objective`."""

    losses: Callable[..., Any]

    def applied(self) -> FrozenLosses:
        return FrozenLosses(getattr(self.losses, "applied", lambda: self.losses)())

    def __call__(self, params: Any, model_state: Frozen, rows: Any, train: bool) -> Any:
        values, metrics, inner = self.losses(*whole(params, model_state), rows, train)
        return values, metrics, model_state._replace(inner=inner)


@dataclass(frozen=True)
class FrozenOutputs:
    """`predict` of a model with frozen weights."""

    predict: Callable[..., Any]

    def applied(self) -> FrozenOutputs:
        return FrozenOutputs(getattr(self.predict, "applied", lambda: self.predict)())

    def __call__(self, params: Any, model_state: Frozen, x: Any) -> Any:
        return self.predict(*whole(params, model_state), x)


def thawed(predict: Any) -> Any:
    """`predict` of the model itself, which takes its parameters whole."""
    return predict.predict if isinstance(predict, FrozenOutputs) else predict


def _is_none(value: Any) -> bool:
    return value is None
