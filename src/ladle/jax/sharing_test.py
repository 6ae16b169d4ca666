"""A second task of equal meaning traces and compiles nothing; one that differs at all has its own right numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted, Sequential
from ladle.feed.resident import ResidentFeed
from ladle.jax.engine import JaxEngine
from ladle.jax.objective import of_functions, of_model
from ladle.jax.optimizer import optimizer_named
from ladle.jax.programs import forget
from ladle.jax.rate import constant_rate, rate_from_text
from ladle.jax.step import CompiledStep
from ladle.models import as_model, convnet, from_equinox, mlp
from ladle.models.losses import cross_entropy, huber
from ladle.models.metrics import accuracy

MODEL = mlp(6, 8, 3)
TRACED = "/jax/core/compile/jaxpr_trace_duration"
SPEC, CUT = BatchSpec(16, 16, updates=3), BatchSpec(16, 8, updates=3)


@pytest.fixture
def traces() -> Iterator[Counter[str]]:
    """Functions that JAX traces during the test, by name."""
    counts: Counter[str] = Counter()

    def traced(event: str, seconds: float, **facts: object) -> None:
        if event == TRACED:
            counts[str(facts.get("fun_name"))] += 1

    jax.monitoring.register_event_duration_secs_listener(traced)
    yield counts
    jax.monitoring.unregister_event_duration_listener(traced)


@dataclass(frozen=True)
class Told:
    """All that a task is made of."""

    model: Any = MODEL
    loss: Callable[..., Any] = cross_entropy
    metrics: Mapping[str, Any] | None = None
    optimizer: Any = "adam"
    rate: Any = constant_rate
    gauge: Gauge | None = None
    moments: bool = True
    data: int = 0
    seed: int = 0
    hyper: Mapping[str, float] | None = None
    dtype: str = "float32"
    shape: tuple[int, ...] = (6,)
    feed: Callable[..., Any] = ResidentFeed

    def engine(self) -> JaxEngine:
        objective = of_model(as_model(self.model), self.loss, {"accuracy": accuracy, **(self.metrics or {})})
        rule = optimizer_named(self.optimizer)
        return JaxEngine(CompiledStep(objective, rule, rate=self.rate, gauge=self.gauge, moments=self.moments))

    def rows(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng(self.data)
        x = random.normal(size=(40, *self.shape)).astype(self.dtype)
        return {"x": x, "y": random.integers(0, 3, 40).astype(np.int32)}

    def trained(self) -> tuple[Any, ...]:
        """Parameters after three updates, and what was observed."""
        step, feed = self.engine().step, self.feed(Arrays(self.rows()), Sequential(40))
        draw, _ = feed.draw(feed.start(), SPEC)
        state, observation = step(step.init(self.seed, self.hyper), draw, SPEC)
        return jax.tree.leaves(state.params), list(observation.sums().values())

    def answers(self) -> tuple[Any, ...]:
        """What the task comes to: parameters, what was observed, readings, outputs, losses."""
        engine, rows = self.engine(), self.rows()
        feed = self.feed(Arrays(rows), Permuted(40, seed=self.seed))
        state = engine.step.init(self.seed, self.hyper)
        found = []
        for spec in (SPEC, CUT):
            draw, _ = feed.draw(feed.start(), spec)
            state = engine.step.prepare(state, draw, spec)
            state, observation = engine.step(state, draw, spec, 1.0)
            found.append(list(observation.sums().values()))
        placed = engine.place(rows)
        read = engine.evaluate(state, placed), engine.predict(state, rows["x"]), engine.losses(state, placed)
        return jax.tree.leaves(state.params), found, *read, engine.output_width(rows["x"])


def alike(one: Any, other: Any) -> bool:
    """Bit for bit."""
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    return all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in pairs)


def afresh(told: Told) -> Any:
    """Its answers by programs that nobody used before."""
    forget()
    return told.trained()


class Net(eqx.Module):
    layer: eqx.nn.Linear

    def __init__(self, key: Any, width: int = 3) -> None:
        self.layer = eqx.nn.Linear(6, width, key=key)

    def __call__(self, x: Any) -> Any:
        return self.layer(x)


MODULE = from_equinox(Net)  # Taken apart once: that is a trace of its own.
TASKS = {
    "mlp": lambda: Told(mlp(6, 8, 3)),
    "sgd": lambda: Told(mlp(6, 3), optimizer="sgd"),
    "convnet": lambda: Told(convnet((4, 4), 3, width=2), shape=(4, 4)),
    "dropout": lambda: Told(mlp(6, 8, 3, dropout=0.25), optimizer="lion"),
    "equinox": lambda: Told(MODULE, optimizer=optax.adam(1e-3)),
    "lambda": lambda: Told(loss=lambda outputs, y: 2 * cross_entropy(outputs, y)),
    "gauge": lambda: Told(gauge=Gauge(parts=4, geometry="preconditioned")),
    "schedule": lambda: Told(rate=rate_from_text("cosine", total=1000, epoch_size=40)),
    "host": lambda: Told(feed=HostFeed),
    "gauge, host": lambda: Told(gauge=Gauge(parts=4, geometry="preconditioned"), feed=HostFeed),
}


LONG = ("convnet", "dropout", "gauge", "host", "lambda", "mlp", "schedule", "sgd")
"""What is left is a tree that was taken apart with a plain lane, and a built-in model with all that can be asked."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in LONG else name for name in TASKS]
)
def test_a_second_task_traces_and_compiles_nothing(name: str, traces: Counter[str], compilations: Counter[str]):
    TASKS[name]().answers()
    traces.clear()
    compilations.clear()
    other = replace(TASKS[name](), data=1, seed=7, hyper={"lr": 0.05})
    other.answers()
    assert (dict(traces), dict(compilations)) == ({}, {})
    assert alike(other.trained(), afresh(other))


NEAR_MISSES = {
    "activation": Told(mlp(6, 8, 3, activation="tanh")),
    "width": Told(mlp(6, 9, 3)),
    "dropout": Told(mlp(6, 8, 3, dropout=0.5)),
    "loss": Told(loss=lambda outputs, y: 2 * cross_entropy(outputs, y)),
    "huber": Told(loss=lambda outputs, y: huber(0.5)(outputs, jax.nn.one_hot(y, 3))),
    "other huber": Told(loss=lambda outputs, y: huber(0.25)(outputs, jax.nn.one_hot(y, 3))),
    "metric": Told(metrics={"accuracy": lambda outputs, y: 2 * accuracy(outputs, y)}),
    "one more metric": Told(metrics={"again": accuracy}),
    "optimizer": Told(optimizer="lion"),
    "transformation": Told(optimizer=optax.adam(1e-3, b1=0.5)),
    "gauge": Told(gauge=Gauge(parts=4)),
    "geometry": Told(gauge=Gauge(parts=4, geometry="preconditioned")),
    "no moments": Told(moments=False),
    "rate": Told(rate=rate_from_text("cosine", total=1000, epoch_size=40)),
    "longer rate": Told(rate=rate_from_text("cosine", total=2000, epoch_size=40)),
    "dtype": Told(dtype="float16"),
    "equinox": Told(from_equinox(Net)),
}


ONE_OF_A_KIND = ("loss", "optimizer", "gauge")
"""Near misses that are tried every time: each of another ingredient."""


@pytest.mark.parametrize("names", [ONE_OF_A_KIND, pytest.param(tuple(NEAR_MISSES), marks=pytest.mark.long)])
def test_near_misses_are_compiled_anew_and_have_their_own_right_numbers(
    names: tuple[str, ...], compilations: Counter[str]
):
    """Each after all the others, by kept programs, and again by fresh ones."""
    plain, kept = Told().trained(), {}
    for number, name in enumerate(names, 2):
        kept[name] = NEAR_MISSES[name].trained()
        assert compilations["_trace_window"] == number, name
    assert alike(plain, Told().trained())
    for name in names:
        assert alike(kept[name], afresh(NEAR_MISSES[name])), name


SCALE: Any = 1.0


def scaled(outputs: Any, y: Any) -> Any:
    return SCALE * cross_entropy(outputs, y)


@pytest.mark.usefixtures("compilations")  # what others compiled is kept for them
def test_a_loss_whose_global_or_array_changed_is_traced_anew(monkeypatch: pytest.MonkeyPatch):
    weights = np.ones(3, np.float32)
    by_class = Told(loss=lambda outputs, y: jnp.asarray(weights)[y] * cross_entropy(outputs, y))
    one, other = Told(loss=scaled).trained(), by_class.trained()
    assert alike(one, other)
    monkeypatch.setattr(f"{__name__}.SCALE", 2.0)
    weights[:] = 2
    again = Told(loss=scaled).trained(), by_class.trained()
    assert alike(*again) and not alike(again[0], one)
    assert alike(again[0], afresh(Told(loss=scaled)))


def test_modules_that_start_from_given_numbers_share_all_but_their_start(compilations: Counter[str]):
    one = Told(Net(jax.random.key(1))).trained()
    compilations.clear()
    other = Told(Net(jax.random.key(2))).trained()
    assert set(compilations) <= {"_trace_init"} and not alike(one, other)


def test_plain_functions_are_shared_by_what_they_are(traces: Counter[str], compilations: Counter[str]):
    def answers(scale: float) -> Any:
        objective = of_functions(lambda key: jnp.zeros(6), lambda w, batch: (scale * batch["x"] @ w - 1.0) ** 2)
        step, feed = (
            CompiledStep(objective, optimizer_named("sgd")),
            ResidentFeed(Arrays(Told().rows()), Sequential(40)),
        )
        draw, _ = feed.draw(feed.start(), SPEC)
        return step(step.init(0), draw, SPEC)[0].params

    first = answers(1.0)
    traces.clear()
    compilations.clear()
    assert alike(answers(1.0), first) and (dict(traces), dict(compilations)) == ({}, {})
    assert not alike(answers(2.0), first) and compilations["_trace_window"] == 1


def test_a_search_and_a_probe_of_an_equal_task_compile_nothing(traces: Counter[str], compilations: Counter[str]):
    def ask(seed: int) -> None:
        told = Told(data=seed)
        engine, feed = told.engine(), ResidentFeed(Arrays(told.rows()), Permuted(40, seed=seed))
        folds = np.array_split(np.arange(40), 4)
        trials = engine.trials(engine.place(told.rows()), None, folds, [8, 16], None)
        trials.prepare(Permuted(40, seed=seed), [8, 16])
        state, _ = trials.advance(trials.start(seed, {"lr": 0.01 * (seed + 1)}), Permuted(40, seed=seed), 16, 0, 3)
        trials.score(state, seed)
        probe = engine.probe(feed, SPEC, hyper={"lr": 0.01}, seed=seed)
        assert probe.memory_bytes(SPEC) > 0
        probe.moments(CUT, 2)
        engine.sharpness(state, told.rows())

    ask(0)
    traces.clear()
    compilations.clear()
    ask(1)
    assert (dict(traces), dict(compilations)) == ({}, {})
