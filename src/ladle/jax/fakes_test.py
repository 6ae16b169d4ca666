"""A small problem with known answers, shared by the tests of this room: three classes, five numbers, 37 examples."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ladle.core.cursor import Cursor
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Sequential
from ladle.feed.resident import ResidentFeed
from ladle.jax.objective import Objective, of_functions
from ladle.jax.optimizer import optimizer_named
from ladle.jax.step import CompiledStep

N, FEATURES, CLASSES = 37, 5, 3
_RANDOM = np.random.default_rng(0)
X = _RANDOM.normal(size=(N, FEATURES)).astype(np.float32)
Y = _RANDOM.integers(0, CLASSES, N).astype(np.int32)
SOURCE = Arrays({"x": X, "y": Y})
OFFSET = _RANDOM.normal(size=(FEATURES, CLASSES)).astype(np.float32)

ONES = np.ones(N, np.float32)
LANES: dict[str, Any] = {"resident": ResidentFeed, "host": HostFeed}


def init(key: Any) -> Any:
    """All zero, so that one step of plain SGD at rate one leaves exactly minus the gradient."""
    return {"w": jnp.zeros((FEATURES, CLASSES)), "b": jnp.zeros(CLASSES)}


def predict(params: Any, x: Any) -> Any:
    return x @ (params["w"] + OFFSET) + params["b"][None, :]


def loss(params: Any, batch: Any) -> Any:
    chances = jax.nn.log_softmax(predict(params, batch["x"]))
    return -jnp.take_along_axis(chances, batch["y"][:, None], axis=1)[:, 0]


def right(outputs: Any, y: Any) -> Any:
    return jnp.argmax(outputs, 1) == y


OBJECTIVE = of_functions(init, loss, predict=predict, metrics={"accuracy": right})


def start_counting(key: Any) -> Any:
    return init(key), {"batches": jnp.zeros((), jnp.int32), "mean": jnp.zeros(FEATURES)}


def counting(params: Any, model_state: Any, batch: Any):
    """A model with a state: micro-batches seen, and a running mean of their inputs."""
    mean = 0.5 * model_state["mean"] + 0.5 * batch["x"].mean(0)
    return loss(params, batch), {"batches": model_state["batches"] + 1, "mean": mean}


COUNTING = of_functions(start_counting, counting, has_state=True)


def sgd(objective: Objective = OBJECTIVE, **options: Any) -> CompiledStep:
    return CompiledStep(objective, optimizer_named("sgd"), **options)


def feed_of(lane: str, weight: Any = ONES, *, source: Arrays = SOURCE, order: Any = None) -> Any:
    """Examples as they are stored, unless told otherwise: the order that compiles fastest."""
    return LANES[lane](source, order or Sequential(len(source)), weight)


def run(step: CompiledStep, feed: Any, spec: BatchSpec, *, start: int = 0, seed: int = 0, **hyper: float) -> Any:
    """`(state, observation, draw)` after `spec.updates` updates from position `start` on, at learning rate one."""
    draw, _ = feed.draw(Cursor(start), spec)
    state, observation = step(step.init(seed, {"lr": 1.0, **hyper}), draw, spec, 1.0)
    return state, observation, draw


def gradient(state: Any) -> np.ndarray:
    """The gradient that plain SGD at rate one took from zero parameters."""
    return -flat(state.params)


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


@jax.jit
def _masked(params: Any, weight: Any) -> Any:
    return jnp.sum(weight * loss(params, SOURCE.tree)) / jnp.sum(weight)


def reference(ids: np.ndarray, weight: Any = None) -> tuple[np.ndarray, float]:
    """`(gradient, loss)` of the weighted mean over examples `ids`, by one plain `jax.grad` over the whole batch."""
    mask = np.zeros(N, np.float32)
    mask[ids] = 1 if weight is None else np.asarray(weight, np.float32)[ids]
    value, gradient = jax.value_and_grad(_masked)(init(None), mask)
    return flat(gradient), float(value)


def gradients_of(ids: np.ndarray) -> np.ndarray:
    """`f64[k, parameters]`, one gradient an example, at zero parameters."""
    return np.stack([reference(np.array([i]))[0] for i in ids])


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def same(one: Any, other: Any) -> bool:
    """Bit for bit."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in pairs)
