from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.hyperbola import fit_hyperbola
from ladle.critical.definition import (
    critical_from_share,
    definitions,
    examples_size,
    fewest_examples,
    share_size,
    steps_saved,
    steps_size,
)

positive = st.floats(1e-3, 1e6)


@given(positive, positive, st.floats(0.01, 2))
def test_definitions_turn_into_each_other(critical: float, base: float, share: float):
    size = share_size(critical, share=share, base=base)
    assert critical_from_share(size, share=share, base=base) == pytest.approx(critical, rel=1e-4, abs=1e-6 * base)


@given(positive, st.floats(0.01, 2), st.floats(1, 1e5))
def test_each_size_meets_its_own_definition(critical: float, share: float, least_steps: float):
    def steps(size: float) -> float:
        return least_steps * (1 + critical / size)

    assert steps(steps_size(critical, share=share)) == pytest.approx((1 + share) * least_steps)
    size = examples_size(critical, share=share)
    assert size * steps(size) == pytest.approx((1 + share) * least_steps * critical)
    size = share_size(critical, share=share)
    assert size * steps(size) == pytest.approx((1 + share) * 256 * steps(256))


def test_every_definition_has_a_name_an_interval_and_a_source():
    fit = fit_hyperbola([64, 128, 256, 1024, 4096], [46000, 23000, 13282, 3840, 1917])
    found = definitions(fit)
    assert [one.name for one in found][:2] == ["Bc = E_min/S_min", "B_20% from 256"]
    assert found[0].value == fit.critical and (found[0].low, found[0].high) == fit.interval
    assert found[1].value == share_size(fit.critical)
    assert all(one.low < one.value < one.high and "20" in one.source for one in found)


def test_no_hyperbola_scales_worse_than_not_at_all():
    with pytest.raises(ArgumentError, match="307.2"):
        critical_from_share(300)


def test_the_fewest_examples_of_a_table():
    found = [fewest_examples([8, 16, 32], steps) for steps in ([60, 25, 20], [10, 9, 8], [90, 40, 15])]
    assert [(one.low, one.value, one.high) for one in found] == [(8, 16, 32), (0, 8, 16), (16, 32, math.inf)]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: critical_from_share(500, share=0), "share"),
        (lambda: steps_size(100, share=0), "share"),
        (lambda: examples_size(100, share=math.inf), "share"),
        (lambda: share_size(100, share=-1), "share"),
        (lambda: share_size(100, base=math.nan), "base"),
        (lambda: steps_saved([(0, 8)], 9, base=0), "base"),
    ],
)
def test_shares_and_bases_that_mean_nothing(call, name):
    with pytest.raises(ArgumentError, match=f"{name} must be a positive number"):
        call()


def test_the_published_arithmetic_of_steps_saved():
    warmup = [(0, 1024), (168e9, 2048), (503e9, 4096)]
    assert steps_saved(warmup, 658e9) == pytest.approx(0.4312, abs=5e-5)
    assert steps_saved(warmup, 608e9) == pytest.approx(0.405, abs=5e-4)
    assert steps_saved([(0, 4096)], 658e9, base=1024) == 0.75


@pytest.mark.parametrize("segments", [[], [(1, 2)], [(0, 1), (5, 2), (4, 3)], [(0, 1), (9, 2)], [(0, 0)]])
def test_segments_that_are_no_schedule(segments):
    with pytest.raises(ArgumentError, match="segments must ascend"):
        steps_saved(segments, 9)
