"""`TorchBackend`: PyTorch as the roof sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from ladle.core.backend import Rate
from ladle.core.errors import ArgumentError, must
from ladle.core.functions import Functions
from ladle.core.moments import Gauge
from ladle.core.world import World
from ladle.torch import place
from ladle.torch.engine import TorchEngine
from ladle.torch.objective import Objective, objective
from ladle.torch.optimizer import Optimizer, optimizer_of
from ladle.torch.rate import constant_rate, rate_from_text
from ladle.torch.refuse import require_gaugeable
from ladle.torch.save import TorchSaver
from ladle.torch.step import TorchStep
from ladle.torch.usual import LOSSES, model_named, usual_metrics
from ladle.torch.world import world


@dataclass(frozen=True)
class TorchBackend:
    """Implements `ladle.core.backend.Backend`. `library`: this room, which has its own losses and metrics."""

    library: ModuleType | None = None
    name: str = "torch"

    def model(self, name: str, *, input_shape: Sequence[int], outputs: int, cardinalities: Sequence[int] = ()) -> Any:
        if cardinalities:
            why, remedy = "it has numbers alone", "a module of your own, whose input is a dict"
            raise ArgumentError(must("model", "take columns of categories", name, why, remedy))
        return model_named(name, input_shape, outputs)

    def objective(
        self, model: Any, loss: Any, metrics: Mapping[str, Any] | None, kind: str, sources: tuple[str, ...] = ()
    ) -> Objective:
        if sources:
            why = "the torch backend tells no sources apart"
            raise ArgumentError(must("sources", "be left out", sources, why, "a metric of each"))
        if isinstance(model, Functions):
            why = "parameters of plain functions are arrays of JAX"
            raise ArgumentError(must("task", "have a torch module", "plain functions", why, "backend='jax'"))
        return objective(model, loss, metrics, kind)

    def described(self, model: Any, loss: Any, metrics: Mapping[str, Any] | None, kind: str) -> dict[str, Any]:
        made = objective(model, loss, metrics, kind)
        usual = usual_metrics(kind)
        return {
            "model": {"kind": "own", "name": made.name, "library": "torch"},
            "loss": made.loss if LOSSES.get(made.loss) is made.function else None,
            "metrics": [name for name, metric in made.measured if usual.get(name) is metric],
        }

    def rebuilt(self, described: Mapping[str, Any], model: Any, kind: str) -> Objective:
        if model is None:
            why = f"{described['model']['name']} is a torch module of your own, and a folder holds no code"
            raise ArgumentError(must("model", "be given", None, why, "model='file.py:task', its module or factory"))
        usual = usual_metrics(kind)
        metrics = {name: usual[name] for name in described["metrics"] if name in usual}
        return objective(model, described["loss"], metrics, kind)

    def optimizer(self, rule: Any, hyper: Mapping[str, float] | None = None, lr: float | None = None) -> Optimizer:
        made = optimizer_of(rule, hyper)
        return made if lr is None else replace(made, lr=lr)

    def rate(self, text: str, *, total: int, epoch_size: int) -> Rate:
        return rate_from_text(text, total=total, epoch_size=epoch_size)

    def engine(
        self,
        objective: Any,
        optimizer: Any,
        *,
        rate: Rate | None = None,
        gauge: Gauge | None = None,
        devices: Any = None,
    ) -> TorchEngine:
        if gauge is not None:
            require_gaugeable(objective.make().train(), gauge)
        return TorchEngine(TorchStep(objective, optimizer, place.device_of(devices), rate or constant_rate, gauge))

    def put(self, tree: Any) -> None:
        place.placed(tree, place.device_of())

    def world(self) -> World:
        return world()

    def saver(self) -> TorchSaver:
        return TorchSaver()

    def device_names(self) -> list[str]:
        return place.device_names()

    def on_host(self) -> bool:
        return place.device_of().type == "cpu"

    def used_bytes(self) -> int | None:
        return place.used_bytes()

    def free_bytes(self) -> int:
        return place.free_bytes()
