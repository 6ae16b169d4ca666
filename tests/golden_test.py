"""Numbers that a change of the code must not change by accident. Where one is meant to, say so in the changelog.

One tiny run through everything that decides a number: order, step, accumulation, optimiser, schedules of rate and
size, the loop. Losses to 1e-5, since libraries may round differently; ids exactly.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.carry import Carry
from ladle.core.duration import Until
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted
from ladle.feed.resident import ResidentFeed
from ladle.feed.stratified import Stratified
from ladle.feed.weighted import Weighted
from ladle.jax.objective import of_functions
from ladle.jax.optimizer import optimizer_named
from ladle.jax.rate import rate_from_text
from ladle.jax.step import CompiledStep
from ladle.loop.train import train
from ladle.policy.steps import Steps

N = 50
GRID = np.linspace(-3, 3, N, dtype=np.float32)
SOURCE = Arrays({"x": np.stack([GRID, GRID**2], 1), "y": np.sin(2 * GRID)})

LINES = [
    # examples, updates, size, loss, gradient norm
    (50, 7, 8, 0.6144049, 0.8890061),
    (100, 14, 8, 0.4242770, 0.9838568),
    (150, 17, 20, 0.3460091, 1.134857),
    (200, 20, 20, 0.2940234, 0.8719100),
]


def init(key: Any) -> Any:
    first, second = jax.random.split(key)
    return {"in": jax.random.normal(first, (2, 8)), "out": jax.random.normal(second, (8,)) / 8}


def loss(params: Any, batch: Any, key: Any) -> Any:
    return (jnp.tanh(batch["x"] @ params["in"]) @ params["out"] - batch["y"]) ** 2


@pytest.mark.parametrize("feed", [ResidentFeed, HostFeed])
def test_losses(feed: Any):
    rate = rate_from_text("cosine, warmup 1 epoch", total=4 * N, epoch_size=N)
    step = CompiledStep(of_functions(init, loss), optimizer_named("adam"), rate=rate)
    policy = Steps(((0, 8), (2 * N, 20)), micro_size=8, coupling="square root")
    carry = Carry(step.init(11, {"lr": 0.05}), memory=policy.init(None))
    found = [
        (line["examples"], line["updates"], line["size"], line["train_loss"], line["grad_norm"])
        for line, _ in train(carry, feed(SOURCE, Permuted(N, 5)), step, policy, Until(epochs=4))
    ]
    assert [line[:3] for line in found] == [line[:3] for line in LINES]
    np.testing.assert_allclose([line[3:] for line in found], [line[3:] for line in LINES], rtol=1e-5)


ORDERS = {
    "permuted": (Permuted(12, 3), 6, [9, 7, 8, 5, 0, 11, 0, 4, 3, 8, 1, 6]),
    "permuted, large": (
        Permuted(10**12, 3),
        10**12 - 3,
        [521700989879, 587197662392, 556814119513, 565447066595, 857207967718],
    ),
    "weighted": (Weighted([1.0, 2.0, 3.0, 0.0, 4.0], 3), 3, [2, 2, 2, 0, 4, 2, 4, 4, 1, 2, 4, 2]),
    "stratified": (Stratified([0, 0, 0, 0, 0, 0, 1, 1, 1, 2], 3), 5, [5, 9, 4, 0, 8, 4, 6, 0, 2, 7, 3, 9]),
}


@pytest.mark.parametrize("name", ORDERS)
def test_orders(name: str):
    order, start, ids = ORDERS[name]
    assert order.ids(start, len(ids)).tolist() == ids
