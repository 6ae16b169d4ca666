from __future__ import annotations

import math
from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.order import Sequential
from ladle.feed.resident import ResidentFeed
from ladle.jax.objective import of_functions
from ladle.jax.optimizer import optimizer_named
from ladle.jax.step import CompiledStep
from ladle.planner.sweep import best_rate, sweep

# w^2 / 2 for every example: an update at rate r multiplies w by 1 - r, from w = 1 on, whatever the batch.
PARABOLA = of_functions(lambda key: {"w": jnp.ones(())}, lambda params, batch: params["w"] ** 2 / 2 + batch["x"])
SOURCE = Arrays({"x": np.zeros(12, np.float32)})
RATES = (0.1, 0.5, 1.5, 3.0, 1e30)


def test_the_loss_is_that_of_the_last_third(compilations: Counter[str]):
    """Six updates; the losses of the last two are (1-r)^8 / 2 and (1-r)^10 / 2."""
    step = CompiledStep(PARABOLA, optimizer_named("sgd"))
    found = sweep(step, ResidentFeed(SOURCE, Sequential(12)), BatchSpec(4, 4), RATES, examples=24)
    expected = [((1 - r) ** 8 + (1 - r) ** 10) / 4 for r in RATES[:4]]
    assert [rate for rate, _ in found] == list(RATES)
    assert [loss for _, loss in found[:4]] == pytest.approx(expected, rel=1e-4)
    assert found[4][1] == math.inf
    assert best_rate(found) == 0.5
    assert compilations["_trace_window"] == 1


def test_one_update_is_enough():
    step = CompiledStep(PARABOLA, optimizer_named("sgd"))
    assert sweep(step, ResidentFeed(SOURCE, Sequential(12)), BatchSpec(12, 12), [0.1], examples=1) == [(0.1, 0.5)]


def test_where_all_diverge_there_is_no_best():
    assert best_rate([(1.0, math.inf), (2.0, math.inf)]) is None
