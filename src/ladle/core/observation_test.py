from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.moments import Moments
from ladle.core.observation import Observation

NAMES = ("loss", "weight", "updates", "refused", "grad_sq", "metric/accuracy")
MOMENTS = tuple("noise/" + name for name in Moments.__dataclass_fields__)
sums = st.lists(st.integers(0, 1000), min_size=len(NAMES), max_size=len(NAMES)).map(lambda v: np.array(v, np.float64))


@given(one=sums, two=sums, three=sums)
def test_merging_is_adding_in_any_order(one, two, three):
    a, b, c = (Observation(NAMES, values) for values in (one, two, three))
    together = dict(zip(NAMES, (one + two + three).tolist(), strict=True))
    assert a.merge(b).merge(c).sums() == a.merge(b.merge(c)).sums() == c.merge(a).merge(b).sums() == together
    assert Observation().merge(a).sums() == a.merge(Observation()).sums() == a.sums()


def test_means_are_of_sums_not_of_means():
    small, large = (
        Observation(NAMES, np.array([8.0, 1, 1, 0, 4, 1])),
        Observation(NAMES, np.array([2.0, 9, 1, 0, 12, 4])),
    )
    reading = small.merge(large).read()
    assert reading == {"refused": 0, "train_loss": 1.0, "train_accuracy": 0.5, "grad_norm": math.sqrt(8)}


def test_nothing_observed_reads_as_nothing():
    assert Observation().read() == {"refused": 0.0}
    assert Observation(NAMES, np.zeros(6)).read() == {"refused": 0.0}


def test_refused_updates_are_seen():
    observation = Observation(NAMES, np.array([np.nan, 8, 2, 1, np.nan, 3]))
    assert observation.begun == 3
    reading = observation.read()
    assert (reading["refused"], math.isnan(reading["train_loss"]), math.isnan(reading["grad_norm"])) == (1, True, True)


def test_noise_is_read_from_two_updates_on():
    def observed(pairs):
        values = Moments.from_pairs(*zip(*pairs, strict=True), examples=64)
        return Observation(MOMENTS, np.array([getattr(values, name) for name in Moments.__dataclass_fields__]))

    assert "noise_scale" not in observed([(100.0, 0.25)]).read()
    reading = observed([(100.0, 0.25), (110.0, 0.24), (90.0, 0.26)]).read()
    assert reading["noise_scale"] == pytest.approx(400)
    assert 0 < reading["noise_scale_low"] < 400 < reading["noise_scale_high"]
    assert observed([(1.0, 2.0)]).moments() == Moments.from_pairs([1.0], [2.0], 64)


def test_different_things_are_not_added():
    with pytest.raises(ValueError, match="cannot be merged"):
        Observation(("loss",), np.ones(1)).merge(Observation(("weight",), np.ones(1)))
