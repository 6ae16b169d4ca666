"""`Assembly`: a task put together for this machine. Compiled programs and placed data, shared by many runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ladle import record
from ladle.engine.cache import use_compilation_cache
from ladle.engine.devices import device_names
from ladle.engine.evaluate import Evaluator
from ladle.engine.landscape import Sharpness
from ladle.engine.objective import Objective
from ladle.engine.optimizer import Optimizer, optimizer_named
from ladle.engine.rate import Rate, constant_rate
from ladle.engine.step import CompiledStep
from ladle.errors import ArgumentError, must
from ladle.feed.arrays import Arrays
from ladle.feed.order import order_named
from ladle.feed.resident import ResidentFeed
from ladle.scaling import Rule, lr_factor, rule_for
from ladle.spec import rung_for
from ladle.task import Task

REFERENCE_SIZE = 64
"""Batch size at which the optimisers' usual learning rates are meant."""

LARGEST_MICRO = 4096
"""Without a plan, no forward pass holds more examples than this."""


@dataclass(frozen=True)
class Assembly:
    """A task's compiled step, evaluator and data on the devices. Built once, used by every run of a comparison."""

    task: Task
    objective: Objective
    optimizer: Optimizer
    step: CompiledStep
    evaluator: Evaluator
    sharpness: Sharpness
    source: Arrays
    train: Any
    weight: Any | None
    valid: Any | None

    @property
    def rows(self) -> int:
        return self.task.data.rows

    @property
    def rule(self) -> Rule:
        """How the learning rate follows the batch size with this optimiser."""
        return rule_for(self.task.optimizer_name)

    def facts(self) -> dict[str, Any]:
        """What a record says of any run of it: command, model, data, versions, hardware."""
        data = self.task.data
        return {
            "command": record.command(),
            "model": self.objective.name,
            "order": self.task.order if isinstance(self.task.order, str) else "custom",
            "data": {name: getattr(data, name) for name in ("name", "rows", "digest", "kind", "notes")},
            "versions": record.versions(),
            "hardware": record.hardware(device_names()),
        }

    def feed(self, seed: int) -> ResidentFeed:
        """The training part in the task's order."""
        data, order = self.task.data, self.task.order
        made = order(seed) if callable(order) else order_named(order, data.train["y"], seed)
        return ResidentFeed(self.source, made, data.weight, resident=(self.train, self.weight))

    @property
    def reference_lr(self) -> float | None:
        """The rate at batches of 64: the task's number, or the optimiser's usual one; 1 where the task has a schedule.

        None where a transformation of the user's brings its own.
        """
        return float(self.task.lr) if isinstance(self.task.lr, int | float) else self.optimizer.lr

    def lr(self, size: int) -> float | None:
        """The rate of a single run at `size`: the task's number as it is; "auto" is moved there by the rule."""
        if self.task.lr != "auto" or self.reference_lr is None:
            return self.reference_lr
        return self.reference_lr * self.lr_ratio(size)

    def lr_ratio(self, size: int) -> float:
        """What the rule multiplies the rate at batches of 64 by for batches of `size`."""
        return lr_factor(self.rule, size / REFERENCE_SIZE)


def assemble(task: Task, *, rate: Rate | None = None, per_example: bool = False, devices: Any = None) -> Assembly:
    """Put `task` together: trace nothing yet, place the data once. `rate`: a schedule over the task's own."""
    if not isinstance(task, Task):
        why, remedy = "it says what to train on which data", "ladle.Task(model, loss, data)"
        raise ArgumentError(must("task", "be a ladle.Task", type(task).__name__, why, remedy))
    use_compilation_cache()
    objective = task.objective()
    optimizer = optimizer_named(task.optimizer, task.hyper)
    schedule = rate or constant_rate
    if callable(task.lr):  # A schedule holds the rates themselves: what multiplies it begins at one.
        schedule, optimizer = task.lr, replace(optimizer, lr=1.0)
    step = CompiledStep(objective, optimizer, rate=schedule, per_example=per_example, devices=devices)
    source = Arrays(dict(task.data.train))
    assembly = Assembly(
        task=task,
        objective=objective,
        optimizer=optimizer,
        step=step,
        evaluator=Evaluator(objective, step.layout),
        sharpness=Sharpness(objective),
        source=source,
        train=step.place(source.tree),
        weight=None if task.data.weight is None else step.place(task.data.weight),
        valid=step.place(dict(task.data.valid)) if _count(task.data.valid) else None,
    )
    assembly.feed(0)  # An order or weights that cannot be are refused here, before a folder is made.
    return assembly


def resolve_size(size: int | str, rows: int) -> int:
    """`size` as a number of examples: a number, or "full" for the whole training part. Never more than there is."""
    if size == "full":
        return rows
    try:
        count = int(size)
        whole = count == float(size) and not isinstance(size, bool)
    except (TypeError, ValueError):
        whole, count = False, 0
    if not whole:
        raise ArgumentError(must("size", "be a whole number or 'full'", size, "examples are counted", "--size 64"))
    if count < 1:
        raise ArgumentError(must("size", "be at least 1", size, "an update needs an example", "--size 64"))
    if count > rows:
        raise ArgumentError(
            must(
                "size",
                f"be at most the {rows:,} training examples",
                count,
                "a batch never crosses an epoch",
                "--size full",
            )
        )
    return count


def resolve_micro(size: int, micro_size: int | None, largest: int = LARGEST_MICRO) -> int:
    """The micro-batch size for one constant batch size: the whole batch where it fits, else equal parts of it."""
    if micro_size is None:
        return -(-size // -(-size // largest))
    if micro_size < 1:
        raise ArgumentError(
            must("micro-size", "be at least 1", micro_size, "a forward pass needs an example", "--micro-size 64")
        )
    if micro_size > size:
        raise ArgumentError(
            must(
                "micro-size",
                f"be at most the batch size {size}",
                micro_size,
                "it is a part of the batch",
                f"--micro-size {rung_for(size, size)}",
            )
        )
    return micro_size


def _count(tree: Any) -> int:
    """Examples in a part of the data; 0 for no such part."""
    leaf = tree or ()
    while isinstance(leaf, Mapping):
        leaf = next(iter(leaf.values()))
    return len(leaf)
