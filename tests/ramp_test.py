"""A learning-rate schedule under a batch ramp, through the real loop: both count examples, so both end where told."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.carry import Carry
from ladle.core.duration import Until
from ladle.feed.arrays import Arrays
from ladle.feed.order import Sequential
from ladle.feed.resident import ResidentFeed
from ladle.jax.objective import of_functions
from ladle.jax.optimizer import optimizer_named
from ladle.jax.rate import rate_from_text
from ladle.jax.step import CompiledStep
from ladle.loop.train import train
from ladle.policy import Steps

END, RAMP = 100 * 16, 160


@cache
def sgd() -> CompiledStep:
    """Each update moves w by exactly its learning rate."""
    objective = of_functions(lambda key: {"w": jnp.zeros(())}, lambda params, batch: batch["x"] * -params["w"])
    rate = rate_from_text(f"linear, warmup {RAMP} examples", total=END, epoch_size=END)
    return CompiledStep(objective, optimizer_named("sgd"), rate=rate)


def climb(until: Until) -> list[tuple[int, int, float]]:
    """`(examples, updates, w)` after each window."""
    feed: Any = ResidentFeed(Arrays({"x": np.ones(END, np.float32)}), Sequential(END), None)
    policy = Steps(((0, 8), (RAMP, 16)), micro_size=16)
    carry = Carry(sgd().init(0, {"lr": 1.0}), memory=policy.init(None))
    return [
        (line["examples"], line["updates"], float(carry.state.params["w"]))
        for line, carry in train(carry, feed, sgd(), policy, until, window=16)
    ]


def test_warmup_and_decay_end_at_the_examples_they_were_told() -> None:
    """NVIDIA-NeMo/Megatron-Bridge#2609: 100 iterations at 16, ramp from 8 over 160 samples.

    Counted in iterations the run consumes 1440 samples and the decay over 1600 never completes.
    """
    found = climb(Until(examples=END))
    assert found[-1][:2] == (END, 20 + 90)
    rises = np.diff([0.0, *(w for _, _, w in found)])
    starts = np.arange(0, END, 16)
    warm = starts < RAMP  # windows of two updates of 8 each
    np.testing.assert_allclose(rises[warm], (2 * starts[warm] + 8) / RAMP, rtol=1e-5)
    np.testing.assert_allclose(rises[~warm], (END - starts[~warm]) / (END - RAMP), rtol=1e-4)
    assert rises[starts == RAMP] == pytest.approx(1.0, rel=1e-5), "the warmup is over at 160 examples"
    assert rises[-1] == pytest.approx(16 / (END - RAMP), rel=1e-3), "and the decay at 1600"


def test_as_many_updates_as_without_the_ramp_end_before_the_decay_does() -> None:
    """The accident of the report. (From a text, a schedule is refused where `until` does not count examples.)"""
    found = climb(Until(updates=100))
    assert found[-1][:2] == (1440, 100)
    assert found[-1][2] - found[-2][2] == pytest.approx((END - 1424) / (END - RAMP), rel=1e-3)
