"""`JaxBackend`: the JAX backend as the roof sees it. Every library call of it stands in the files beside this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from ladle.core.arithmetic import PRECISIONS
from ladle.core.backend import Rate
from ladle.core.errors import ArgumentError, must
from ladle.core.functions import Functions
from ladle.core.moments import Gauge
from ladle.core.paths import require_matches
from ladle.core.stage import DeviceStage
from ladle.core.world import World
from ladle.jax import devices as devices_
from ladle.jax.allreduce import AllReduce
from ladle.jax.arithmetic import PLAIN, Arithmetic
from ladle.jax.augment import why_not
from ladle.jax.cache import use_compilation_cache
from ladle.jax.clients import Alone, Training
from ladle.jax.engine import JaxEngine
from ladle.jax.federation import Meaning, Rounds
from ladle.jax.freeze import freeze, whole
from ladle.jax.geometry import started
from ladle.jax.memory import device_free_bytes
from ladle.jax.objective import Objective, of_functions, of_model
from ladle.jax.optimizer import Optimizer, optimizer_named, without_decay
from ladle.jax.paths import paths_of
from ladle.jax.per_source import by_source
from ladle.jax.rate import constant_rate, rate_from_text
from ladle.jax.save import OrbaxSaver
from ladle.jax.step import CompiledStep
from ladle.jax.world import world


@dataclass(frozen=True)
class JaxBackend:
    """Implements `ladle.core.backend.Backend`. `library`: the models, losses and metrics, `ladle.models`."""

    library: ModuleType
    name: str = "jax"
    precisions: tuple[str, ...] = PRECISIONS

    def model(self, name: str, *, input_shape: Sequence[int], outputs: int, cardinalities: Sequence[int] = ()) -> Any:
        return self.library.default_for(name, input_shape=input_shape, outputs=outputs, cardinalities=cardinalities)

    def objective(
        self,
        model: Any,
        loss: Any,
        metrics: Mapping[str, Any] | None,
        kind: str,
        sources: tuple[str, ...] = (),
        *,
        precision: str = "f32",
        remat: Any = "none",
    ) -> Objective:
        made = self._objective(model, loss, metrics, kind, self._arithmetic(precision, remat))
        return by_source(made, sources) if sources else made

    def _arithmetic(self, precision: str, remat: Any) -> Arithmetic:
        plain = precision == "f32" and remat == "none"
        return PLAIN if plain else Arithmetic(precision, remat, self.library.recomputing)

    def _objective(
        self, model: Any, loss: Any, metrics: Mapping[str, Any] | None, kind: str, arithmetic: Arithmetic = PLAIN
    ) -> Objective:
        if isinstance(model, Objective):
            if arithmetic != PLAIN:
                why, remedy = "an objective of your own computes as it was made", "the model and the loss it is made of"
                raise ArgumentError(must("precision and remat", "be left out", arithmetic.precision, why, remedy))
            return model
        if isinstance(model, Functions):
            return of_functions(
                model.init,
                model.loss,
                predict=model.predict,
                metrics=model.metrics,
                has_state=model.has_state,
                additive=model.additive,
                arithmetic=arithmetic,
            )
        made, library = self.library.as_model(model), self.library
        return of_model(made, library.as_loss(loss, kind), library.as_metrics(metrics, kind), arithmetic)

    def described(self, model: Any, loss: Any, metrics: Mapping[str, Any] | None, kind: str) -> dict[str, Any]:
        if isinstance(model, Objective | Functions):
            name = self._objective(model, loss, metrics, kind).name
            return {"model": {"kind": "own", "name": name, "library": "functions"}, "loss": None, "metrics": []}
        library = self.library
        made, known = library.as_loss(loss, kind), library.as_metrics(metrics, kind)
        return {
            "model": library.described(library.as_model(model)),
            "loss": library.kept_loss(made),
            "metrics": list(library.kept_metrics(known, kind)),
        }

    def rebuilt(self, described: Mapping[str, Any], model: Any, kind: str) -> Objective:
        of_model, library = described["model"], self.library
        if of_model["kind"] != "own":
            if model is not None:
                why = "this one is built in, and the folder says all of it"
                raise ArgumentError(must("model", "be left out", type(model).__name__, why, "ladle.load(folder)"))
            model = library.rebuilt(of_model)
        elif model is None:
            why = f"{of_model['name']} ({of_model['library']}) is a model of your own, and a folder holds no code"
            remedy = "model='file.py:task', or its module, factory or functions"
            raise ArgumentError(must("model", "be given", None, why, remedy))
        usual = library.as_metrics(None, kind)
        metrics = {name: usual[name] for name in described["metrics"] if name in usual}
        arithmetic = self._arithmetic(described.get("precision", "f32"), "none")
        return self._objective(model, described["loss"], metrics, kind, arithmetic)

    def optimizer(self, rule: Any, hyper: Mapping[str, float] | None = None, lr: float | None = None) -> Optimizer:
        made = optimizer_named(rule, hyper)
        return made if lr is None else replace(made, lr=lr)

    def frozen(self, objective: Any, patterns: tuple[str, ...]) -> Objective:
        return freeze(objective, patterns)

    def without_decay(self, optimizer: Any, patterns: tuple[str, ...]) -> Optimizer:
        return without_decay(optimizer, patterns)

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
        augment: DeviceStage | None = None,
        shard_state: bool = False,
        offload: bool = False,
    ) -> JaxEngine:
        use_compilation_cache()
        if optimizer.no_decay:
            params, _ = whole(*started(objective))  # A frozen weight may be named: it does not decay either.
            require_matches("no_decay", optimizer.no_decay, paths_of(params))
        how: dict[str, Any] = {"gauge": gauge, "devices": devices, "augment": augment}
        how |= {"shard_state": shard_state, "offload": offload}
        return JaxEngine(CompiledStep(objective, optimizer, rate=rate or constant_rate, **how))

    def alone(self, objective: Any, optimizer: Any, *, size: int) -> Alone:
        """A client of a federation in a process of its own; not every backend has it."""
        use_compilation_cache()
        return Alone(Training(objective, optimizer, size))

    def rounds(
        self, objective: Any, optimizer: Any, *, size: int, width: int, server: str, controls: bool, private: bool
    ) -> Rounds:
        """Rounds of federated training in one program; not every backend has it. See `ladle.jax.federation`."""
        use_compilation_cache()
        return Rounds(Meaning(Training(objective, optimizer, size, controls), server, private), width)

    def cannot_augment(self, augment: DeviceStage, data: Any) -> str | None:
        return why_not(augment, data)

    def put(self, tree: Any) -> None:
        devices_.put(tree)

    def world(self) -> World:
        return world()

    def saver(self) -> OrbaxSaver:
        return OrbaxSaver()

    def device_names(self) -> list[str]:
        return devices_.device_names()

    def on_host(self) -> bool:
        return devices_.on_host()

    def used_bytes(self) -> int | None:
        return devices_.memory_bytes()

    def free_bytes(self) -> int:
        return device_free_bytes()

    def reducer(self) -> AllReduce | None:
        return AllReduce.of_this_host()
