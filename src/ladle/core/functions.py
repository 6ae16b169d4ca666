"""`Functions`: a task given as plain functions instead of a model and a loss. Whoever computes calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class Functions:
    """What is minimised, as plain functions of the backend's arrays.

    - `init(key) -> params`, or `(params, model_state)` with `has_state=True`.
    - `loss(params, batch, key) -> f32[examples]`; with `has_state=True`
      `loss(params, model_state, batch, key) -> (f32[examples], model_state)`. `key` may be left out of the signature.
      A last argument called `weight`, without a default, is given `f32[examples]`, what each row of the micro-batch
      counts for: 0 where a row only fills it up. A loss that looks at the other rows has to leave those out.
    - `predict(params, x) -> outputs`; with `has_state=True` `predict(params, model_state, x)`.
    - `metrics`: `{name: metric(outputs, y) -> f32[examples]}`; needs `predict`.
    - `additive`: the loss of an example does not depend on the others in its batch.

    Raises `ArgumentError` for metrics without `predict`.
    """

    init: Callable[..., Any]
    loss: Callable[..., Any]
    predict: Callable[..., Any] | None = None
    metrics: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    has_state: bool = False
    additive: bool = True

    def __post_init__(self) -> None:
        if self.metrics and self.predict is None:
            why = "metrics are computed from predictions"
            raise ArgumentError(must("predict", "be given", None, why, "predict=..."))
