"""`Arithmetic`: how a model's outputs are computed, around its `apply`: in which type, and what is computed twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from ladle.jax.precision import TYPES, kept, lowered, mixed_types, raised
from ladle.jax.remat import policy_of, rematerialised


@dataclass(frozen=True)
class Arithmetic:
    """What is asked of a model's arithmetic. A value: programs depend on it.

    - `precision`: "f32", "bf16" or "fp16". `remat`: see `ladle.jax.remat`.
    - `recomputing`: what marks blocks, `ladle.models.blocks.recomputing`.
    """

    precision: str = "f32"
    remat: Any = "none"
    recomputing: Any = None

    @property
    def scaled(self) -> bool:
        """Whether gradients are scaled on their way through the model, and an update may be skipped."""
        return self.precision == "fp16"

    @property
    def recomputes(self) -> bool:
        return self.remat != "none"

    def model(self, apply: Callable[..., Any], scale: jax.Array | None) -> Callable[..., Any]:
        """`apply` of a model: parameters and inputs are lowered, outputs raised, its state is what it was."""
        if self.recomputes:
            apply = rematerialised(apply, self.remat, self.recomputing)
        kind = TYPES.get(self.precision)
        if kind is None:
            return apply

        def applied(params: Any, model_state: Any, x: Any, **named: Any) -> tuple[Any, Any]:
            params, x = lowered(params, kind, scale), lowered(x, kind)
            outputs, after = self._told(apply, params, model_state, x, **named)
            return raised(outputs, scale), kept(after, model_state)

        return applied

    def loss(self, function: Callable[..., Any], has_state: bool, scale: jax.Array | None) -> Callable[..., Any]:
        """A plain loss: of its batch all but the targets is lowered, its losses are raised."""
        if self.recomputes:
            function = jax.checkpoint(function, policy=policy_of(self.remat))
        kind = TYPES.get(self.precision)
        if kind is None:
            return function

        def values(params: Any, *given: Any) -> Any:
            state, (batch, *rest) = given[:has_state], given[has_state:]
            batch = {name: leaf if name == "y" else lowered(leaf, kind) for name, leaf in batch.items()}
            found = self._told(function, lowered(params, kind, scale), *state, batch, *rest)
            if not has_state:
                return raised(found, scale)
            losses, after = found
            return raised(losses, scale), kept(after, *state)

        return values

    def outputs(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A plain `predict(params, [model_state,] x)`."""
        kind = TYPES.get(self.precision)
        if kind is None:
            return function

        def predicted(params: Any, *rest: Any) -> Any:
            *state, x = rest
            return raised(self._told(function, lowered(params, kind), *state, lowered(x, kind)))

        return predicted

    def _told(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except (TypeError, jax.dtypes.TypePromotionError) as error:
            if "dtype" not in str(error):
                raise  # Whatever is wrong with it, it would be in float32 too.
            raise mixed_types(error, self.precision) from error


PLAIN = Arithmetic()
"""All in float32, everything kept."""
