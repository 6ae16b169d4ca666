"""What the roof wants of whoever computes: `Backend`, the library, and `Engine`, one task made ready on its devices.

A backend is a value without memory. The roof reaches it through this page alone, so `fit`, `plan`, `compare`,
`critical` and `search` import neither JAX nor PyTorch. `tests/backends_test.py` runs them on every backend there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ladle.core.moments import Gauge
from ladle.core.protocols import Feed, Meter, Probe, State, Step
from ladle.core.reducer import Reducer
from ladle.core.spec import BatchSpec
from ladle.core.trials import Trials
from ladle.core.world import World

Direction = str | None
"""Which way a metric is better: "higher", "lower", or None where it does not say."""

Rate = Callable[[Any], Any]
"""A learning-rate schedule: examples drawn -> factor of the rate."""


class Weight(NamedTuple):
    """What is known of one array of a model's weights. `path`: what a `Saver` calls it in a state."""

    path: str
    dtype: str
    shape: tuple[int, ...]


class Program(NamedTuple):
    """A model's outputs as a program of the backend's library.

    - `any_rows`: it takes any number of rows, else as many as it was made with. `file`: the name that such files have.
    - `whole`: weights are in it; else they are its first arguments, in the order of their names.
    """

    content: bytes
    any_rows: bool
    file: str
    whole: bool


class Objective(Protocol):
    """What is minimised, as far as the roof asks about it.

    - `name`, `loss`: the model and the loss in one line each, for the record.
    - `metrics`: names of what is measured beside the loss. `direction(name)`: which way one is better.
    - `additive`: the loss of an example does not depend on the others in its batch. `declared`: a user said so.
    - `levels`: regularisation that may move with the batch size: "dropout", "label_smoothing".
    - `predicts`: whether outputs can be asked for.
    """

    @property
    def name(self) -> str: ...

    @property
    def loss(self) -> str: ...

    @property
    def metrics(self) -> tuple[str, ...]: ...

    def direction(self, metric: str) -> Direction: ...

    @property
    def additive(self) -> bool: ...

    @property
    def declared(self) -> bool: ...

    @property
    def levels(self) -> tuple[str, ...]: ...

    @property
    def predicts(self) -> bool: ...


class Optimizer(Protocol):
    """The update rule, as far as the roof asks about it: its name, its constants, its usual rate at batches of 64.

    `lr` is None where a transformation of the user's brings a rate that cannot be read.
    """

    @property
    def name(self) -> str: ...

    @property
    def hyper(self) -> Mapping[str, float]: ...

    @property
    def lr(self) -> float | None: ...


class Saver(Protocol):
    """Puts a tree of arrays into a folder and back."""

    def describe(self, tree: Any) -> list[list[str]]:
        """Path and type of every leaf, `[["['w']", "float32[3]"], ...]`; equal for trees that fit each other."""
        ...

    def save(self, folder: Path, tree: Any) -> Callable[[], None]:
        """Begin to write the new folder `folder`; what is returned waits for the end and raises what went wrong.

        The leaves may be overwritten as soon as this returns.
        """
        ...

    def load(self, folder: Path, like: Any) -> Any:
        """The tree in `folder`, with the structure, types and places of `like`."""
        ...

    def arrays(self, folder: Path, described: list[list[str]]) -> list[np.ndarray]:
        """All leaves of the tree in `folder`, which `describe` told to be so, on the host and in its order."""
        ...


class Engine(Protocol):
    """A task's programs on its devices: made once, used by every run of that task."""

    @property
    def step(self) -> Step: ...

    @property
    def gauge(self) -> Gauge | None: ...

    @property
    def devices(self) -> int:
        """How many devices share a batch."""
        ...

    def gauged(self, gauge: Gauge) -> Engine:
        """The same with gradient moments taken by `gauge`. Raises `ArgumentError` where they cannot be."""
        ...

    def over(self, world: World) -> Engine:
        """The same, whose updates and evaluations are those of all ranks of `world` together."""
        ...

    def within(self, room_bytes: int) -> Engine:
        """The same, with as many rows judged at once as take no more than so much beside what is there already."""
        ...

    def state_bytes(self, whole: bool = False) -> int:
        """Bytes of a state: parameters, what the model carries beside them, the optimiser's.

        Those that one device keeps, where devices share a state; `whole`: those of all of it.
        """
        ...

    def judging(self, rows: Any) -> tuple[int, int]:
        """How many of `rows` (arrays or shapes) are judged at once, and the bytes that takes beside them, predicted."""
        ...

    def place(self, tree: Any) -> Any:
        """Arrays where the programs want them, once, for many runs."""
        ...

    def rate_at(self, time: float) -> float:
        """The schedule's factor at a position."""
        ...

    def abstract_state(self, hyper: Mapping[str, float]) -> State:
        """The state's structure, shapes and places: what a checkpoint is read into. Nothing is allocated."""
        ...

    def constants(self, state: State) -> dict[str, float]:
        """The optimiser's constants in force in `state`, `lr` among them."""
        ...

    def with_constants(self, state: State, hyper: Mapping[str, float]) -> State:
        """`state` with these constants, and no others, in force: how a resumed run begins."""
        ...

    def copy(self, state: State) -> State:
        """`state` in buffers of its own: a step consumes what it is given."""
        ...

    def to_host(self, state: State) -> State:
        """`state` as arrays of the host, to be kept or sent to another process; `place` brings it back."""
        ...

    def params(self, state: State) -> Any: ...

    def averaged(self, state: State) -> State | None:
        """`state` with the moving average of its weights in their place, to be judged; None where none is kept."""
        ...

    def reestimated(self, state: State, rows: Any, weight: Any | None = None) -> State:
        """`state` with the statistics of batch norm counted anew over `rows`, each of weight above zero once.

        Raises `ArgumentError` for a model without them, and where this backend does not.
        """
        ...

    def evaluate(self, state: State, rows: Any, prefix: str = "valid_") -> dict[str, float]:
        """Mean loss and metrics over `rows`, each counted once: `{prefix + "loss": ...}`."""
        ...

    def predict(self, state: State, x: Any) -> np.ndarray:
        """The model's outputs, row by row."""
        ...

    def weight_types(self) -> dict[str, Weight]:
        """What outputs are computed from, by name, as it would be in a state. Nothing is allocated."""
        ...

    def weights(self, state: State) -> dict[str, np.ndarray]:
        """The same of a state, as arrays of the host."""
        ...

    def with_weights(self, weights: Mapping[str, np.ndarray]) -> State:
        """A state to predict and judge with, not to train. Raises `CheckpointError` for weights of another model."""
        ...

    def exported(self, state: State, x: Any) -> Program:
        """The outputs as a program that takes rows such as `x`."""
        ...

    def run_exported(self, program: bytes, state: State, x: Any) -> np.ndarray:
        """Outputs of such a program, read from its bytes."""
        ...

    def losses(self, state: State, rows: Any) -> np.ndarray:
        """`f64[examples]`, the loss of each of `rows`, in order."""
        ...

    def sharpness(self, state: State, rows: Any) -> float | None:
        """The largest eigenvalue of the loss's Hessian; None where this backend does not measure it."""
        ...

    def probe(
        self, feed: Feed, pilot: BatchSpec, *, hyper: Mapping[str, float], seed: int = 0, meter: Meter | None = None
    ) -> Probe:
        """What answers a plan's questions about this task."""
        ...

    def trials(
        self, data: Any, weight: Any, folds: Sequence[np.ndarray], sizes: Sequence[int], micro_size: int | None
    ) -> Trials:
        """What runs the trials of a search. `folds`: for each fold, the rows left out."""
        ...

    def rebase(self) -> Callable[[State, Any, BatchSpec, int], State]:
        """What moves averages of squared gradients with the batch size. Experimental; `ArgumentError` without such."""
        ...

    def require_independent(self, rows: Any) -> None:
        """Refuse a loss that is no sum over examples, tried on a few of `rows`."""
        ...

    def output_width(self, x: Any) -> int | None:
        """Outputs of one example, known before anything runs; None where the model does not tell."""
        ...


class Backend(Protocol):
    """The library that computes: makes objectives, optimisers and engines, and knows the devices."""

    @property
    def name(self) -> str: ...

    def model(self, name: str, *, input_shape: Sequence[int], outputs: int, cardinalities: Sequence[int] = ()) -> Any:
        """The built-in model of that name for data of these shapes."""
        ...

    def objective(
        self, model: Any, loss: Any, metrics: Mapping[str, Any] | None, kind: str, sources: tuple[str, ...] = ()
    ) -> Objective:
        """What is minimised: a model under a loss, or the task's own `Functions`.

        - `loss`: a function, a name, or None for the usual one of `kind`. `metrics`: None likewise.
        - `sources`: names of the sources of a mixture whose losses are told apart.
        """
        ...

    def described(self, model: Any, loss: Any, metrics: Mapping[str, Any] | None, kind: str) -> dict[str, Any]:
        """The model and its loss as JSON: a built-in model whole, another one by name."""
        ...

    def rebuilt(self, described: Mapping[str, Any], model: Any, kind: str) -> Objective:
        """The objective that `described` tells of. `model`: a model that is not built in, as the user gives it again.

        Raises `ArgumentError` where one is needed, or given though none is.
        """
        ...

    def optimizer(self, rule: Any, hyper: Mapping[str, float] | None = None, lr: float | None = None) -> Optimizer:
        """The optimiser of that name, or a transformation of the user's; `lr` where a number was given."""
        ...

    def frozen(self, objective: Any, patterns: tuple[str, ...]) -> Objective:
        """`objective` with the weights that `patterns` mean by their paths as they begin, for good."""
        ...

    def without_decay(self, optimizer: Any, patterns: tuple[str, ...]) -> Optimizer:
        """`optimizer` whose weight decay leaves alone what `patterns` mean."""
        ...

    def rate(self, text: str, *, total: int, epoch_size: int) -> Rate:
        """The learning-rate schedule that `text` names; `total` examples are the whole run."""
        ...

    def engine(
        self,
        objective: Any,
        optimizer: Any,
        *,
        rate: Rate | None = None,
        gauge: Gauge | None = None,
        devices: Any = None,
        shard_state: bool = False,
        offload: bool = False,
    ) -> Engine:
        """`shard_state`, `offload`: where the state is kept, see `Task`. Raises `ArgumentError` where it cannot be."""
        ...

    def put(self, tree: Any) -> None:
        """Send the numbers of a tree of arrays to the device, and wait until they are there."""
        ...

    def saver(self) -> Saver: ...

    def world(self) -> World:
        """The processes that share a run of this backend; `ALONE` where there is one. Asked before data are placed."""
        ...

    def device_names(self) -> list[str]: ...

    def on_host(self) -> bool:
        """Whether the devices are this machine's own processor, so that its CPU time is theirs."""
        ...

    def used_bytes(self) -> int | None:
        """Memory in use now; None where it is not known."""
        ...

    def free_bytes(self) -> int:
        """Memory that the first device has left."""
        ...

    def reducer(self) -> Reducer | None:
        """What times sums over devices of this process; None where fewer than two can share a batch."""
        ...
