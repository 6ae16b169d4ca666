"""What an estimator trains with: one pass after another over rows that are filled up to a rung.

The loop is ladle's own (`ladle.loop.train`), a window a pass. What is watched, when it ends and which weights stay is
said here, in scikit-learn's words: `tol`, `n_iter_no_change`, `early_stopping`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ladle.api.assembly import Assembly, assemble, resolve_micro
from ladle.api.task import Task
from ladle.core.carry import Carry
from ladle.core.cursor import Cursor
from ladle.core.decision import Progress
from ladle.core.duration import Until
from ladle.core.errors import RunError, must
from ladle.data.dataset import Data
from ladle.data.target import Kind
from ladle.loop.train import train
from ladle.policy.constant import Constant
from ladle.sklearn.filled import Filled, filled_to, passes_at_once


@dataclass(frozen=True)
class Rows:
    """Rows to train on, as the estimator has read and checked them.

    - `x`: `f32[n, features]`. `y`: `i32[n]` numbers of classes, or `f32[n, outputs]` standardised amounts.
    - `weight`: `f32[n]`, above 0.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def taken(self, ids: np.ndarray) -> Rows:
        return Rows(self.x[ids], self.y[ids], self.weight[ids])

    def merged(self) -> Rows:
        """Equal rows as one of their joint weight, in an order of their own: the same loss over all of them.

        So a row of weight 2 is the row twice, bit for bit, where all rows are one batch.
        """
        table = np.concatenate([self.x, self.y.reshape(len(self), -1).astype(np.float64)], axis=1)
        _, first, place = np.unique(table, axis=0, return_index=True, return_inverse=True)
        weight = np.bincount(place.reshape(-1), self.weight.astype(np.float64))
        return Rows(self.x[first], self.y[first], weight.astype(np.float32))

    def filled(self, places: int) -> Rows:
        """Up to `places` rows, those added weighing nothing."""
        lacking = places - len(self)
        if not lacking:
            return self
        return Rows(
            *(np.pad(each, [(0, lacking)] + [(0, 0)] * (each.ndim - 1)) for each in (self.x, self.y, self.weight))
        )


@dataclass(frozen=True)
class Watch:
    """When training ends before its last pass: after `patience` passes without a loss lower by `tol`.

    - `valid`: the loss on rows held out, `state -> loss`; None to watch the training loss.
    """

    patience: int
    tol: float
    valid: Callable[[Any], float] | None = None


@dataclass(frozen=True)
class Trained:
    """What is left: the state on the host, and the losses of every pass.

    - `valid_curve`: None where nothing was held out; else the state is that of its lowest loss.
    """

    state: Any
    curve: list[float]
    valid_curve: list[float] | None


def data_of(kind: Kind, rows: Rows, outputs: int, valid: Rows | None = None) -> Data:
    """`rows` as data of a task, as they are: no split, no scaling."""
    held = {} if valid is None else {"x": valid.x, "y": valid.y}
    train = {"x": rows.x, "y": rows.y}
    shape = rows.x.shape[1:]
    return Data("arrays", train, held, kind, (), shape, outputs, (), digest="", weight=rows.weight)


@dataclass(frozen=True)
class Training:
    """A task over rows that were filled up, at one batch size."""

    assembly: Assembly
    rows: int
    places: int
    size: int
    micro_size: int

    @classmethod
    def of(cls, task: Task, rows: Rows, size: int, micro_size: int | None = None) -> Training:
        """Of `task` without data, over `rows`, in batches of `size`: all of them in one where there are no more."""
        whole = size >= len(rows)
        places = filled_to(len(rows), None if whole else size)
        size = places if whole else size
        micro = resolve_micro(size, None if micro_size is None else min(micro_size, size))
        data = data_of(task.data.kind, rows.filled(places), task.data.outputs)
        order = _Order(len(rows), places)
        return cls(assemble(task.with_(data=data, order=order)), len(rows), places, size, micro)

    def passes(self, state: Any, seed: int, begun: int, count: int) -> Iterator[tuple[float, Any]]:
        """Passes `begun .. begun + count` from `state`, which is consumed: the training loss of each, and its state."""
        step, policy = self.assembly.engine.step, Constant(self.size, self.micro_size)
        at = begun * self.places
        carry = Carry(state, Cursor(at), None, Progress(examples=at, epoch=float(begun)))
        held, end = passes_at_once(self.places), begun + count
        place = self.assembly.engine.place if self.assembly.placed else _as_it_is
        for first in range(begun, end, held):
            upto = min(first + held, end)
            order = _Order(self.rows, self.places, first, upto - first, place)
            feed = replace(self.assembly, task=self.assembly.task.with_(order=order)).feed(seed)
            for line, after in train(carry, feed, step, policy, Until(epochs=float(upto))):
                carry = after
                if line["refused"] > 0:
                    raise _diverged(self.assembly.engine.constants(carry.state)["lr"])
                yield line["train_loss"], carry.state
            getattr(feed, "close", lambda: None)()

    def fit(self, state: Any, seed: int, begun: int, count: int, watch: Watch | None) -> Trained:
        """At most `count` passes, watched. `state`: consumed."""
        engine = self.assembly.engine
        curve: list[float] = []
        valid_curve: list[float] | None = [] if watch is not None and watch.valid is not None else None
        best, best_state, waited = np.inf, None, 0
        for loss, after in self.passes(state, seed, begun, count):
            state = after
            curve.append(loss)
            if watch is None:
                continue
            if watch.valid is not None and valid_curve is not None:
                loss = watch.valid(state)
                valid_curve.append(loss)
                if best_state is None or loss < best:
                    best_state = engine.to_host(state)
            waited = 0 if loss < best - watch.tol else waited + 1
            best = min(best, loss)
            if waited >= watch.patience:
                break
        return Trained(engine.to_host(state) if best_state is None else best_state, curve, valid_curve)


def _as_it_is(tree: Any) -> Any:
    return tree


@dataclass(frozen=True)
class _Order:
    """What a task takes for its order: `seed -> Filled`."""

    rows: int
    places: int
    first: int = 0
    passes: int = 0
    place: Callable[[Any], Any] = _as_it_is

    def __call__(self, seed: int) -> Filled:
        return Filled(self.rows, self.places, seed, self.first, self.passes, self.place)


def constants_of(assembly: Assembly, lr: float | str, size: int) -> Mapping[str, float]:
    """The rate of batches of `size`: the number that was given, or the optimiser's usual one moved by its rule."""
    rate = assembly.lr(size) if lr == "auto" else float(lr)
    return {} if rate is None else {"lr": rate}


def _diverged(rate: float) -> RunError:
    why = "the loss or its gradient was no longer finite"
    return RunError(must("learning_rate", "be low enough to train with", rate, why, f"learning_rate={rate / 10:.2g}"))
