from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.feed.mixture import PERIOD, Mixture, _whole_shares
from ladle.feed.order import Permuted, Sequential
from ladle.feed.weighted import Weighted

SIZES = {"a": 50, "b": 7, "c": 23, "d": 1}
FIRST = dict(zip(SIZES, np.cumsum([0, *SIZES.values()]).tolist(), strict=False))
weight = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, 7.0])  # Whole shares of a short period: quickly laid out.
weights = st.fixed_dictionaries({name: weight for name in SIZES}).filter(lambda shares: any(shares.values()))
SEEDS = st.integers(0, 2**64 - 1)
few = settings(max_examples=20)
rng = np.random.default_rng(0)


def share(shares: dict[str, float]) -> dict[str, float]:
    return {name: value / sum(shares.values()) for name, value in shares.items()}


def bound(shares: dict[str, float]) -> float:
    active = sum(value > 0 for value in shares.values())
    return 1 - 1 / (2 * active - 2) if active > 1 else 0.0


def counts(ids: np.ndarray) -> dict[str, int]:
    owner = np.searchsorted(list(FIRST.values()), ids, side="right") - 1
    return dict(zip(SIZES, np.bincount(owner, minlength=len(SIZES)).tolist(), strict=True))


uneven = st.sampled_from([dict(zip(SIZES, rng.random(4).tolist(), strict=True)) for _ in range(4)])


@given(weights | uneven, SEEDS, st.integers(0, 10**11), st.integers(1, 300))
@few
def test_every_stretch_holds_the_sources_in_proportion(shares, seed, start, count):
    order = Mixture(SIZES, shares, seed=seed)
    seen = counts(order.ids(start, count))
    for name, wanted in share(shares).items():
        assert abs(seen[name] - count * wanted) <= 2 * bound(shares) + count / PERIOD + 1e-6
        assert wanted or not seen[name]
    before = order.where(start)
    for name, wanted in share(shares).items():
        assert abs(before[name] - start * wanted) <= bound(shares) + start / PERIOD + 1e-6


@given(weights, SEEDS, st.booleans(), st.sampled_from([11, 33, 100]))
@few
def test_each_source_goes_through_passes_of_its_own(shares, seed, exact, block):
    order = Mixture(SIZES, shares, seed=seed, exact=exact, block=block)
    ids = order.ids(0, 300)
    for name, size in SIZES.items():
        own = ids[(ids >= FIRST[name]) & (ids < FIRST[name] + size)] - FIRST[name]
        np.testing.assert_array_equal(own, order.orders[name].ids(0, len(own)))
        for one in own[: len(own) // size * size].reshape(-1, size):
            assert sorted(one) == list(range(size))


schedules = st.lists(st.tuples(st.integers(1, 90), weights), min_size=1, max_size=4)


def scheduled(phases: list[Any]) -> dict[int, dict[str, float]]:
    starts = itertools.accumulate((length for length, _ in phases), initial=0)
    return dict(zip(starts, [shares for _, shares in phases], strict=False))


@given(schedules, SEEDS, st.booleans(), st.integers(20, 60))
@few
def test_counts_go_on_where_the_weights_change(phases, seed, exact, block):
    """`where` is what was drawn, at every position; within each phase in proportion."""
    schedule = scheduled(phases)
    order = Mixture(SIZES, schedule=schedule, seed=seed, exact=exact, block=block)
    ids = order.ids(0, 400)
    for position in {0, *schedule, *(start - 1 for start in schedule if start), 123, 399, 400}:
        assert order.where(position) == counts(ids[:position])
    if exact:
        for start, stop in itertools.pairwise([*schedule, 400]):
            for name, wanted in share(schedule[start]).items():
                seen = order.where(stop)[name] - order.where(start)[name]
                assert abs(seen - (stop - start) * wanted) <= bound(schedule[start]) + 0.01


@given(schedules, SEEDS, st.booleans(), st.integers(0, 10**11), st.integers(20, 60))
@few
def test_any_cut_of_the_positions_gives_the_same_ids(phases, seed, exact, start, block):
    order = Mixture(SIZES, schedule=scheduled(phases), seed=seed, exact=exact, block=block)
    for first in (0, start):
        parts = [order.ids(first + a, b - a) for a, b in itertools.pairwise([0, 1, 8, 8, 120])]
        np.testing.assert_array_equal(np.concatenate(parts), order.ids(first, 120))


def test_on_average_a_block_is_exact_and_a_batch_is_not():
    shares = {"a": 0.5, "b": 0.3, "c": 0.2, "d": 0}
    order = Mixture(SIZES, shares, exact=False, block=1000, seed=3)
    ids = order.ids(0, 20_000)
    assert all(counts(block) == {"a": 500, "b": 300, "c": 200, "d": 0} for block in ids.reshape(-1, 1000))
    seen = np.array([counts(batch)["a"] for batch in ids.reshape(-1, 50)])
    hypergeometric = 50 * 0.5 * 0.5 * 950 / 999
    assert ((seen - 25) ** 2).mean() / hypergeometric == pytest.approx(1, abs=0.25)
    assert counts(order.ids(20_000, 1000)) == counts(ids[:1000])
    assert (order.ids(0, 1000) % 81 != order.ids(1000, 1000) % 81).any()


def test_far_positions_are_as_near_as_the_first():
    orders = {"web": Permuted(10**12, 1), "books": Permuted(10**9, 2)}
    order = Mixture(orders, schedule={0: {"web": 9, "books": 1}, 10**10: {"web": 0.75, "books": 0.25}})
    assert order.where(10**11) == {"web": 9 * 10**9 + 675 * 10**8, "books": 10**9 + 225 * 10**8}
    ids = order.ids(10**11, 8)
    own = orders["books"].ids(10**9 + 225 * 10**8, 2) + 10**12
    np.testing.assert_array_equal(ids[ids >= 10**12], own)


def test_sources_have_orders_and_seeds_of_their_own():
    orders = {"a": Sequential(3), "b": Weighted([0.0, 1.0, 0.0, 0.0], draws=2), "c": 1000, "d": 1000}
    order = Mixture(orders, {"a": 1, "b": 1, "c": 1, "d": 1}, draws=17)
    ids = order.ids(0, 4000)
    assert ids[ids < 3].tolist()[:7] == [0, 1, 2, 0, 1, 2, 0]
    assert set(ids[(ids >= 3) & (ids < 7)].tolist()) == {4}
    assert (ids[(ids >= 7) & (ids < 1007)] - 7 == ids[ids >= 1007] - 1007).sum() < 8
    assert (order.epoch_size, order.examples) == (17, 2007)
    assert (ids != Mixture(orders, {"a": 1, "b": 1, "c": 1, "d": 1}, seed=1).ids(0, 4000)).mean() > 0.4


def test_it_travels_to_another_process():
    order = Mixture({"a": 5, "b": 5}, {"a": 1, "b": 2})
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(order)).ids(3, 9), order.ids(3, 9))


@given(st.lists(st.floats(1e-3, 1), min_size=1, max_size=30))
@few
def test_shares_are_whole_and_near(values):
    fractions = np.array(values) / np.sum(values)
    shares = _whole_shares(fractions)
    assert shares.sum() <= PERIOD
    assert np.abs(shares / shares.sum() - fractions).max() < 1 / PERIOD


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Mixture({}, {}), "orders must name at least one source"),
        (lambda: Mixture(SIZES), "weights must be given, or a schedule; got 'neither'"),
        (lambda: Mixture({"a": 1}, {"a": 1}, schedule={0: {"a": 1}}), "got 'both'"),
        (lambda: Mixture({"a": 1, "b": 1}, {"a": 1, "c": 1}), "weights must name sources; got 'c'"),
        (lambda: Mixture({"a": 1, "b": 1}, {"a": 1}), "weights must be given for every source.*'b' has none"),
        (lambda: Mixture({"a": 1, "b": 1}, {"a": 0, "b": 0}), "weights must not all be zero"),
        (lambda: Mixture({"a": 1, "b": 1}, {"a": 1, "b": -1}), "weights must be finite and not negative"),
        (lambda: Mixture({"a": 1, "b": 1}, {"a": 1, "b": float("nan")}), "weights must be finite and not negative"),
        (lambda: Mixture({"a": 1, "b": 1}, {"a": 1, "b": float("inf")}), "weights must be finite and not negative"),
        (lambda: Mixture({"a": 1, "b": 1}, {"a": 1, "b": 1.234e-6}), "weight of 'b' must be at least 1 / 65536"),
        (lambda: Mixture({"a": 1}, schedule={5: {"a": 1}}), "schedule must have whole positions that rise from 0"),
        (lambda: Mixture({"a": 1}, schedule={}), "schedule must have whole positions"),
        (lambda: Mixture({"a": 1}, schedule={0: {"a": 1}, 9: {"a": 1}, 7: {"a": 1}}), "rise from 0; got .0, 9, 7"),
        (lambda: Mixture({"a": 1}, schedule={0: {"a": 1}, 9.5: {"a": 1}}), "whole positions"),  # type: ignore[dict-item]
        (lambda: Mixture({"a": 1}, schedule={0: {"a": 1}, 9: {"a": 0}}), "weights must not all be zero"),
        (lambda: Mixture({"a": 1}, {"a": 1}, block=0), "block must be at least 1"),
        (lambda: Mixture({"a": 1}, {"a": 1}, draws=0), "draws must be at least 1"),
        (lambda: Mixture({"a": 0}, {"a": 1}), "n must be at least 1"),
        (lambda: Mixture({"a": 1}, {"a": 1}, seed=-1), "seed must be a whole number"),
    ],
)
def test_what_cannot_be_is_refused(make, says):
    with pytest.raises(ArgumentError, match=says):
        make()
