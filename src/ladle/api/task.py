"""`Task`: what is to be learnt. A model, a loss, data, an optimiser. A value: nothing runs, no JAX is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class Task:
    """What is to be learnt, from which data, by which rule.

    - `model`: one of `ladle.models`, an Equinox module (or factory `key -> module`), or a Flax NNX module (or factory
      `rngs -> module`). For plain functions see `Task.functions`.
    - `loss`: `(outputs, y) -> f32[examples]`, one of `ladle.losses`, or its name. One number per example: the engine
      does the weighting.
    - `data`: what `ladle.data.load` or `ladle.data.arrays` returned.
    - `optimizer`: a name ("sgd", "momentum", "adam", "adamw", "lion", ...) or any optax transformation.
    - `lr`: a number; a schedule `examples drawn -> rate` (any optax schedule, its lengths counted in examples); or
      "auto", the optimiser's usual rate at batches of 64, moved by its rule to the size in use.
    - `hyper`: constants of a named optimiser (`{"b2": 0.99}`).
    - `order`: how rows are drawn. "permuted" (anew in each epoch), "sequential", "stratified" (permuted, the classes
      in proportion in every batch), or a function `seed -> order`: `lambda seed: ladle.feed.Weighted(shares, seed)`.
    - `feed`: a function `seed -> feed` in place of the data's rows in `order`: sequences that are padded or packed,
      sampled graphs, streams. `lambda seed: ladle.feed.HostFeed(source, ladle.feed.Permuted(n, seed), collate=...)`;
      two threads read it ahead, unless it is a `PrefetchedFeed` that says otherwise. The data then holds the
      validation part alone.
    - `sources`: names of the sources of a mixture, in the order of `ladle.feed.Joined`: the record then also has the
      loss of each, `train_loss/NAME`.
    - `lane`: where training rows are: "device" (all of them, once), "host" (they travel as they are needed), or "auto":
      the device where they take at most half of its free memory.
    - `metrics`: `{name: metric(outputs, y) -> f32[examples]}`; by default accuracy, or squared error.

    >>> import ladle
    >>> data = ladle.data.load("digits")
    >>> task = ladle.Task(ladle.models.mlp(64, 32, 10), ladle.losses.cross_entropy, data, lr=1e-3)
    >>> task.optimizer, task.data.rows
    ('adam', 1438)
    """

    model: Any
    loss: Callable[..., Any] | str | None
    data: Any
    optimizer: Any = "adam"
    lr: float | Callable[[Any], Any] | Literal["auto"] = "auto"
    hyper: Mapping[str, float] = field(default_factory=dict)
    order: str | Callable[[int], Any] = "permuted"
    feed: Callable[[int], Any] | None = None
    lane: Literal["auto", "device", "host"] = "auto"
    sources: tuple[str, ...] = ()
    metrics: Mapping[str, Callable[..., Any]] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.lr, bool) or not (self.lr == "auto" or callable(self.lr) or _positive(self.lr)):
            raise ArgumentError(
                must(
                    "lr",
                    "be a positive number, a schedule or 'auto'",
                    self.lr,
                    "a rate of zero learns nothing",
                    "lr='auto'",
                )
            )

        if self.lane not in ("auto", "device", "host"):
            why = "rows either live on the device or travel there"
            raise ArgumentError(must("lane", "be 'auto', 'device' or 'host'", self.lane, why, "lane='auto'"))

    @classmethod
    def functions(
        cls,
        init: Callable[..., Any],
        loss: Callable[..., Any],
        data: Any,
        *,
        predict: Callable[..., Any] | None = None,
        metrics: Mapping[str, Callable[..., Any]] | None = None,
        has_state: bool = False,
        additive: bool = True,
        **rest: Any,
    ) -> Task:
        """A task from plain functions; see `ladle.jax.objective.of_functions` for their signatures.

        `rest`: `optimizer`, `lr`, `hyper`, `order`, `feed`, `lane`, `sources`.
        """
        from ladle.jax.objective import of_functions

        objective = of_functions(init, loss, predict=predict, metrics=metrics, has_state=has_state, additive=additive)
        return cls(objective, None, data, **rest)

    @property
    def optimizer_name(self) -> str:
        return self.optimizer if isinstance(self.optimizer, str) else getattr(self.optimizer, "name", "custom")

    def objective(self) -> Any:
        """The compiled side's view of it: per-example losses as pure functions. Loads JAX."""
        if not self.sources:
            return self._objective()
        from ladle.jax.per_source import by_source

        return by_source(self._objective(), self.sources)

    def _objective(self) -> Any:
        from ladle.jax.objective import Objective, of_model

        if isinstance(self.model, Objective):
            return self.model
        from ladle.models import losses, metrics

        kind = self.data.kind
        loss = losses.default_for(kind) if self.loss is None else self.loss
        loss = losses.loss_named(loss) if isinstance(loss, str) else loss
        measured = metrics.default_for(kind) if self.metrics is None else self.metrics
        return of_model(as_model(self.model), loss, measured)

    def with_(self, **changes: Any) -> Task:
        """The same task with some fields changed."""
        return replace(self, **changes)


def as_model(model: Any) -> Any:
    """`model` as ladle's own interface: `init(key)` and `apply(params, model_state, x, ...)`."""
    if hasattr(model, "init") and hasattr(model, "apply") and hasattr(model, "additive"):
        return model
    for kind in type(model).__mro__:
        root = kind.__module__.partition(".")[0]
        if root == "equinox":
            from ladle.models.module import from_equinox

            return from_equinox(model)
        if root == "flax":
            from ladle.models.nnx import from_nnx

            return from_nnx(model)
    if inspect.isfunction(model):  # a factory: Flax gives it `rngs`, Equinox a `key`
        if "rngs" in inspect.signature(model).parameters:
            from ladle.models.nnx import from_nnx

            return from_nnx(model)
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


def _positive(value: Any) -> bool:
    try:
        return 0 < float(value) < float("inf")
    except (TypeError, ValueError):
        return False
