from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.planner.rate_check import judge, rates_around

RATES = (1e-3, 3e-3, 9e-3)
INF = math.inf


def verdict(lower, base, higher):
    return judge(RATES, [lower, base, higher], examples=100).verdict


@pytest.mark.parametrize(
    ("losses", "expected", "best"),
    [
        (([0.9, 1.0, 1.1], [0.5, 0.6, 0.7], [0.8, 0.9, 1.01]), "the rule holds here", 3e-3),
        (([0.4, 0.5, 0.61], [0.5, 0.6, 0.7], [0.8, 0.9, 1.0]), "a lower rate was better", 1e-3),
        (([0.9, 1.0, 1.1], [0.5, 0.6, 0.7], [0.4, 0.5, 0.59]), "a higher rate was better", 9e-3),
        (([0.4, 0.5, 0.6], [0.5, 0.6, 0.7], [0.3, 0.4, 0.5]), "a higher rate was better", 9e-3),
        (([0.4, 0.9, 0.6], [0.5, 0.6, 0.7], [0.8, 0.9, 1.0]), "not resolved", 3e-3),
        (([0.499, 0.599, 0.699], [0.5, 0.6, 0.7], [0.8, 0.9, 1.0]), "not resolved", 3e-3),
        (([0.9, 1.0, 1.1], [0.5, 0.6, 0.7], [INF, 0.4, 0.4]), "the rule holds here", 3e-3),
        (([0.9, 1.0, 1.1], [0.5, INF, 0.7], [INF, INF, INF]), "a lower rate was better", 1e-3),
        (([INF] * 3, [INF] * 3, [INF] * 3), "not resolved", 3e-3),
    ],
)
def test_verdicts(losses, expected, best):
    check = judge(RATES, losses, examples=100)
    assert (check.verdict, check.best) == (expected, best)
    assert all(math.isfinite(number.value) for number in check.evidence())
    told = " ".join(check.remarks())
    assert (expected in told or "every rate diverged" in told) and "nan" not in told and "inf" not in told


def test_the_interval_is_students_on_paired_differences():
    check = judge(RATES, [[0.9, 1.1, 1.0], [0.5, 0.6, 0.7], [1.0, 1.0, 1.0]], examples=1)
    differences = np.array([0.4 / 0.7, 0.5 / 0.85, 0.3 / 0.85])
    half = 4.302653 * differences.std(ddof=1) / math.sqrt(3)
    mean = differences.mean()
    assert (check.lower.mean, check.lower.low, check.lower.high) == pytest.approx(
        (mean, mean - half, mean + half), rel=1e-4
    )


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=5), st.floats(0.02, 5))
def test_a_share_that_all_seeds_have_is_resolved_whatever_they_differ_in(base, share):
    """Pairing: the seeds' own levels drop out."""
    worse = [loss * (1 + share) for loss in base]
    assert verdict(worse, base, worse) == "the rule holds here"


def test_a_rate_is_seldom_moved_where_all_rates_are_alike():
    rng = np.random.default_rng(0)
    moved = sum(verdict(*rng.normal(1, 0.1, (3, 3))) != "not resolved" for _ in range(400))
    assert moved < 0.08 * 400


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ArgumentError, match="lr must be a positive number"):
        rates_around(rate)


def test_one_seed_has_no_spread():
    with pytest.raises(ArgumentError, match="seeds must be at least 2"):
        judge(RATES, [[1.0], [1.0], [1.0]], examples=1)
