from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.policy.divebatch import DiveBatch, diversity
from ladle.policy.range import Range

SIZES = Range(16, 2048, micro_size=256)


def test_divebatch_is_one_plus_the_noise_scale() -> None:
    rng, (n, d) = np.random.default_rng(0), (12, 3)
    x = rng.standard_normal((n, d)) + 0.3
    mean = x.mean(0)
    delta = (x**2).sum() / (x.sum(0) ** 2).sum()
    phi = ((x - mean) ** 2).sum() / n / (mean @ mean)
    assert n * delta == pytest.approx(17.005028, abs=5e-7)
    assert diversity(phi) == pytest.approx(n * delta, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiveBatch(SIZES, -1), "delta must be above 0"),
    ],
)
def test_impossible_policies_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
