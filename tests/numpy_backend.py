"""A backend in NumPy: softmax regression by SGD with momentum, with the exact gradient of every example.

It is a fake: small, slow and plain. It implements `ladle.core.backend` whole, so that what the roof asks of a backend
is seen to be enough, and to be no more than the page says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.backend import Weight
from ladle.core.batch import Batch, Draw, batch_ends
from ladle.core.cursor import Cursor
from ladle.core.decision import Clock
from ladle.core.errors import ArgumentError, must, nearest
from ladle.core.moments import Gauge, Moments, pair, pair_sums
from ladle.core.observation import METRIC, Observation
from ladle.core.protocols import Feed, Meter
from ladle.core.spec import BatchSpec
from ladle.core.world import ALONE, World

NOISE = tuple(pair_sums(0.0, 0.0, 0.0))
NAMES = ("loss", "weight", "updates", "refused", "grad_sq", METRIC + "accuracy", *NOISE)


@dataclass(frozen=True)
class Softmax:
    """The model: `outputs = x w`, the last row of `w` being the bias; cross entropy is the loss."""

    features: int
    classes: int
    name: str = "softmax in NumPy"
    loss: str = "cross_entropy"
    metrics: tuple[str, ...] = ("accuracy",)
    additive: bool = True
    declared: bool = False
    levels: tuple[str, ...] = ()
    predicts: bool = True

    def direction(self, metric: str) -> str | None:
        return "higher" if metric == "accuracy" else None

    def outputs(self, w: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, np.ones((len(x), 1))], 1) @ w

    def errors(self, w: np.ndarray, rows: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses `f64[examples]`, hits `f64[examples]` and chances minus labels `f64[examples, classes]`."""
        outputs, y = self.outputs(w, np.asarray(rows["x"], np.float64)), np.asarray(rows["y"])
        logs = outputs - np.logaddexp.reduce(outputs, axis=1, keepdims=True)
        losses = -logs[np.arange(len(y)), y]
        return losses, (outputs.argmax(1) == y) * 1.0, np.exp(logs) - np.eye(self.classes)[y]

    def gradient(self, x: np.ndarray, errors: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """The sum over examples of weight times gradient."""
        return np.concatenate([x, np.ones((len(x), 1))], 1).T @ (errors * weight[:, None])


@dataclass(frozen=True)
class Momentum:
    """The update rule: v = m v + g; w = w - lr v."""

    name: str = "momentum"
    hyper: Mapping[str, float] = field(default_factory=lambda: {"momentum": 0.9})
    lr: float | None = 0.1


def start(objective: Softmax, seed: int, hyper: Mapping[str, float]) -> dict[str, Any]:
    w = 0.01 * np.random.default_rng(seed).normal(size=(objective.features + 1, objective.classes))
    return {"w": w, "v": np.zeros_like(w), "hyper": {name: np.float64(value) for name, value in hyper.items()}}


@dataclass(frozen=True)
class NumpyStep:
    """Implements `ladle.core.protocols.Step`; both lanes read their micro-batches on the host."""

    objective: Softmax
    optimizer: Momentum
    rate: Callable[[float], float]
    gauge: Gauge | None = None

    def init(self, seed: int, hyper: Mapping[str, float] | None = None) -> dict[str, Any]:
        return start(self.objective, seed, self.hyper(hyper or {}))

    def hyper(self, over: Mapping[str, float]) -> dict[str, float]:
        return {**self.optimizer.hyper, "lr": self.optimizer.lr or 1.0, **over}

    def prepare(self, state: Any, draw: Draw, spec: BatchSpec) -> Any:
        return state

    def transfer(self, state: Any, hyper: Mapping[str, float]) -> Any:
        if unknown := sorted(set(hyper) - set(state["hyper"])):
            raise ArgumentError(must("hyper", "name constants of the run", unknown, "it has others", "lr"))
        return {**state, "hyper": {**state["hyper"], **{name: np.float64(value) for name, value in hyper.items()}}}

    def reset(self, state: Any) -> Any:
        return {**state, "v": np.zeros_like(state["w"])}

    def __call__(
        self, state: Any, draw: Draw, spec: BatchSpec, lr_factor: float = 1.0, clock: Clock = Clock()
    ) -> tuple[Any, Observation]:
        sums, place = np.zeros(len(NAMES)), draw.start
        for update, count in enumerate(draw.counts):
            lr = state["hyper"]["lr"] * self.rate(clock.at(place)) * lr_factor
            done = self._sums(state["w"], draw.micro_batches(update, spec.micro_size))
            state, new = self._applied(state, done, lr, measured=count == spec.size)
            sums, place = sums + new, place + count
            if new[NAMES.index("refused")]:
                break
        return state, Observation(NAMES, sums)

    def _sums(self, w: np.ndarray, batches: Any) -> dict[str, Any]:
        done: dict[str, Any] = {"g": np.zeros_like(w), "loss": 0.0, "hits": 0.0, "weight": 0.0, "sq": 0.0, "steps": 0}
        for batch in batches:
            for piece in self._pieces(batch):
                losses, hits, errors = self.objective.errors(w, piece.data)
                weight = np.asarray(piece.weight, np.float64)
                g = self.objective.gradient(np.asarray(piece.data["x"], np.float64), errors, weight)
                total = weight.sum()
                done["g"], done["weight"] = done["g"] + g, done["weight"] + total
                done["loss"], done["hits"] = done["loss"] + losses @ weight, done["hits"] + hits @ weight
                if total > 0:
                    done["sq"], done["steps"] = done["sq"] + (g * g).sum() / total, done["steps"] + 1
        return done

    def _pieces(self, batch: Batch) -> list[Batch]:
        """A micro-batch as it is, or example by example where moments are wanted."""
        if self.gauge is None:
            return [batch]
        rows = range(len(batch.weight))
        cut = [({name: leaf[i : i + 1] for name, leaf in batch.data.items()}, batch.weight[i : i + 1]) for i in rows]
        return [replace(batch, data=data, weight=weight) for data, weight in cut]

    def _applied(self, state: Any, done: dict[str, Any], lr: float, measured: bool) -> tuple[Any, np.ndarray]:
        weight = max(done["weight"], 1e-30)
        g = done["g"] / weight
        grad_sq = float((g * g).sum())
        fine = math.isfinite(grad_sq) and math.isfinite(done["loss"]) and math.isfinite(lr)
        if fine:
            v = state["hyper"]["momentum"] * state["v"] + g
            state = {**state, "w": state["w"] - lr * v, "v": v}
        noise = dict.fromkeys(NOISE, 0.0)
        if fine and measured and done["steps"] >= 2:
            noise = pair_sums(*pair(done["sq"], grad_sq, weight, done["steps"]), weight)
        sums = (done["loss"], done["weight"], float(fine), float(not fine), grad_sq, done["hits"])
        return state, np.array([*sums, *noise.values()])


@dataclass(frozen=True)
class NumpyProbe:
    """Implements `ladle.core.protocols.Probe`: bytes by a formula, seconds by the clock, moments by a short pilot."""

    step: NumpyStep
    feed: Feed
    pilot: BatchSpec
    hyper: Mapping[str, float]
    seed: int
    meter: Meter | None

    def memory_bytes(self, spec: BatchSpec) -> int:
        parameters = (self.step.objective.features + 1) * self.step.objective.classes
        return 8 * (3 * parameters + spec.micro_size * (self.step.objective.features + 2 * self.step.objective.classes))

    def confirm_bytes(self, spec: BatchSpec) -> int:
        return self.memory_bytes(spec)

    def confirm_all(self, specs: Sequence[BatchSpec]) -> list[int]:
        return [self.memory_bytes(spec) for spec in specs]

    def limit_bytes(self) -> tuple[int, str]:
        return 1 << 30, "a gibibyte, by decree"

    def seconds(self, spec: BatchSpec, repeats: int) -> np.ndarray:
        state = self.step.init(self.seed, self.hyper)
        measured = []
        for _ in range(repeats):
            began = time.perf_counter()
            state, _ = self._run(state, self.feed.start(), replace(spec, updates=4), 0.0)
            measured.append((time.perf_counter() - began) / 4)
        return np.array(measured)

    def moments(self, spec: BatchSpec, updates: int, state: Any = None) -> Moments:
        if state is None:
            fresh = self.step.init(self.seed, self.hyper)
            state, _ = self._run(fresh, self.feed.start(), replace(self.pilot, updates=20))
        draw, _ = self.feed.draw(self.feed.start(), replace(spec, updates=updates))
        return self.step(state, draw, spec, 0.0)[1].moments()

    def joules(self, spec: BatchSpec) -> float | None:
        return None

    def _run(self, state: Any, cursor: Cursor, spec: BatchSpec, factor: float = 1.0) -> tuple[Any, Cursor]:
        draw, cursor = self.feed.draw(cursor, spec)
        return self.step(state, draw, spec, factor)[0], cursor


@dataclass(frozen=True)
class NumpyTrials:
    """Implements `ladle.core.backend.Trials`: one after the other."""

    step: NumpyStep
    rows: Mapping[str, np.ndarray]
    folds: Sequence[np.ndarray]
    micro_size: int

    def rung(self, size: int) -> BatchSpec:
        return BatchSpec(size, self.micro_size)

    def prepare(self, order: Any, sizes: Sequence[int]) -> None:
        pass

    def start(self, seed: int, hyper: Mapping[str, float]) -> Any:
        return self.step.init(seed, hyper)

    def advance(self, state: Any, order: Any, size: int, begun: int, updates: int) -> tuple[Any, bool]:
        passes, within = divmod(begun, -(-order.epoch_size // size))
        first = passes * order.epoch_size + within * size
        for end in batch_ends(first, size, updates - begun, order.epoch_size):
            ids = order.ids(first, int(end) - first)
            rows = {name: leaf[ids] for name, leaf in self.rows.items()}
            batch = Batch(rows, np.ones(len(ids)), np.arange(first, end), ids, len(ids))
            done = self.step._sums(state["w"], [batch])
            state, new = self.step._applied(state, done, state["hyper"]["lr"], measured=False)
            if new[NAMES.index("refused")]:
                return state, True
            first = int(end)
        return state, False

    def score(self, state: Any, fold: int) -> dict[str, float]:
        left_out = {name: leaf[self.folds[fold]] for name, leaf in self.rows.items()}
        losses, hits, _ = self.step.objective.errors(state["w"], left_out)
        return {"valid_loss": float(losses.mean()), "valid_accuracy": float(hits.mean())}

    def advance_all(
        self, states: list[Any], orders: Sequence[Any], size: int, begun: int, updates: int
    ) -> tuple[list[Any], list[bool]]:
        pairs = [self.advance(s, o, size, begun, updates) for s, o in zip(states, orders, strict=True)]
        return [state for state, _ in pairs], [bad for _, bad in pairs]

    def score_all(self, states: Sequence[Any], folds: Sequence[int]) -> list[dict[str, float]]:
        return [self.score(state, fold) for state, fold in zip(states, folds, strict=True)]


@dataclass(frozen=True)
class NumpyEngine:
    """Implements `ladle.core.backend.Engine`."""

    step: NumpyStep

    @property
    def gauge(self) -> Gauge | None:
        return self.step.gauge

    @property
    def devices(self) -> int:
        return 1

    def gauged(self, gauge: Gauge) -> NumpyEngine:
        return NumpyEngine(replace(self.step, gauge=gauge))

    def place(self, tree: Any) -> Any:
        return tree

    def rate_at(self, time: float) -> float:
        return self.step.rate(time)

    def abstract_state(self, hyper: Mapping[str, float]) -> Any:
        return self.step.init(0, hyper)

    def constants(self, state: Any) -> dict[str, float]:
        return {name: float(value) for name, value in state["hyper"].items()}

    def with_constants(self, state: Any, hyper: Mapping[str, float]) -> Any:
        return {**state, "hyper": {name: np.float64(value) for name, value in self.step.hyper(hyper).items()}}

    def over(self, world: World) -> Any:
        return self

    def within(self, room_bytes: int) -> Any:
        return self  # All rows at once take little.

    def state_bytes(self, whole: bool = False) -> int:
        return int(self.step.init(0, {})["w"].nbytes)

    def judging(self, rows: Any) -> tuple[int, int]:
        count = len(rows["y"])
        return count, 8 * count * self.step.objective.classes

    def copy(self, state: Any) -> Any:
        return state  # No array is ever written to.

    def to_host(self, state: Any) -> Any:
        return state

    def averaged(self, state: Any) -> Any:
        return None

    def reestimated(self, state: Any, rows: Any, weight: Any | None = None) -> Any:
        raise ArgumentError(must("reestimate", "be left out", True, "this model has no batch norm", "False"))

    def params(self, state: Any) -> Any:
        return state["w"]

    def evaluate(self, state: Any, rows: Any, prefix: str = "valid_") -> dict[str, float]:
        losses, hits, _ = self.step.objective.errors(state["w"], rows)
        return {prefix + "loss": float(losses.mean()), prefix + "accuracy": float(hits.mean())}

    def predict(self, state: Any, x: Any) -> np.ndarray:
        return self.step.objective.outputs(state["w"], np.asarray(x, np.float64))

    def weight_types(self) -> dict[str, Weight]:
        shape = (self.step.objective.features + 1, self.step.objective.classes)
        return {"w": Weight("w", "float64", shape)}

    def weights(self, state: Any) -> dict[str, np.ndarray]:
        return {"w": state["w"]}

    def with_weights(self, weights: Mapping[str, np.ndarray]) -> Any:
        return {"w": weights["w"]}

    def exported(self, state: Any, x: Any) -> tuple[bytes, bool]:
        raise ArgumentError(must("backend", "write programs", "numpy", "it has none", "the jax backend"))

    def run_exported(self, program: bytes, state: Any, x: Any) -> np.ndarray:
        raise ArgumentError(must("backend", "run programs", "numpy", "it has none", "the jax backend"))

    def losses(self, state: Any, rows: Any) -> np.ndarray:
        return self.step.objective.errors(state["w"], rows)[0]

    def sharpness(self, state: Any, rows: Any) -> float | None:
        return None

    def probe(
        self, feed: Feed, pilot: BatchSpec, *, hyper: Mapping[str, float], seed: int = 0, meter: Meter | None = None
    ) -> NumpyProbe:
        return NumpyProbe(self.step, feed, pilot, hyper, seed, meter)

    def trials(
        self, data: Any, weight: Any, folds: Sequence[np.ndarray], sizes: Sequence[int], micro_size: int | None
    ) -> NumpyTrials:
        return NumpyTrials(self.step, data, folds, micro_size or max(sizes))

    def rebase(self) -> Any:
        raise ArgumentError(must("rebase", "be False with this backend", True, "it has no such average", "False"))

    def require_independent(self, rows: Any) -> None:
        pass

    def output_width(self, x: Any) -> int | None:
        return self.step.objective.classes


class NumpySaver:
    """Implements `ladle.core.backend.Saver`: one .npz, with a key for each leaf."""

    def describe(self, tree: Any) -> list[list[str]]:
        return [[name, f"{leaf.dtype}{list(leaf.shape)}"] for name, leaf in self._leaves(tree).items()]

    def save(self, folder: Path, tree: Any) -> Callable[[], None]:
        folder.mkdir()
        np.savez(folder / "state.npz", **self._leaves(tree))
        return lambda: None

    def load(self, folder: Path, like: Any) -> Any:
        with np.load(folder / "state.npz") as file:
            held = {name: file[name] for name in file.files}
        hyper = {name.partition("/")[2]: leaf[()] for name, leaf in held.items() if name.startswith("hyper/")}
        return {"w": held["w"], "v": held["v"], "hyper": hyper}

    def arrays(self, folder: Path, described: list[list[str]]) -> list[np.ndarray]:
        with np.load(folder / "state.npz") as file:
            return [file[name] for name, _ in described]

    def _leaves(self, state: Any) -> dict[str, np.ndarray]:
        hyper = {f"hyper/{name}": np.asarray(value) for name, value in sorted(state["hyper"].items())}
        return {"w": state["w"], "v": state["v"], **hyper}


@dataclass(frozen=True)
class NumpyBackend:
    """Implements `ladle.core.backend.Backend`."""

    name: str = "numpy"

    def model(self, name: str, *, input_shape: Sequence[int], outputs: int, cardinalities: Sequence[int] = ()) -> Any:
        return Softmax(math.prod(input_shape), outputs)

    def objective(self, model: Any, loss: Any, metrics: Any, kind: str, sources: tuple[str, ...] = ()) -> Softmax:
        return model

    def described(self, model: Any, loss: Any, metrics: Any, kind: str) -> dict[str, Any]:
        about = {"kind": "softmax", "name": model.name, "features": model.features, "classes": model.classes}
        return {"model": about, "loss": "cross_entropy", "metrics": ["accuracy"]}

    def rebuilt(self, described: Mapping[str, Any], model: Any, kind: str) -> Softmax:
        return Softmax(described["model"]["features"], described["model"]["classes"])

    def optimizer(self, rule: Any, hyper: Mapping[str, float] | None = None, lr: float | None = None) -> Momentum:
        if rule != "momentum":
            raise ArgumentError(must("optimizer", "be a known name", rule, "no other", nearest(rule, ["momentum"])))
        made = Momentum()
        return replace(made, hyper={**made.hyper, **(hyper or {})}, lr=made.lr if lr is None else lr)

    def frozen(self, objective: Any, patterns: tuple[str, ...]) -> Softmax:
        raise ArgumentError(must("frozen", "be left out", patterns, "there is one array", "frozen=()"))

    def without_decay(self, optimizer: Any, patterns: tuple[str, ...]) -> Momentum:
        raise ArgumentError(must("no_decay", "be left out", patterns, "there is no decay", "no_decay=()"))

    def rate(self, text: str, *, total: int, epoch_size: int) -> Callable[[float], float]:
        if text == "linear":
            return lambda examples: max(1 - examples / total, 0.0)
        return lambda examples: 1.0

    def engine(
        self,
        objective: Any,
        optimizer: Any,
        *,
        rate: Any = None,
        gauge: Gauge | None = None,
        devices: Any = None,
        shard_state: bool = False,
        offload: bool = False,
    ) -> NumpyEngine:
        return NumpyEngine(NumpyStep(objective, optimizer, rate or (lambda examples: 1.0), gauge))

    def put(self, tree: Any) -> None:
        pass

    def world(self) -> World:
        return ALONE

    def saver(self) -> NumpySaver:
        return NumpySaver()

    def device_names(self) -> list[str]:
        return ["numpy:0"]

    def on_host(self) -> bool:
        return True

    def used_bytes(self) -> int | None:
        return None

    def free_bytes(self) -> int:
        return 1 << 30

    def reducer(self) -> None:
        return None  # A process has one device.
