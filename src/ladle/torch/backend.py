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
from ladle.torch.built_in import BuiltIn, model_named, rebuilt
from ladle.torch.engine import TorchEngine
from ladle.torch.objective import Objective, known_loss, objective
from ladle.torch.optimizer import Optimizer, optimizer_of
from ladle.torch.rate import constant_rate, rate_from_text
from ladle.torch.refuse import require_gaugeable
from ladle.torch.save import TorchSaver
from ladle.torch.step import TorchStep
from ladle.torch.usual import usual_metrics
from ladle.torch.world import world


@dataclass(frozen=True)
class TorchBackend:
    """Implements `ladle.core.backend.Backend`. `library`: this room, which has its own losses and metrics."""

    library: ModuleType | None = None
    name: str = "torch"

    def model(self, name: str, *, input_shape: Sequence[int], outputs: int, cardinalities: Sequence[int] = ()) -> Any:
        return model_named(name, input_shape, outputs, cardinalities)

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
        own = {"kind": "own", "name": made.name, "library": "torch"}
        return {
            "model": made.make.described() if isinstance(made.make, BuiltIn) else own,
            "loss": known_loss(made.function),
            "metrics": [name for name, metric in made.measured if usual.get(name) is metric],
        }

    def rebuilt(self, described: Mapping[str, Any], model: Any, kind: str) -> Objective:
        of_model = described["model"]
        if of_model["kind"] != "own":
            if model is not None:
                why = "this one is built in, and the folder says all of it"
                raise ArgumentError(must("model", "be left out", type(model).__name__, why, "ladle.load(folder)"))
            model = rebuilt(of_model)
        elif model is None:
            why = f"{of_model['name']} is a torch module of your own, and a folder holds no code"
            raise ArgumentError(must("model", "be given", None, why, "model='file.py:task', its module or factory"))
        usual = usual_metrics(kind)
        metrics = {name: usual[name] for name in described["metrics"] if name in usual}
        return objective(model, described["loss"], metrics, kind)

    def optimizer(self, rule: Any, hyper: Mapping[str, float] | None = None, lr: float | None = None) -> Optimizer:
        made = optimizer_of(rule, hyper)
        return made if lr is None else replace(made, lr=lr)

    def frozen(self, objective: Any, patterns: tuple[str, ...]) -> Objective:
        why, remedy = "a torch module says itself what trains", "requires_grad_(False) where the module is made"
        raise ArgumentError(must("frozen", "be left out on torch", patterns, why, remedy))

    def without_decay(self, optimizer: Any, patterns: tuple[str, ...]) -> Optimizer:
        why = "groups of parameters say it in torch"
        remedy = "a function parameters -> torch.optim.AdamW([...groups...]) as the optimizer"
        raise ArgumentError(must("no_decay", "be left out on torch", patterns, why, remedy))

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
        shard_state: bool = False,
        offload: bool = False,
    ) -> TorchEngine:
        if shard_state:
            why, remedy = "one torch device has all of a state here", "fully_shard(model) in a loop of your own"
            raise ArgumentError(must("shard_state", "be False on torch", shard_state, why, remedy))
        if offload:
            why, remedy = "one torch device has all of a state here", "offload=False"
            raise ArgumentError(must("offload", "be False on torch", offload, why, remedy))
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

    def reducer(self) -> None:
        return None  # A process has one device.
