"""What `ladle.torch.plan` asks about: a user's module, loss, loader and optimiser, made ready to be measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.torch.confirm import ROWS, Job, Remade, named
from ladle.torch.examples import read_ahead
from ladle.torch.fakes import plain
from ladle.torch.foresight import Foresight
from ladle.torch.loop_probe import LoopProbe
from ladle.torch.optimizer import constants_of, trained
from ladle.torch.refuse import coupling, require_usable
from ladle.torch.trace import Updating
from ladle.torch.untouched import kept_generators

COUPLED = (
    "The loss of a row depends on the others in its micro-batch: {}. A batch cut into "
    "micro-batches is then another loss than the whole, and a row has no gradient whose noise could be measured: the "
    "size rests on speed."
)
COMPILED = "What was measured is the module without torch.compile: its seconds, and so the best size, may be others."
MEASURED = "Memory is no prediction here but {}."
READ = "The noise scale was measured on the first {:,} of {:,} rows that the loader gave."


@dataclass(frozen=True)
class LoopQuestion:
    """A loop, ready for the planner.

    - `name`, `hyper`, `lr`: the optimiser's kind, constants and rate, which is for batches of `reference_size`.
    """

    probe: LoopProbe
    name: str
    hyper: dict[str, float]
    lr: float | None

    @property
    def rows(self) -> int:
        return self.probe.examples.rows

    @property
    def reference_size(self) -> int:
        return min(self.probe.examples.batch, self.rows)

    @property
    def memory_method(self) -> str:
        return self.probe.foresight.method

    def parts(self, spec: BatchSpec) -> dict[str, int]:
        """What the memory of a micro-batch of `spec` is for, by name; empty where no trace was made of it."""
        rows = min(spec.micro_size, self.rows)
        found = self.probe.foresight.found.get(BatchSpec(rows, spec.micro_size))
        return {} if found is None else vars(found)

    def notes(self) -> tuple[str, ...]:
        """What a careful reader would want to be told beside what every plan says."""
        probe, said = self.probe, []
        if (layer := coupling(probe.model)) is not None:
            said.append(COUPLED.format(f"{layer!r} takes statistics of it"))
        elif probe.coupled:
            said.append(COUPLED.format("the loss of the first is another one among other rows"))
        if hasattr(probe.model, "_orig_mod"):
            said.append(COMPILED)
        if probe.foresight.obstacle is not None:
            said.append(MEASURED.format(self.memory_method))
        if probe.examples.read < probe.examples.rows and not probe.coupled:
            said.append(READ.format(probe.examples.read, probe.examples.rows))
        return tuple(said)


def question(
    model: nn.Module | Callable[[], nn.Module] | str,
    loss: Callable[[nn.Module, Any], Any],
    loader: Any,
    optimizer: torch.optim.Optimizer | Callable[[Any], torch.optim.Optimizer],
    *,
    rows: int | None = None,
    gauge: Gauge | None = None,
    clip: float | None = None,
    seed: int = 0,
) -> LoopQuestion:
    """See `ladle.torch.plan`. Reads the loader's first rows; refuses what a plan cannot be made for."""
    make = named(model) if isinstance(model, str) else None if isinstance(model, nn.Module) else model
    module, made = _made(make, optimizer, seed) if make is not None else _given(model, optimizer)
    require_usable(module, made)
    if not trained(made):
        why, remedy = "nothing of it would move", "parameters with requires_grad=True"
        raise ArgumentError(must("optimizer", "have parameters that are trained", "none", why, remedy))
    device = next(plain(module).parameters()).device
    examples = read_ahead(loader, device, rows)
    asked = Updating(module, loss, made, examples.take(1), gauge)
    foresight = Foresight(asked, examples.take)
    foresight.bytes(BatchSpec(2, 2))  # A loss that is reduced is refused here, before anything is measured.
    job = None
    if make is not None:
        few, threads = examples.take(min(examples.read, ROWS)), torch.get_num_threads()
        job = Job(make, loss, Remade.of(made), few, gauge, clip, str(device), threads)
    probe = LoopProbe(module, loss, made, examples, foresight, job, clip)
    constants = constants_of(made)
    rate = made.param_groups[0].get("initial_lr", constants.pop("lr", None))
    constants.pop("lr", None)
    return LoopQuestion(probe, _name(made), constants, None if rate is None else float(rate))


def _made(make: Any, optimizer: Any, seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A module of the user's function, and an optimiser for it."""
    if isinstance(optimizer, torch.optim.Optimizer) or not callable(optimizer):
        why = "the model is made anew, and an optimiser holds the parameters of one module"
        remedy = f"optimizer=lambda parameters: torch.optim.{type(optimizer).__name__}(parameters)"
        raise ArgumentError(
            must("optimizer", "be a function where the model is one", type(optimizer).__name__, why, remedy)
        )
    if not callable(make):
        why, remedy = "its parameters are what is trained", "model=make_model, or 'package.module:make_model'"
        raise ArgumentError(must("model", "be a module or make one", type(make).__name__, why, remedy))
    with kept_generators():
        torch.manual_seed(seed)
        module = make()
    if not isinstance(module, nn.Module):
        why, remedy = "its parameters are what is trained", "model=lambda: nn.Linear(3, 2)"
        raise ArgumentError(must("model", "make a torch module", type(module).__name__, why, remedy))
    made: Any = optimizer(module.parameters())
    return module, made


def _given(model: Any, optimizer: Any) -> tuple[nn.Module, Any]:
    """The user's module and its optimiser; one that is a function is called."""
    if callable(optimizer) and not isinstance(optimizer, torch.optim.Optimizer):
        optimizer = optimizer(model.parameters())
    if isinstance(optimizer, torch.optim.Optimizer) and isinstance(model, nn.Module):
        own = {id(leaf) for leaf in model.parameters()}
        if not any(id(leaf) in own for group in optimizer.param_groups for leaf in group["params"]):
            why, remedy = "it holds the parameters of another module", "torch.optim.AdamW(model.parameters())"
            raise ArgumentError(must("optimizer", "be that of the model", type(optimizer).__name__, why, remedy))
    return model, optimizer


def _name(optimizer: torch.optim.Optimizer) -> str:
    """What ladle's rate rules call it."""
    name = type(optimizer).__name__.lower()
    if name == "sgd" and optimizer.param_groups[0].get("momentum"):
        return "nesterov" if optimizer.param_groups[0].get("nesterov") else "momentum"
    return name
