"""What a user calls a model, a loss or metrics, as ladle's own: `as_model`, `as_loss`, `as_metrics`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.models.losses import default_for as usual_loss
from ladle.models.losses import loss_named
from ladle.models.metrics import default_for as usual_metrics


def as_model(model: Any) -> Any:
    """`model` as ladle's own interface: `init(key)` and `apply(params, model_state, x, ...)`.

    - `model`: one of `ladle.models`, an Equinox or Flax NNX module, or a factory `key -> module`, `rngs -> module`.

    Raises `ArgumentError` for anything else.
    """
    if hasattr(model, "init") and hasattr(model, "apply") and hasattr(model, "additive"):
        return model
    roots = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    factory = inspect.isfunction(model)  # Flax gives it `rngs`, Equinox a `key`.
    if "flax" in roots or (factory and "rngs" in inspect.signature(model).parameters):
        from ladle.models.nnx import from_nnx

        return from_nnx(model)
    if "equinox" in roots or factory:
        from ladle.models.module import from_equinox

        return from_equinox(model)
    raise ArgumentError(
        must(
            "model",
            "be one of ladle.models, an Equinox module or a Flax NNX module",
            type(model).__name__,
            "it has no init and apply",
            "ladle.models.from_equinox(factory), ladle.from_nnx(factory) or Task.functions(init, loss, data)",
        )
    )


def as_loss(loss: Callable[..., Any] | str | None, kind: str) -> Callable[..., Any]:
    """`loss` as a function `(outputs, y) -> f32[examples]`: itself, the one of that name, or the usual of `kind`."""
    if loss is None:
        return usual_loss(kind)
    return loss_named(loss) if isinstance(loss, str) else loss


def as_metrics(metrics: Mapping[str, Callable[..., Any]] | None, kind: str) -> dict[str, Callable[..., Any]]:
    """`metrics`, or the usual ones of `kind`."""
    return usual_metrics(kind) if metrics is None else dict(metrics)
