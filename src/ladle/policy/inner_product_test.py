from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.core.moments import Moments
from ladle.core.noise import NoiseScale
from ladle.policy.inner_product import InnerProduct
from ladle.policy.range import Range

SIZES = Range(16, 2048, micro_size=256)


def exactly(trace: float, square: float) -> NoiseScale:
    """A noise scale known without error."""
    phi = trace / square
    return NoiseScale(phi, phi, phi, "resolved", gradient_sq=square, trace=trace)


def test_the_inner_product_test_in_closed_form() -> None:
    # Var(g_i'G) = G'Sigma G for a given Sigma and G.
    rng = np.random.default_rng(1)
    g, root = rng.standard_normal(6), rng.standard_normal((6, 6))
    sigma = root @ root.T
    s, q, along = float(np.trace(sigma)), float(g @ g), float(g @ sigma @ g)
    x = g + rng.standard_normal((200_000, 6)) @ root.T
    assert along == pytest.approx(((x - x.mean(0)) @ g).var(), rel=0.02)
    policy = InnerProduct(SIZES, theta=0.5, nu=0.3)
    inner, across = along / (0.25 * q * q), (s - along / q) / (0.09 * q)
    assert policy.asked(exactly(s, q), along).value == pytest.approx(max(inner, across))
    assert InnerProduct(SIZES, 0.5, nu=math.inf).asked(exactly(s, q), along).value == pytest.approx(inner)


def test_the_inner_product_test_waits_for_a_projection() -> None:
    sums = Moments.from_pairs([93.0, 92.0, 94.0] * 9, [0.1, 0.11, 0.09] * 9, 12_800)
    reading = {f"noise/{name}": value for name, value in vars(sums).items()}
    policy = InnerProduct(SIZES, nu=1.0)
    memory, _ = policy.decide(policy.init(None), Progress())
    assert policy.decide(memory, Progress(12_800, reading=reading))[1].spec.size == 16
    reading |= {"noise/projection": 27 * 0.5, "noise/projections": 27.0}
    assert policy.decide(memory, Progress(12_800, reading=reading))[1].spec.size == 32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InnerProduct(SIZES, nu=0), "nu must be above 0"),
    ],
)
def test_impossible_policies_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
