"""`Assembly`: a task put together for this machine. Compiled programs and placed data, shared by many runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ladle.api import augmented
from ladle.api.backend import backend_of
from ladle.api.task import Task
from ladle.core import record
from ladle.core.backend import Backend, Direction, Engine, Objective, Optimizer, Rate
from ladle.core.constants import EMA
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.protocols import Feed
from ladle.core.scaling.coupling import Coupling, Rule, lr_factor, rule_for
from ladle.core.spec import BatchSpec
from ladle.core.world import World
from ladle.feed.arrays import Arrays, leaves
from ladle.feed.augment import Augment
from ladle.feed.host import HostFeed, Stack
from ladle.feed.order import Sequential
from ladle.feed.orders import order_named, order_of
from ladle.feed.prefetch import PrefetchedFeed
from ladle.feed.resident import ResidentFeed

REFERENCE_SIZE = 64
"""Batch size at which the optimisers' usual learning rates are meant."""

LARGEST_MICRO = 4096
"""Without a plan, no forward pass holds more examples than this."""

SAMPLE = 8192
"""Examples that probes run on where the training part is not on the device."""


@dataclass(frozen=True)
class Assembly:
    """A task made ready: its engine on its devices, its data where they are wanted. Used by every run of a comparison.

    - `valid`: the validation part, placed; None where there is none.
    - `placed`: `(data, weight)` of the training part on the devices; None where rows travel from the host.
    - `limit_bytes`: what a whole run may take, as `ladle.api.run_memory.within_limit` has set it; None for no limit.
    """

    task: Task
    backend: Backend
    objective: Objective
    optimizer: Optimizer
    engine: Engine
    valid: Any | None
    placed: tuple[Any, Any] | None
    limit_bytes: int | None = None

    @cached_property
    def rows(self) -> int:
        """Examples in a pass."""
        return self.task.data.rows if self.placed else self.feed(0).epoch_size

    @property
    def norm_rows(self) -> int | None:
        """Rows that the model's batch norm takes together, 0 for a whole micro-batch; None where none is known."""
        return getattr(self.objective, "norm_rows", None)  # Not every backend tells.

    @property
    def rule(self) -> Rule:
        """How the learning rate follows the batch size with this optimiser."""
        return rule_for(self.task.optimizer_name)

    @property
    def directions(self) -> dict[str, Direction]:
        """Which way the loss and each metric is better: "higher", "lower", None where a metric does not say."""
        own = {"loss": "lower", **{name: self.objective.direction(name) for name in self.objective.metrics}}
        averaged = {f"{EMA}_{name}": way for name, way in own.items()} if EMA in self.optimizer.hyper else {}
        return {**own, **averaged}

    def facts(self) -> dict[str, Any]:
        """What a record says of any run of it: command, model, data, versions, hardware."""
        data = self.task.data
        return {
            "command": record.command(),
            "model": self.objective.name,
            "loss": self.objective.loss,
            "directions": self.directions,
            **self.task.arithmetic(),
            **self.task.beside(),
            "order": "custom" if callable(self.task.order) or self.task.feed else self.task.order,
            **({"augment": augmented.named(self.task.stage)} if self.task.stage else {}),
            "data": {
                **{name: getattr(data, name) for name in ("name", "digest", "kind", "notes")},
                **{name: getattr(data, name, None) for name in ("target", "target_mean", "target_sd")},
                "rows": self.rows,
                "lane": "device" if self.placed else "host",
            },
            "versions": record.versions(),
            "hardware": record.hardware(self.backend.device_names()),
        }

    def feed(self, seed: int) -> Feed:
        """The training part in the task's order."""
        data, order = self.task.data, self.task.order
        if self.task.feed is not None:
            own = self.task.feed(seed)
            return PrefetchedFeed(own) if isinstance(own, HostFeed) else own
        if self.placed is None:
            source = data.train if not data.resident else Arrays(dict(data.train))
            labels = data.train["y"] if data.resident else None
            made = order_of("auto" if order == "permuted" else order, source, seed, labels)
            collate = self._augment(made, seed) or Stack()
            return PrefetchedFeed(HostFeed(source, made, data.weight, collate))
        made: Any = order(seed) if callable(order) else order_named(order, data.train["y"], seed)
        how: dict[str, Any] = {"placed_arrays": self.placed, "augment": self._augment(made, seed)}
        return ResidentFeed(Arrays(dict(data.train)), made, data.weight, **how)

    def _augment(self, order: Any, seed: int) -> Augment | None:
        """What changes the rows of a run of this seed."""
        stage = self.task.stage
        return None if stage is None else replace(stage, seed=seed, epoch_size=order.epoch_size)

    def measured_feed(self, seed: int) -> ResidentFeed:
        """What probes and short sweeps run on: the training part where it is on the devices, else a sample of it there.

        The sample is the first examples of the feed, as one micro-batch: reading is not part of what is measured.
        """
        feed = self.feed(seed)
        if isinstance(feed, ResidentFeed):
            return feed
        count = min(SAMPLE, feed.epoch_size)
        draw, _ = feed.draw(feed.start(), BatchSpec(count, count))
        batch = next(iter(draw.micro_batches(0, count)))
        source = Arrays(batch.data)
        return ResidentFeed(source, Sequential(len(source)), batch.weight).placed(self.engine.place)

    def gauged(self, gauge: Gauge | None) -> Assembly:
        """The same with gradient moments taken by `gauge` too; programs are shared where nothing changes."""
        wanted = gauge and gauge.join(self.engine.gauge)
        if wanted in (None, self.engine.gauge):
            return self
        self.require_sum()
        return replace(self, engine=self.engine.gauged(wanted))

    def over(self, world: World) -> Assembly:
        """The same for all ranks of `world` together: its updates and evaluations are theirs, and all have to ask."""
        if world.size == 1:
            return self
        engine = self.engine.over(world)
        return replace(self, engine=engine, valid=engine.place(self.valid), placed=engine.place(self.placed))

    def require_sum(self) -> None:
        """Refuse a loss of the user's that is no sum over examples, tried on a few rows before its noise is measured.

        Rows that travel may share what is beside them, such as a graph's nodes, and are not tried.
        """
        if self.objective.additive and self.objective.declared and self.placed is not None:
            self.engine.require_independent(self.placed[0])

    @property
    def reference_lr(self) -> float | None:
        """The rate at batches of 64: the task's number, or the optimiser's usual one; 1 where the task has a schedule.

        None where a transformation of the user's brings its own.
        """
        return float(self.task.lr) if isinstance(self.task.lr, int | float) else self.optimizer.lr

    @property
    def usual_lr(self) -> bool:
        """Whether the rate is nobody's choice: the optimiser's usual one, which knows nothing of the model."""
        return self.task.lr == "auto" and isinstance(self.task.optimizer, str) and self.optimizer.lr is not None

    def lr(self, size: int) -> float | None:
        """The rate of a single run at `size`: the task's number as it is; "auto" is moved there by the rule."""
        if self.task.lr != "auto" or self.reference_lr is None:
            return self.reference_lr
        return self.reference_lr * self.lr_ratio(size)

    def constants(self, size: int) -> dict[str, float]:
        """The optimiser's constants of a single run at `size`: as its `lr` is, the task's own, or moved there."""
        moved = self.moved(size) if self.task.lr == "auto" and self.reference_lr is not None else {}
        return {**self.optimizer.hyper, **moved}

    def apart(self, hyper: Mapping[str, float]) -> dict[str, float]:
        """Those of `hyper` that are not as the task has them."""
        return {name: value for name, value in hyper.items() if value != self.optimizer.hyper.get(name)}

    def lr_ratio(self, size: int) -> float:
        """What the rule multiplies the rate at batches of 64 by for batches of `size`."""
        return lr_factor(self.rule, size / REFERENCE_SIZE)

    def moved(self, size: int) -> dict[str, float]:
        """The task's constants that follow the size, from batches of 64 to those of `size`, where the rate does.

        Of the optimiser's usual rules that is the decay of the weights' average alone.
        """
        name = self.task.optimizer_name
        return Coupling(self.rule, REFERENCE_SIZE, self.optimizer.hyper, optimizer=name).at(size)[1]


def assemble(task: Task, *, rate: Rate | None = None, gauge: Gauge | None = None, devices: Any = None) -> Assembly:
    """Put `task` together: compile nothing yet, place the data once.

    - `rate`: a schedule over the task's own. `gauge`: how gradient moments are taken while it trains.

    Raises `ArgumentError` for what is no task, and for a classifier with fewer outputs than the data has classes.
    """
    if not isinstance(task, Task):
        why, remedy = "it says what to train on which data", "ladle.Task(model, loss, data)"
        raise ArgumentError(must("task", "be a ladle.Task", type(task).__name__, why, remedy))
    backend, objective = backend_of(task), task.objective()
    optimizer = _optimizer(task, backend)
    schedule = task.lr if callable(task.lr) else rate
    if task.stage is not None:
        augmented.require_usable(task.stage, task.data.train)
    resident = _on_device(task, backend)
    how: dict[str, Any] = {"rate": schedule, "gauge": gauge, "devices": devices}
    engine = backend.engine(objective, optimizer, **how, **of_engine(task, resident))
    _require_outputs(task, engine)
    placed = None
    if resident:
        weight = None if task.data.weight is None else engine.place(task.data.weight)
        placed = engine.place(Arrays(dict(task.data.train)).tree), weight
    valid = engine.place(dict(task.data.valid)) if _count(task.data.valid) else None
    assembly = Assembly(task, backend, objective, optimizer, engine, valid, placed)
    if gauge is not None:
        assembly.require_sum()
    assembly.feed(0)  # An order or weights that cannot be are refused here, before a folder is made.
    return assembly


def of_engine(task: Task, resident: bool) -> dict[str, Any]:
    """What the task asks of its engine beside objective and optimiser, where it asks: not every backend takes it.

    - `resident`: whether its rows live on the devices.
    """
    how: dict[str, Any] = {name: True for name in ("shard_state", "offload") if getattr(task, name)}
    if resident and task.stage is not None:
        how["augment"] = replace(task.stage, seed=0, epoch_size=None)  # A run's seed is data of its programs.
    return how


def _optimizer(task: Task, backend: Backend) -> Optimizer:
    """The task's update rule. Refuses a rate beside that of a transformation which cannot be read."""
    made = _rule(task, backend)
    if task.lr != "auto" and made.lr is None:
        why = "this optimiser brings a rate of its own that cannot be read, and the two would be multiplied"
        remedy = "lr='auto', with the rate in the transformation"
        raise ArgumentError(must("lr", "be left to the transformation", task.lr, why, remedy))
    # A schedule holds the rates themselves: what multiplies it begins at one.
    return _rule(task, backend, lr=1.0) if callable(task.lr) else made


def _rule(task: Task, backend: Backend, lr: float | None = None) -> Optimizer:
    made = backend.optimizer(task.optimizer, task.constants, lr)
    return backend.without_decay(made, task.no_decay) if task.no_decay else made


def _require_outputs(task: Task, engine: Engine) -> None:
    """Under cross entropy each class has an output; without one its loss is no number, and the run ends there."""
    data = task.data
    if task.feed is not None or getattr(task.loss, "__name__", task.loss) not in (None, "cross_entropy"):
        return
    part = data.train if data.resident else data.valid
    if data.kind != "classification" or not data.classes or not _count(part):
        return
    width = engine.output_width(part["x"])
    if width is not None and width < len(data.classes):
        why = f"{data.name} has that many classes"
        remedy = f"ladle.models.mlp(..., {len(data.classes)})"
        raise ArgumentError(must("model", f"have {len(data.classes)} outputs or more", width, why, remedy))


def _on_device(task: Task, backend: Backend) -> bool:
    """Whether the training part goes to the device as a whole."""
    if task.feed is not None or not task.data.resident:
        if task.lane == "device":
            why = "its rows are read as they are needed"
            raise ArgumentError(must("lane", "be 'auto' or 'host' for this data", task.lane, why, "lane='auto'"))
        return False
    if task.stage is not None and not augmented.on_device(task.stage, task, backend):
        return False
    if task.lane != "auto":
        return task.lane == "device"
    computable = not callable(task.order) or hasattr(task.order(0), "program")
    arrays = [leaf for _, leaf in leaves(dict(task.data.train))]
    return computable and 2 * sum(leaf.nbytes for leaf in arrays) <= backend.free_bytes()


def resolve_size(size: int | str, rows: int, option: str = "size") -> int:
    """`size` as a number of examples: a number, or "full" for the whole training part. Never more than there is.

    `option`: what the user called it, for the sentence of a refusal.
    """
    if size == "full":
        return rows
    try:
        count = int(size)
        whole = count == float(size) and not isinstance(size, bool)
    except (TypeError, ValueError):
        whole, count = False, 0
    if not whole:
        remedy = _said(option, min(64, rows))
        raise ArgumentError(must(option, "be a whole number or 'full'", size, "examples are counted", remedy))
    if count < 1:
        remedy = _said(option, min(64, rows))
        raise ArgumentError(must(option, "be at least 1", size, "an update needs an example", remedy))
    if count > rows:
        be, why = f"be at most the {rows:,} training examples", "a batch never crosses an epoch"
        raise ArgumentError(must(option, be, count, why, _said(option, "full")))
    return count


def _said(option: str, size: int | str) -> str:
    """A size as it is given to `option`, which may take a list of them."""
    return f"{option}={[size] if option.endswith('s') else size!r}"


def resolve_micro(size: int, micro_size: int | None, largest: int = LARGEST_MICRO) -> int:
    """The micro-batch size for one constant batch size: the whole batch where it fits, else equal parts of it."""
    if micro_size is None:
        return -(-size // -(-size // largest))
    if micro_size < 1:
        why, remedy = "a forward pass needs an example", f"micro_size={min(64, size)}"
        raise ArgumentError(must("micro_size", "be at least 1", micro_size, why, remedy))
    if micro_size > size:
        be, why = f"be at most the batch size {size}", "it is a part of the batch"
        raise ArgumentError(must("micro_size", be, micro_size, why, f"micro_size={size}"))
    return micro_size


def _count(tree: Any) -> int:
    """Examples in a part of the data; 0 for no such part."""
    leaf = tree or ()
    while isinstance(leaf, Mapping):
        leaf = next(iter(leaf.values()))
    return len(leaf)
