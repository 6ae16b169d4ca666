from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.feed.bucket import Bucketed
from ladle.feed.order import Permuted, Sequential
from ladle.feed.weighted import Weighted

LENGTHS = np.random.default_rng(0).integers(0, 50, 101)


@settings(max_examples=30)
@given(st.integers(1, 130), st.integers(1, 30), st.integers(0, 400), st.integers(0, 150))
def test_each_window_of_each_pass_is_permuted_and_the_position_is_the_whole_state(window, bucket, start, count):
    window = max(window, bucket)
    inner = Permuted(101, 4)
    order = Bucketed(inner, LENGTHS, window, bucket, seed=9)
    every, plain = order.ids(0, 606), inner.ids(0, 606)
    assert order.ids(start, count).tolist() == every[start : start + count].tolist()
    for first in (0, 101, 505):
        for begin in range(first, first + 101, window):
            part = slice(begin, min(begin + window, first + 101))
            assert sorted(every[part]) == sorted(plain[part])


def test_buckets_hold_neighbours_in_length_and_are_shuffled_anew():
    order = Bucketed(Permuted(96, 4), LENGTHS[:96], window=48, bucket=8)
    seen = set()
    for begin in range(0, 960, 48):
        buckets = LENGTHS[order.ids(begin, 48)].reshape(6, 8)
        by_length = buckets[np.argsort(buckets[:, 0], kind="stable")]
        assert (np.diff(buckets, axis=1) >= 0).all()
        assert (np.diff(np.sort(by_length.reshape(-1)).reshape(6, 8)[:, [0, -1]].reshape(-1)) >= 0).all()
        assert sorted(by_length.reshape(-1)) == by_length.reshape(-1).tolist() or len(set(buckets[:, 0])) < 6
        seen.add(tuple(np.argsort(buckets.sum(axis=1)).tolist()))
    assert len(seen) > 15  # Twenty windows, 720 ways.


def test_the_last_bucket_is_the_short_one_so_that_batches_hold_whole_buckets():
    lengths, order = np.arange(101), Bucketed(Sequential(101), np.arange(101), window=101, bucket=8)
    short = set()
    for epoch in range(20):
        ids = order.ids(101 * epoch, 101)
        assert (np.diff(lengths[ids[:96]].reshape(12, 8), axis=1) == 1).all()
        assert np.diff(lengths[ids[96:]]).tolist() == [1, 1, 1, 1]
        short.add(int(ids[96]))
    assert len(short) > 8  # Any of the thirteen, not always the longest.


def test_equal_lengths_keep_their_order_and_one_bucket_is_sorted():
    assert Bucketed(Sequential(5), [1, 1, 1, 1, 1], 5, 5).ids(0, 5).tolist() == [0, 1, 2, 3, 4]
    assert Bucketed(Sequential(5), [3, 1, 2, 1, 0], 5, 5).ids(0, 5).tolist() == [4, 1, 3, 2, 0]


def test_seeds_differ_and_draws_with_repeats_may_be_bucketed():
    one, two = (Bucketed(Sequential(101), LENGTHS, 101, 4, seed).ids(0, 101).tolist() for seed in (0, 1))
    assert one != two
    order = Bucketed(Weighted(np.ones(101), draws=7), LENGTHS, window=4, bucket=2)
    assert (order.examples, order.epoch_size, len(order.ids(3, 9))) == (101, 7, 9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bucketed(Sequential(3), [1, 2]), "lengths must be 3 whole numbers; got 'an array of shape \\(2,\\)"),
        (lambda: Bucketed(Sequential(2), [1.0, 2.0]), "type float64"),
        (lambda: Bucketed(Sequential(2), [1, -2]), "lengths must not be negative; got '-2 for example 1'"),
        (lambda: Bucketed(Sequential(2), [1, 2], window=4, bucket=8), "window must be at least bucket=8; got 4"),
        (lambda: Bucketed(Sequential(2), [1, 2], bucket=0), "bucket must be at least 1; got 0"),
        (lambda: Bucketed(Sequential(2), [1, 2], seed=-1), "seed must be a whole number from 0"),
    ],
    ids=["count", "type", "negative", "window", "bucket", "seed"],
)
def test_what_cannot_be_bucketed_is_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
