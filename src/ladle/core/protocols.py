"""The interfaces between rooms, all on one page. An implementation is final; variation is by wrapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ladle.core.batch import Draw, Rows
from ladle.core.consumption import Consumption
from ladle.core.cursor import Cursor, Shard
from ladle.core.decision import Clock, Decision, Progress
from ladle.core.moments import Moments
from ladle.core.observation import Observation
from ladle.core.plan import Plan
from ladle.core.spec import BatchSpec

State = Any
"""Whatever a step carries from update to update: a tree of arrays. Opaque to the loop."""


class Source(Protocol):
    """Examples by number.

    May be asked from several threads at once, unless its `readers` is 0: then who asks for a batch reads it. A source
    with natural runs (row groups, shards) also has `blocks: i64[k]`, their sizes in order, and `reads_blocks = True` if
    a row costs the reading of its whole block. One that keeps bytes in memory while it is read has `memory_bytes`; one
    that can read without decoding has `fetch(ids)`; one that knows how many threads are worth reading with has
    `readers`. One whose rows cost little more many at a time has `gathers = True`, so that several batches are read at
    once; one that may answer otherwise in another pass has `changes = True`; one whose rows depend on where they stand
    has `take_at(ids, places)`. A source that wraps another passes these on: without `reads_blocks`, rows are shuffled
    one by one, and each costs its block.
    """

    def __len__(self) -> int: ...

    def take(self, ids: np.ndarray) -> Any:
        """The rows `ids` (`i64[k]`) of every array, in that order, as a tree with leading axis `k`.

        Raises `ExampleError`, with all bad ids among those asked for, where examples cannot be read.
        """
        ...


class Collate(Protocol):
    """Makes arrays of one shape of examples that may have many shapes. A frozen value."""

    def extent(self, source: Any, ids: np.ndarray, position: np.ndarray) -> tuple[int, ...]:
        """How large the arrays must be to hold these rows, rounded up to rungs; `()` where all rows are alike.

        Known from ids alone (lengths, not bytes): every host asks it for every host's rows and takes the largest.
        """
        ...

    def __call__(self, source: Any, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int) -> Rows:
        """The rows `ids`, in arrays whose shape depends on `len(ids)` and `extent` alone.

        - `position`: `i64[k]`, places in the order of the run: what random choices are a function of.
        - `real`: how many of the rows count; the others repeat them as padding.
        """
        ...


class Stream(Protocol):
    """Events of a log. Reading changes nothing: after the same position come the same events, as often as asked."""

    def start(self) -> Any:
        """The position before the first event to use; a small JSON value."""
        ...

    def read(self, position: Any, count: int, wait_seconds: float) -> tuple[list[Any], Any]:
        """The next events after `position`, at most `count`, and the position after the last of them.

        Fewer than `count`, perhaps none, where no more came in time. Raises `DataError` where the next ones are gone.
        """
        ...


class Cut(Protocol):
    """Where batches end, and how one is cut into micro-batches. A frozen value; a function of positions alone."""

    def stop(self, order: Order, start: int, spec: BatchSpec) -> int:
        """Where the last of the next `spec.updates` batches ends, as fast for many as for one where that can be."""
        ...

    def ends(self, order: Order, start: int, spec: BatchSpec) -> np.ndarray:
        """`i64[spec.updates]` positions at which the next batches end; none crosses a pass."""
        ...

    def pieces(self, order: Order, start: int, count: int, spec: BatchSpec, shards: int) -> list[tuple[int, int, int]]:
        """`(start, count, rows)` of each micro-batch of the update at positions `start .. start + count`.

        `count` examples of all shards together; `rows` is the compiled number of rows on each shard.
        """
        ...


class OrderProgram(Protocol):
    """The shape-dependent part of an order: hashable, equal for equal shapes, so compiled programs are shared."""

    @property
    def epoch_size(self) -> int:
        """Positions in one pass."""
        ...

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        """Example ids `u32[k]` at places `offset` (`u32[k]`) of pass `epoch` (`u32`).

        Written once for NumPy (`xp=numpy`) and the device (`xp=jax.numpy`), with identical bits.
        `while_loop(condition, body, value)` is the only control flow it may use.
        """
        ...


class Order(Protocol):
    """Position is a number, order is a function. `examples`, where it has that, is what ids are below."""

    @property
    def epoch_size(self) -> int:
        """Positions in one pass."""
        ...

    def ids(self, start: int, count: int) -> np.ndarray:
        """`i64[count]` example ids at positions `start .. start + count`. Pure; any thread may ask."""
        ...


class DeviceOrder(Order, Protocol):
    """An order that a compiled program can compute as well."""

    @property
    def program(self) -> OrderProgram: ...

    def tables(self) -> Mapping[str, np.ndarray]:
        """Numbers that the program reads: seed words, class layout. Data for the compiled program, not constants."""
        ...


class ResidentDraw(Draw, Protocol):
    """A draw whose rows are on the device already: the compiled program finds them from the position."""

    @property
    def data(self) -> Any:
        """Tree of arrays, leading axis = examples."""
        ...

    @property
    def weight(self) -> Any:
        """`f32[examples]`, or None for all one."""
        ...

    @property
    def order(self) -> DeviceOrder: ...

    @property
    def epoch(self) -> int:
        """Pass of the first example."""
        ...

    @property
    def offset(self) -> int:
        """Place of the first example in its pass."""
        ...


class Feed(Protocol):
    """Draws batches. Has no state of its own: the cursor is the state."""

    @property
    def epoch_size(self) -> int: ...

    @property
    def resident(self) -> bool:
        """Whether the data lives on the device: one draw then holds as many updates as are wanted, else one.

        Draws of a resident feed are `ResidentDraw`s.
        """
        ...

    def start(self) -> Cursor: ...

    def draw(self, cursor: Cursor, spec: BatchSpec, shard: Shard = Shard()) -> tuple[Draw, Cursor]:
        """The next `spec.updates` batches and the cursor after them. Pure; reads nothing yet."""
        ...


class Step(Protocol):
    """One or many updates. Consumes the state it is given (buffers are reused): never use it again."""

    def init(self, seed: int, hyper: Mapping[str, float] | None = None) -> State:
        """A fresh state. `hyper`: constants of the optimiser, `lr` among them, over its own."""
        ...

    def prepare(self, state: State, draw: Draw, spec: BatchSpec) -> State:
        """Compile what `spec` needs. Consumes the state and returns it unchanged."""
        ...

    def transfer(self, state: State, hyper: Mapping[str, float]) -> State:
        """The state with these constants in force. Consumes the state; compiles nothing."""
        ...

    def reset(self, state: State) -> State:
        """The state with its optimiser's averages as they were before any update. Consumes the state."""
        ...

    def __call__(
        self, state: State, draw: Draw, spec: BatchSpec, lr_factor: float, clock: Clock = ...
    ) -> tuple[State, Observation]:
        """The updates of `draw`, at the scheduled rate by `clock` times `lr_factor`."""
        ...


class Policy(Protocol):
    """Picks the next spec and says why. A frozen value; what it remembers is handed in and out.

    Memory is None or plain JSON, and then nothing has to be done for it; or a value of the policy's own, a frozen one
    with `to_json()`. That is what a checkpoint keeps (`ladle.core.memory.plain`), so `decide` takes both what it
    returned last and the JSON of that. After a run has changed its policy, it is the memory of another one.

    What a run should know before it begins stands in `traits`, a `ladle.core.traits.Traits`: what must be measured for
    the policy, how far its sizes go, how the rate follows them. A policy without it needs nothing and says nothing.
    """

    def init(self, plan: Plan | None) -> Any:
        """What is remembered before the first decision."""
        ...

    def decide(self, memory: Any, progress: Progress) -> tuple[Any, Decision]:
        """What is remembered after this decision, and the decision. Pure: the same question has the same answer."""
        ...


class Probe(Protocol):
    """Answers the planner's questions. Never touches a run."""

    def memory_bytes(self, spec: BatchSpec) -> int:
        """Predicted peak from shapes alone; nothing is run, unless the values of arrays decide it."""
        ...

    def confirm_bytes(self, spec: BatchSpec) -> int:
        """Measured peak of the same program in a child process. Raises `RunError` if the child did not survive.

        Raises `NotConfirmed`, saying why, where a child cannot make the model again.
        """
        ...

    def confirm_all(self, specs: Sequence[BatchSpec]) -> list[int]:
        """Several confirmations in one child process."""
        ...

    def limit_bytes(self) -> tuple[int, str]:
        """Memory that may be used, and how that was found."""
        ...

    def seconds(self, spec: BatchSpec, repeats: int) -> np.ndarray:
        """`f64[repeats]` measured seconds per update at `spec`, compilation left out."""
        ...

    def moments(self, spec: BatchSpec, updates: int, state: State | None = None) -> Moments:
        """Gradient moments over `updates` updates at the parameters of `state`, which is consumed, or of a pilot."""
        ...

    def joules(self, spec: BatchSpec) -> float | None:
        """Energy per update, or None where no meter exists."""
        ...


class Sink(Protocol):
    """Takes the record of a run as it is made: a file, a terminal, a tracker."""

    def append(self, line: Mapping[str, Any]) -> None:
        """Take one record line. Cheap: it is called between two windows."""
        ...

    def message(self, text: str) -> None:
        """Take a sentence about the run."""
        ...

    def close(self) -> None: ...


class Tracker(Protocol):
    """Where runs are sent: a value that holds addresses, and opens nothing before a run is there."""

    def open(self, name: str, facts: Mapping[str, Any], onward: Onward | None = None) -> TrackedRun:
        """A new run called `name`, described by `facts`, what run.json says; or that of an earlier sitting."""
        ...


class Onward(Protocol):
    """An earlier sitting of a tracked run: its `identity`, and the updates at which the next one goes on."""

    @property
    def identity(self) -> str: ...

    @property
    def updates(self) -> int: ...


class TrackedRun(Protocol):
    """One run in a tracker. May raise anything: whoever calls it keeps that from the training."""

    @property
    def identity(self) -> str:
        """By which a later sitting finds this run."""
        ...

    def numbers(self, values: Mapping[str, float], step: int, when: float) -> None:
        """Readings after `step` updates, taken at `when`, in seconds since 1970."""
        ...

    def text(self, kind: str, words: str, step: int) -> None:
        """A sentence; `kind`: "decision" or "message"."""
        ...

    def picture(self, name: str, path: Path, step: int) -> None:
        """A PNG file."""
        ...

    def flush(self) -> None:
        """Send what waits."""
        ...

    def close(self, facts: Mapping[str, Any]) -> None:
        """How the run ended: `facts`, with its last status and numbers."""
        ...


class Meter(Protocol):
    """Energy and processor time of a piece of work. Started and stopped in turn; what runs between them is counted."""

    @property
    def measures(self) -> bool:
        """Whether its joules are counted by the machine, not modelled and not missing."""
        ...

    @property
    def least_seconds(self) -> float:
        """Work shorter than this is not measured well."""
        ...

    def start(self) -> None: ...

    def stop(self) -> Consumption:
        """What was used since `start`. The work is done when this is called: devices have answered."""
        ...
