from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.scaling.levels import AddedNoise, Level, from_json, to_json

SIZE = st.integers(1, 10**6)


@given(SIZE, SIZE, st.floats(0, 1), st.floats(-1, 1), st.floats(0, 0.9))
def test_levels_stay_within_their_limits_and_follow_the_power(size, reference, base, power, most):
    level = Level("weight_decay", base, power, most)
    assert 0 <= level.at(size, reference) <= most
    assert Level("weight_decay", base, power).at(reference, reference) == base
    assert Level("weight_decay", base, power).at(size, reference) == pytest.approx(base * (size / reference) ** power)


@given(st.floats(0, 1e3), st.integers(1, 10**6), SIZE, SIZE)
def test_added_noise_restores_the_variance_of_the_reference(trace, parameters, size, reference):
    added = AddedNoise(trace, parameters).at(size, reference)
    total = trace / size + parameters * added
    assert total == pytest.approx(trace / min(size, reference))


def test_added_noise_against_draws():
    """Batches of 4 without, and of 16 with the noise: the same variance of the mean gradient."""
    rng, d = np.random.default_rng(0), 20
    sds = np.linspace(0.5, 2, d)
    gradients = rng.standard_normal((40_000, 16, d)) * sds
    added = AddedNoise((sds**2).sum(), d).at(16, 4)
    large = gradients.mean(1) + np.sqrt(added) * rng.standard_normal((40_000, d))
    assert (large**2).sum(1).mean() == pytest.approx((gradients[:, :4].mean(1) ** 2).sum(1).mean(), rel=0.02)


@pytest.mark.parametrize("level", [Level("dropout", 0.1, 0.5, 0.4), Level("weight_decay", 0.1, 1), AddedNoise(2.0, 7)])
def test_levels_go_through_json(level):
    assert from_json(to_json(level)) == level and hash(level) == hash(from_json(to_json(level)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Level("drop", 0.1, 0.5), "level must be one of dropout"),
        (lambda: Level("dropout", -0.1, 0.5), "dropout must have a base"),
        (lambda: Level("dropout", 1.0, 0.5), "dropout must stay below 1"),
        (lambda: Level("label_smoothing", 0.1, 0.5, most=1.0), "label_smoothing must stay below 1"),
        (lambda: Level("weight_decay", 0.1, float("nan")), "weight_decay must have"),
        (lambda: AddedNoise(1.0, 0), "gradient_noise must have"),
    ],
)
def test_impossible_levels_are_refused(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
