from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.feed.balanced import Balanced

COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=9)
SEEDS = st.integers(0, 2**64 - 1)


@given(COUNTS, SEEDS, st.integers(0, 10**12), st.integers(1, 200))
def test_every_stretch_holds_every_class_equally_often(counts, seed, start, count):
    labels = np.repeat(np.arange(len(counts)), counts)
    seen = np.bincount(labels[Balanced(labels, seed).ids(start, count)], minlength=len(counts))
    assert (np.abs(seen - count / len(counts)) < (1 if start % len(counts) == 0 else 2)).all()


@given(COUNTS, SEEDS)
def test_each_class_goes_through_passes_of_its_own(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    ids = Balanced(labels, seed).ids(0, 3 * len(counts) * max(counts))
    for label, count in enumerate(counts):
        own = ids[labels[ids] == label]
        for one in own[: len(own) // count * count].reshape(-1, count):
            assert sorted(one) == np.flatnonzero(labels == label).tolist()


@given(SEEDS, st.integers(0, 10**12))
@settings(max_examples=30)
def test_any_cut_of_the_positions_gives_the_same_ids(seed, start):
    order = Balanced(np.arange(50) % 7 // 3, seed)
    parts = [order.ids(start + a, b - a) for a, b in itertools.pairwise([0, 1, 8, 8, 70])]
    np.testing.assert_array_equal(np.concatenate(parts), order.ids(start, 70))


def test_classes_passes_and_seeds_are_shuffled_apart():
    labels = np.repeat([0, 1], 500)
    order = Balanced(labels, 1)
    ids, other = order.ids(0, 2000), Balanced(labels, 2).ids(0, 2000)
    zeros, ones = ids[ids < 500], ids[ids >= 500] - 500
    for a, b in ((zeros[:500], zeros[500:]), (zeros, ones), (ids, other)):
        assert (a == b).mean() < 0.02
        assert abs(np.corrcoef(a[a != b] % 500, b[a != b] % 500)[0, 1]) < 0.2


def test_the_classes_take_turns_in_a_new_order_in_each_round():
    labels = np.arange(300) % 3
    turns = labels[Balanced(labels, 0).ids(0, 3000)].reshape(-1, 3)
    found, counts = np.unique(turns, axis=0, return_counts=True)
    assert len(found) == 6
    assert abs(counts - 1000 / 6).max() < 5 * np.sqrt(1000 / 6)


def test_labels_may_be_names_and_draws_any_number():
    names = np.array(["cat", "dog", "dog"])
    order = Balanced(names, 3, draws=100)
    np.testing.assert_array_equal(order.ids(0, 20), Balanced([0, 1, 1], 3).ids(0, 20))
    assert (order.epoch_size, order.examples, Balanced(names).epoch_size) == (100, 3, 3)


@pytest.mark.parametrize("labels", [[0.5, 1.5], [], [[1]], [None, 1]])
def test_labels_that_are_no_classes_are_refused(labels):
    with pytest.raises(ArgumentError, match="labels must be one whole number"):
        Balanced(labels)


def test_other_bad_arguments_are_refused():
    with pytest.raises(ArgumentError, match="draws must be at least 1"):
        Balanced([0, 1], draws=0)
    with pytest.raises(ArgumentError, match="seed must be a whole number"):
        Balanced([0, 1], seed=-1)
