"""`Task`: what is to be learnt. A model, a loss, data, an optimiser. A value: nothing runs, no backend is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import ladle.api.pictures  # noqa: F401  # Everything begins with a task: from here on notebooks show pictures.
from ladle.api.backend import backend_of
from ladle.core.arithmetic import USUAL, require_arithmetic, unoffered
from ladle.core.backend import Backend, Objective
from ladle.core.constants import SHARED, require_constants
from ladle.core.errors import ArgumentError, must
from ladle.core.frames import is_frame
from ladle.core.functions import Functions
from ladle.core.paths import require_patterns
from ladle.feed.augment import Augment, staged


@dataclass(frozen=True)
class Task:
    """What is to be learnt, from which data, by which rule.

    - `model`: one of `ladle.models`, an Equinox module (or factory `key -> module`), or a Flax NNX module (or factory
      `rngs -> module`). For plain functions see `Task.functions`.
    - `loss`: `(outputs, y) -> f32[examples]`, one of `ladle.losses`, or its name. One number per example: the engine
      does the weighting.
    - `data`: what `ladle.data.load` or `ladle.data.arrays` returned; or what these take, where nothing else has to be
      said: a name or a path, `{"x": X, "y": y}`, `(X, y)`.
    - `optimizer`: a name ("sgd", "momentum", "adam", "adamw", "lion", ...) or any optax transformation.
    - `lr`: a number; a schedule `examples drawn -> rate` (any optax schedule, its lengths counted in examples); or
      "auto", the optimiser's usual rate at batches of 64, moved by its rule to the size in use. A transformation
      brings a rate of its own, which "auto" keeps; a number or schedule takes its place where that rate can be read
      (`optax.adam(1e-3)` and its kin), and is refused where it cannot: two rates would be multiplied.
    - `hyper`: constants of a named optimiser (`{"b2": 0.99}`).
    - `order`: how rows are drawn. "permuted" (anew in each epoch), "sequential", "stratified" (permuted, the classes
      in proportion in every batch), or a function `seed -> order`: `lambda seed: ladle.feed.Weighted(shares, seed)`.
    - `feed`: a function `seed -> feed` in place of the data's rows in `order`: sequences that are padded or packed,
      sampled graphs, streams. `lambda seed: ladle.feed.HostFeed(source, ladle.feed.Permuted(n, seed), collate=...)`;
      two threads read it ahead, unless it is a `PrefetchedFeed` that says otherwise. The data then holds the
      validation part alone.
    - `sources`: names of the sources of a mixture, in the order of `ladle.feed.Joined`: the record then also has the
      loss of each, `train_loss/NAME`.
    - `augment`: rows changed at random while it trains, `(row, key) -> row` or a `ladle.feed.Augment`, such as
      `ladle.feed.RandomImages(pad=4)`: a function of the run's seed and a row's place alone, and never of how it was
      read. Where the rows live on the device and the function can be traced, it is a part of the compiled update; else
      rows travel, and threads change them. Evaluations see rows as they are.
    - `lane`: where training rows are: "device" (all of them, once), "host" (they travel as they are needed), or "auto":
      the device where they take at most half of its free memory.
    - `clip`: the largest norm of an update's gradient; `clip_value`: the largest absolute value of a coordinate of it.
      The norm and the moments in the record are those before; `clipped` is the share of updates that were shortened.
    - `ema`: the share that an update keeps of a moving average of the weights, such as 0.999. It is judged beside them,
      as `valid_ema_loss`, and `run.averaged()` is the run with it in their place. Where a policy moves the size by a
      coupling, the decay becomes decay^(size / first size); others leave it. With lr="auto" it is that of batches of
      64, as the rate is.
    - `frozen`: patterns of the paths of weights that stay as they begin, `"layers.0.*"`. `no_decay`: of those that
      weight decay leaves alone, `"*bias"`.
    - `shard_state`: whether the devices share parameters, gradients and the optimiser's state, each keeping a part, as
      they share a batch; else each has all of it. One device has all of it either way.
    - `offload`: whether the host's memory keeps the optimiser's state, which each update fetches; else the devices do.
    - `metrics`: `{name: metric(outputs, y) -> f32[examples]}`; by default accuracy, or squared error. Which way one is
      better is said by `ladle.metrics.higher(f)` or `ladle.metrics.lower(f)`, where its name does not say it.
    - `precision`: the type that the model computes in: "f32", "bf16" or "fp16". Parameters, optimiser, sums, losses and
      metrics are float32 all the same; float16's gradients are scaled, see docs/precision.md.
    - `remat`: what the backward pass computes again instead of keeping it: "none", "dots" (all but products with
      weights), "full" (all but what enters a block), or a policy of `jax.checkpoint`.
    - `backend`: who computes: "auto" (PyTorch where model or loss is its own, else JAX), "jax", "torch", or a value
      that implements `ladle.core.backend.Backend`.

    Raises `ArgumentError` for a rate, a lane or data that cannot be.

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
    clip: float | None = None
    clip_value: float | None = None
    ema: float | None = None
    frozen: tuple[str, ...] = ()
    no_decay: tuple[str, ...] = ()
    shard_state: bool = False
    offload: bool = False
    order: str | Callable[[int], Any] = "permuted"
    feed: Callable[[int], Any] | None = None
    lane: Literal["auto", "device", "host"] = "auto"
    sources: tuple[str, ...] = ()
    metrics: Mapping[str, Callable[..., Any]] | None = None
    backend: Backend | str = "auto"
    augment: Callable[[Any, Any], Any] | Augment | None = None
    precision: Literal["f32", "bf16", "fp16"] = "f32"
    remat: Literal["none", "dots", "full"] | Callable[..., Any] = "none"

    def __post_init__(self) -> None:
        if isinstance(self.lr, bool) or not (self.lr == "auto" or callable(self.lr) or _positive(self.lr)):
            why, be = "a rate of zero learns nothing", "be a positive number, a schedule or 'auto'"
            raise ArgumentError(must("lr", be, self.lr, why, "lr='auto'"))
        if self.lane not in ("auto", "device", "host"):
            why = "rows either live on the device or travel there"
            raise ArgumentError(must("lane", "be 'auto', 'device' or 'host'", self.lane, why, "lane='auto'"))
        if not isinstance(self.shard_state, bool):
            why = "devices either share a state or each have all of it"
            raise ArgumentError(must("shard_state", "be True or False", self.shard_state, why, "shard_state=True"))
        if not isinstance(self.offload, bool):
            why = "the optimiser's state is either on the device or on the host"
            raise ArgumentError(must("offload", "be True or False", self.offload, why, "offload=True"))
        for name in ("frozen", "no_decay"):
            object.__setattr__(self, name, require_patterns(name, getattr(self, name)))
        require_constants(self.constants)
        for name in SHARED:  # A number of whatever library is one of Python from here on.
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(value))
        if self.augment is not None:
            if self.feed is not None:
                why, remedy = (
                    "it brings rows of its own",
                    "HostFeed(..., collate=ladle.feed.Augment(function)) in the feed",
                )
                raise ArgumentError(must("augment", "be left to a feed of one's own", self.augment, why, remedy))
            object.__setattr__(self, "augment", staged(self.augment))
        require_arithmetic(self.precision, self.remat)
        if not hasattr(self.data, "kind") or is_frame(self.data):
            from ladle.data import as_data

            object.__setattr__(self, "data", as_data(self.data))

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
        """A task from plain functions; see `ladle.core.functions.Functions` for their signatures.

        `rest`: `optimizer`, `lr`, `hyper`, `clip`, `ema`, `frozen`, `order`, `feed`, `lane` and the other fields.
        """
        plain = Functions(init, loss, predict, dict(metrics or {}), has_state, additive)
        return cls(plain, None, data, **rest)

    @property
    def constants(self) -> dict[str, float]:
        """Constants of the update that the task sets: `hyper`, and those that every optimiser takes."""
        shared = {name: value for name in SHARED if (value := getattr(self, name)) is not None}
        for name in shared:
            if name in self.hyper:
                raise ArgumentError(must(name, "be given once", shared[name], "hyper has it too", f"{name} alone"))
        return {**self.hyper, **shared}

    @property
    def stage(self) -> Augment | None:
        """`augment`, as a stage between rows and batches."""
        return None if self.augment is None else staged(self.augment)

    @property
    def optimizer_name(self) -> str:
        return self.optimizer if isinstance(self.optimizer, str) else getattr(self.optimizer, "name", "custom")

    def objective(self) -> Objective:
        """The backend's view of it: per-example losses as pure functions. Loads the backend."""
        backend = backend_of(self)
        asked = {**self.arithmetic(), **({"remat": self.remat} if callable(self.remat) else {})}
        if asked and not hasattr(backend, "precisions"):
            raise ArgumentError(unoffered(*next(iter(asked.items())), backend.name))
        made = backend.objective(self.model, self.loss, self.metrics, self.data.kind, self.sources, **asked)
        return backend.frozen(made, self.frozen) if self.frozen else made

    def arithmetic(self) -> dict[str, Any]:
        """What is asked of the model's arithmetic, as a record tells it: `precision`, `remat`, where not the usual."""
        remat = getattr(self.remat, "__name__", "policy") if callable(self.remat) else self.remat
        asked = {"precision": self.precision, "remat": remat}
        return {name: value for name, value in asked.items() if value != USUAL[name]}

    def beside(self) -> dict[str, Any]:
        """What is asked of an update beside its optimiser, as a record tells it: bounds, average, patterns."""
        patterns = {"frozen": list(self.frozen), "no_decay": list(self.no_decay)}
        constants = {name: value for name, value in self.constants.items() if name in SHARED}
        return constants | {name: given for name, given in patterns.items() if given}

    def with_(self, **changes: Any) -> Task:
        """The same task with some fields changed."""
        return replace(self, **changes)


def _positive(value: Any) -> bool:
    try:
        return 0 < float(value) < float("inf")
    except (TypeError, ValueError):
        return False
