"""`TorchEngine`: a task on its device, as the roof asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ladle.core.backend import Program, Weight
from ladle.core.errors import ArgumentError, CheckpointError, must
from ladle.core.moments import Gauge
from ladle.core.protocols import Feed, Meter
from ladle.core.spec import BatchSpec
from ladle.core.world import World
from ladle.torch.built_in import BuiltIn
from ladle.torch.evaluate import Evaluator
from ladle.torch.place import placed
from ladle.torch.ranks import ONE, Ranks
from ladle.torch.refuse import require_gaugeable
from ladle.torch.state import Kept, State, arrays_of, type_of, weight_types
from ladle.torch.step import TorchStep
from ladle.torch.tree import leaves, mapped

if TYPE_CHECKING:
    from ladle.torch.trials import TorchTrials

CLOSE = 1e-4
"""Relative difference that rounding may make in the loss of a row."""


@dataclass(frozen=True)
class TorchEngine:
    """Implements `ladle.core.backend.Engine`. `room_bytes`: see `within`."""

    step: TorchStep
    room_bytes: int | None = None

    @property
    def gauge(self) -> Gauge | None:
        return self.step.gauge

    @property
    def devices(self) -> int:
        return 1

    @property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self.step.objective, self.step.device, self.room_bytes, self.step.ranks)

    @cached_property
    def _blank(self) -> State:
        """A state that is never trained: for shapes, and what one forward pass tells."""
        return self.step.init(0)

    def gauged(self, gauge: Gauge) -> TorchEngine:
        require_gaugeable(self._blank.model, gauge)
        return replace(self, step=replace(self.step, gauge=gauge))

    def over(self, world: World) -> TorchEngine:
        ranks = Ranks(world.rank, world.size, None, "copies") if world.size > 1 else ONE
        return replace(self, step=replace(self.step, ranks=ranks))

    def within(self, room_bytes: int) -> TorchEngine:
        return self if room_bytes == self.room_bytes else replace(self, room_bytes=room_bytes)

    def state_bytes(self, whole: bool = False) -> int:
        """Of weights, and of averages as many as the optimiser makes in a step with gradients of zero."""
        state = self.step.init(0)
        for leaf in state.model.parameters():
            leaf.grad = torch.zeros_like(leaf)
        state.optimizer.step()
        kept = state.kept()
        return sum(leaf.nbytes for _, leaf in leaves((kept.weights, kept.averages)) if isinstance(leaf, torch.Tensor))

    def judging(self, rows: Any) -> tuple[int, int]:
        model, evaluator = self._blank.model, self._evaluator
        at_once = evaluator.at_once(model, rows)
        return at_once, evaluator.bytes_of(model, rows, at_once)

    def place(self, tree: Any) -> Any:
        if isinstance(tree, Kept):
            return self.step.init(tree.seed, {}).put(tree)
        return tree if isinstance(tree, State) else placed(tree, self.step.device)

    def rate_at(self, time: float) -> float:
        return float(self.step.rate(time))

    def abstract_state(self, hyper: Mapping[str, float]) -> State:
        return self.step.init(0, hyper)

    def constants(self, state: State) -> dict[str, float]:
        return dict(state.hyper)

    def with_constants(self, state: State, hyper: Mapping[str, float]) -> State:
        return self.step.constant(state, self.step.hyper(hyper))

    def copy(self, state: State) -> State:
        return self.place(state.kept())

    def to_host(self, state: State) -> Kept:
        return state.kept()

    def averaged(self, state: State) -> None:
        return None  # `optimizer_of` takes no decay of one.

    def reestimated(self, state: State, rows: Any, weight: Any | None = None) -> State:
        why, remedy = "only ladle's own norms on JAX are counted anew", "torch.optim.swa_utils.update_bn(loader, model)"
        raise ArgumentError(must("reestimate", "be left out with PyTorch", True, why, remedy))

    def params(self, state: State) -> dict[str, torch.Tensor]:
        """Parameters and buffers by name: `model.load_state_dict(run.params)`."""
        return state.weights

    def evaluate(self, state: State, rows: Any, prefix: str = "valid_") -> dict[str, float]:
        return self._evaluator(state.model, rows, prefix)

    def predict(self, state: State, x: Any) -> np.ndarray:
        return self._evaluator.predict(state.model, x)

    def weight_types(self) -> dict[str, Weight]:
        make = self.step.objective.make
        return weight_types(make.shapes() if isinstance(make, BuiltIn) else self._blank.weights)

    def weights(self, state: State) -> dict[str, np.ndarray]:
        return arrays_of(state.weights)

    def with_weights(self, weights: Mapping[str, np.ndarray]) -> State:
        state = self.step.init(0)
        wanted = {name: f"{type_of(leaf)}{list(leaf.shape)}" for name, leaf in state.weights.items()}
        given = {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in weights.items()}
        for name in (*wanted, *given):
            if wanted.get(name) != given.get(name):
                why, remedy = "nothing is cast or cut", "the model that it was saved with"
                raise CheckpointError(must(f"weight {name}", f"be {wanted.get(name)}", given.get(name), why, remedy))
        state.model.load_state_dict({name: torch.from_numpy(np.array(leaf)) for name, leaf in weights.items()})
        return state

    def exported(self, state: State, x: Any) -> Program:
        from ladle.torch.exported import exported  # Few models are.

        return exported(self.step.objective, state.model, x, self.step.device)

    def run_exported(self, program: bytes, state: State, x: Any) -> np.ndarray:
        from ladle.torch.exported import run_exported

        return run_exported(program, x, self.step.device)

    def losses(self, state: State, rows: Any) -> np.ndarray:
        return self._evaluator.losses(state.model, rows)

    def sharpness(self, state: State, rows: Any) -> float | None:
        return None

    def probe(
        self, feed: Feed, pilot: BatchSpec, *, hyper: Mapping[str, float], seed: int = 0, meter: Meter | None = None
    ) -> Any:
        from ladle.torch.probe import TorchProbe  # A run that trains asks for none.

        return TorchProbe(step=self.step, feed=feed, pilot=pilot, hyper=hyper, seed=seed, meter=meter)

    def trials(
        self, data: Any, weight: Any, folds: Sequence[np.ndarray], sizes: Sequence[int], micro_size: int | None
    ) -> TorchTrials:
        from ladle.torch.trials import TorchTrials

        return TorchTrials(self.step, data, weight, folds, micro_size)

    def rebase(self) -> Callable[[State, Any, BatchSpec, int], State]:
        raise _missing("rebase", "be False with torch", "rebase=False")

    def require_independent(self, rows: Any) -> None:
        """Refuse a loss whose first row has another loss in other company. That it has not is evidence, no proof."""
        if len(next(leaf for _, leaf in leaves(rows))) < 7:
            return
        company = [torch.tensor(ids) for ids in ((0, 1, 2, 3), (0, 4, 5, 6))]
        one, two = (float(self.losses(self._blank, mapped(lambda leaf: leaf[ids], rows))[0]) for ids in company)  # noqa: B023
        if abs(one - two) > CLOSE * max(abs(one), abs(two), CLOSE):
            got = f"{self.step.objective.loss}, by which one row's loss is {one:.4g} or {two:.4g} with its company"
            why = "then it has no gradient of its own, and accumulation is not the large batch"
            remedy = "a batch size that does not depend on gradient noise"
            raise ArgumentError(must("loss", "be a sum over rows where its noise is measured", got, why, remedy))

    def output_width(self, x: Any) -> int | None:
        """What one forward pass of one row answers. Raises `ArgumentError` where the module cannot take it."""
        try:
            outputs = self.predict(self._blank, mapped(lambda leaf: leaf[:1], x))
        except (RuntimeError, TypeError, ValueError, KeyError) as error:
            got, why = self.step.objective.name, str(error).partition("\n")[0]
            raise ArgumentError(must("model", "take the data's rows", got, why, "nn.Flatten() for images")) from error
        return outputs.shape[1] if outputs.ndim > 1 else None


def _missing(argument: str, be: str, remedy: str) -> ArgumentError:
    return ArgumentError(must(argument, be, "torch", "the torch backend has none", remedy))
