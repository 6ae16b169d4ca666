"""`trace`: the memory of a whole update, known before anything runs: two updates are gone through as fake tensors.

Forward, backward, the optimiser's step and the next one's start, as `Update` does them. The first update makes what the
optimiser keeps, the second is where most is in memory. The same can be done for real, where a trace cannot.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ladle.core.errors import LadleError
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.torch import ledger, noise_sums
from ladle.torch.fakes import fake_mode, fake_rows, optimizer_for, plain, twin
from ladle.torch.ledger import Bytes, Ledger
from ladle.torch.losses import weighted
from ladle.torch.noise_sums import gradients_of, watching
from ladle.torch.numbers import norms_of
from ladle.torch.optimizer import trained
from ladle.torch.tree import cut, leaves, rows_of
from ladle.torch.untouched import kept_generators, kept_gradients

Loss = Callable[[nn.Module, Any], Any]

PARTS = 3
"""Parts of an update that are gone through, the last one among them: those between are as the second."""


class Untraceable(LadleError):
    """A model that fake tensors cannot go through. `operation`: what stood in the way; `where`: file and line."""

    def __init__(self, operation: str, where: str) -> None:
        super().__init__(f"{operation} ({where})" if where else operation)
        self.operation, self.where = operation, where


@dataclass(frozen=True)
class Updating:
    """What an update consists of, as far as its memory goes.

    - `model`: the user's; never touched. `loss(model, batch) -> f32[rows]`. `optimizer`: or a function that makes one.
    - `batch`: any batch: its shapes and kinds are what counts. `gauge`: whether moments are taken, and in what pieces.
    - `whole`: whether all rows of an update are there together, or come one micro-batch at a time.
    """

    model: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer | Callable[[Any], torch.optim.Optimizer]
    batch: Any
    gauge: Gauge | None = None
    whole: bool = True


def trace(updating: Updating, spec: BatchSpec, mode: FakeTensorMode | None = None) -> Bytes:
    """The bytes in memory at the peak of an update of `spec`, without running it.

    Costs no memory and no change: parameters, buffers, gradients, the optimiser, hooks and random generators are what
    they were. With a gauge it is the larger of an update that is measured and one that is not. Of one mode for all
    traces of a plan; a new one where left out.

    Raises `Untraceable` where the values of tensors decide what is computed; `ArgumentError` for a loss that is
    reduced.

    >>> model = nn.Linear(1000, 10, bias=False)
    >>> updating = Updating(model, lambda m, x: m(x).sum(1), torch.optim.SGD(model.parameters()), torch.zeros(1, 1000))
    >>> found = trace(updating, BatchSpec(8, 8))
    >>> found.parameters, found.gradients, found.batch
    (40000, 40000, 32000)
    """
    mode = mode or fake_mode()
    ways = [False] if updating.gauge is None else [False, True]
    with kept_generators(), kept_gradients(_parameters(updating)):
        try:
            found = [_traced(updating, spec, mode, measured) for measured in ways]
        except LadleError:
            raise
        except Exception as error:  # Whatever fails on paper is tried for real before it counts.
            raise _untraceable(error) from error
    return max(found, key=lambda one: one.peak)


def _traced(updating: Updating, spec: BatchSpec, mode: FakeTensorMode, measured: bool) -> Bytes:
    parameters = list(plain(updating.model).parameters())
    with twin(updating.model, mode) as model:
        batch = fake_rows(updating.batch, rows_held(updating, spec), mode)
        optimizer = optimizer_for(updating.optimizer, parameters, model, mode)
        return counted(model, optimizer, batch, updating, spec, measured, mode)


def counted(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Any,
    updating: Updating,
    spec: BatchSpec,
    measured: bool,
    mode: FakeTensorMode | None = None,
) -> Bytes:
    """The bytes of two updates of `model`, which they change: fake under a mode, real without."""
    seen = Ledger()
    with mode or nullcontext(), seen:
        seen.call("parameters", [*model.parameters(), *model.buffers()])
        seen.call("parameters", (leaf for group in optimizer.param_groups for leaf in group["params"]))
        seen.call("batch", (leaf for _, leaf in leaves(batch)))
        for _ in range(2):
            _update(seen, model, optimizer, batch, updating, spec, measured)
    return seen.at_peak()


def _update(
    seen: Ledger,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Any,
    updating: Updating,
    spec: BatchSpec,
    measured: bool,
) -> None:
    """What `Update` does in an update, in the same order; it alone reads numbers, which fakes have none of."""
    weights = trained(optimizer)
    for leaf in weights:
        leaf.grad = None
    rows = piece(spec, updating.gauge if measured else None)
    held, starts = rows_of(batch), range(0, spec.size, rows)
    for start in starts if len(starts) <= PARTS else (*starts[: PARTS - 1], starts[-1]):
        real, at = min(rows, spec.size - start), start % held
        data = cut(batch, at, at + real, rows) if held > rows else batch
        with seen.forward():
            loss = weighted(updating.loss(model, data), rows, real, None).loss
        with watching(weights) if measured else nullcontext():
            loss.backward()
        seen.call("gradients", (leaf.grad for leaf in weights))
        del loss, data
    gradients = gradients_of(weights)
    norms_of(gradients)
    torch._foreach_mul_(gradients, 0.5)  # pyright: ignore[reportPrivateImportUsage]
    optimizer.step()
    seen.call("optimizer", (leaf for state in optimizer.state.values() for leaf in state.values()))


def rows_held(updating: Updating, spec: BatchSpec) -> int:
    """How many rows are in memory at once."""
    return spec.size if updating.whole else min(spec.size, spec.micro_size)


def piece(spec: BatchSpec, gauge: Gauge | None) -> int:
    """Rows of one backward pass: those of a micro-batch, or fewer where one that is alone is measured.

    >>> piece(BatchSpec(64, 64), Gauge()), piece(BatchSpec(256, 64), Gauge()), piece(BatchSpec(64, 64), None)
    (16, 64, 64)
    """
    rows = min(spec.micro_size, spec.size)
    if gauge is None or spec.size > rows:
        return rows
    return gauge.piece(rows)


def _parameters(updating: Updating) -> list[torch.Tensor]:
    own = updating.optimizer
    others = (
        (leaf for group in own.param_groups for leaf in group["params"])
        if isinstance(own, torch.optim.Optimizer)
        else ()
    )
    return list({id(leaf): leaf for leaf in (*updating.model.parameters(), *others)}.values())


NOT_THE_USERS = (str(Path(torch.__file__).parent), __file__, ledger.__file__, noise_sums.__file__)

NAMES = {"_local_scalar_dense": ".item()", "equal": "torch.equal"}
"""What people call operations of torch."""


def _untraceable(error: Exception) -> Untraceable:
    """The operation that stood in the way, and the line of the user's (or the library's) that asked for it."""
    func = getattr(error, "func", None)
    if func is not None:
        name = getattr(getattr(func, "overloadpacket", None), "__name__", None) or str(func)
        operation = NAMES.get(name, name)
    else:
        operation = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(NOT_THE_USERS)]
    where = next((f"{frame.filename}:{frame.lineno}" for frame in reversed(own)), "")
    return Untraceable(operation, where)
