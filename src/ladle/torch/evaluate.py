"""Evaluation: exact means over any number of rows, with the module in eval mode, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import nn

from ladle.core.errors import ArgumentError, LadleError, must
from ladle.core.npy import one_line
from ladle.core.observation import means
from ladle.torch.losses import weighted
from ladle.torch.numbers import numbers_of
from ladle.torch.objective import GENERATORS, Objective
from ladle.torch.place import placed
from ladle.torch.ranks import ONE, Ranks
from ladle.torch.tree import cut, leaves, mapped, rows_of

MOST = 1024
"""Rows at once where nothing asks for fewer."""


@dataclass(frozen=True)
class Evaluator:
    """Judges rows by a module: means of loss and metrics, the loss of each row, outputs.

    - `room_bytes`: what judging may take beside what is there; None for as much as `MOST` rows take.
    - `ranks`: each judges its share of the rows, for means of all.
    """

    objective: Objective
    device: torch.device
    room_bytes: int | None = None
    ranks: Ranks = ONE

    def __call__(self, model: nn.Module, rows: Any, prefix: str = "valid_") -> dict[str, float]:
        """`{prefix + "loss": ..., prefix + metric: ...}` over all of `rows`, each counted once."""
        sums = dict.fromkeys(("weight", "loss", *self.objective.metrics), 0.0)
        told: list[float | torch.Tensor] = []
        for data, count in self._chunks(model, rows) if (rows := self._share(rows)) is not None else ():
            losses, metrics = self.objective.losses(model, data)
            found = weighted(losses, count, count, None)
            told += [found.weight, found.loss, *(found.of(values, count) for values in metrics.values())]
        for name, number in zip(cycle(sums), numbers_of(told), strict=False):
            sums[name] += number
        if self.ranks.count > 1:
            sums = dict(zip(sums, self.ranks.summed(list(sums.values()), self.device), strict=True))
        weight = sums.pop("weight")
        return {prefix + name: value for name, value in means(sums, weight).items()}

    def _share(self, rows: Any) -> Any:
        """The rows that this rank judges: neighbours, so that none is copied; None for none."""
        index, count = self.ranks.index, self.ranks.count
        if count == 1:
            return rows
        start, stop = (rows_of(rows) * at // count for at in (index, index + 1))
        return cut(rows, start, stop, stop - start) if stop > start else None

    def losses(self, model: nn.Module, rows: Any) -> np.ndarray:
        """`f64[rows]`: of each row the mean of its losses, weighted where it has several."""
        found = []
        for data, count in self._chunks(model, rows):
            losses = self.objective.per_row_loss(model, data)
            if isinstance(losses, tuple):
                values, weights = (one.double().reshape(count, -1) for one in losses)
                losses = (values * weights).sum(1) / weights.sum(1).clamp(min=1e-30)
            found.append(losses.double().cpu().numpy())
        return np.concatenate(found)

    def predict(self, model: nn.Module, x: Any) -> np.ndarray:
        """The module's outputs, row by row, `f32` at least."""
        try:
            return np.concatenate([_numbers(model(data["x"])) for data, _ in self._chunks(model, {"x": x})])
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError) as error:  # What layers say of rows of another shape, or of unknown codes.
            if isinstance(error, LadleError):
                raise
            got = ", ".join(f"{leaf.dtype}{list(leaf.shape[1:])}" for _, leaf in leaves(x) if hasattr(leaf, "shape"))
            why, remedy = one_line(error), "rows in the form of those that it was trained on"
            raise ArgumentError(must("x", "be rows that the model takes", got, why, remedy)) from error

    def at_once(self, model: nn.Module, rows: Any) -> int:
        """How many rows are judged at once: `MOST`, or as many as stay within `room_bytes`."""
        most = min(MOST, rows_of(rows))
        if self.room_bytes is None:
            return most
        fit = self.room_bytes // max(self.bytes_of(model, rows, 1), 1)
        if fit < 1:
            got, why = f"{self.room_bytes:,} bytes", "judging one row at a time takes more"
            raise ArgumentError(
                must("memory", "leave room for an evaluation", got, why, "more memory, a smaller model")
            )
        return min(most, fit)

    def bytes_of(self, model: nn.Module, rows: Any, count: int) -> int:
        """More than judging `count` rows takes: twice the outputs of every layer, and the rows themselves."""
        found: list[int] = []

        def look(module: nn.Module, inputs: Any, outputs: Any) -> None:
            found.extend(leaf.nbytes for _, leaf in leaves(outputs) if isinstance(leaf, torch.Tensor))

        one = placed(mapped(_first, rows), self.device)
        handles = [part.register_forward_hook(look) for part in model.modules()]
        try:
            with _judging(model):
                model(one["x"])
        finally:
            for handle in handles:
                handle.remove()
        own = sum(leaf.nbytes for _, leaf in leaves(one) if isinstance(leaf, torch.Tensor))
        return count * (2 * sum(found) + own)

    def _chunks(self, model: nn.Module, rows: Any) -> Iterator[tuple[Any, int]]:
        count = rows_of(rows)
        if count < 1:
            why = "a mean of nothing is no number"
            raise ArgumentError(must("rows", "be at least 1", count, why, "more rows"))
        size = self.at_once(model, rows)
        with _judging(model):
            for start in range(0, count, size):
                stop = min(start + size, count)
                yield placed(cut(rows, start, stop, stop - start), self.device), stop - start


@contextmanager
def _judging(model: nn.Module) -> Iterator[None]:
    """The module in eval mode, without gradients; in the mode that it was in afterwards."""
    training = model.training
    with GENERATORS, torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            model.train(training)


def _first(leaf: Any) -> Any:
    """The first row, or one of zeros where there are shapes alone."""
    if isinstance(leaf, torch.Tensor | np.ndarray):
        return leaf[:1]
    return np.zeros((1, *leaf.shape[1:]), leaf.dtype)


def _numbers(outputs: torch.Tensor) -> np.ndarray:
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32)).cpu().numpy()
