from __future__ import annotations

import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.feed.order import Permuted, Sequential
from ladle.feed.quality import agreement, correlation, place_correlation, position_chi_square, variance_ratio
from ladle.feed.stratified import Stratified

rng = np.random.default_rng(0)


def passes(order, count: int) -> np.ndarray:
    return order.ids(0, count * order.epoch_size).reshape(count, -1)


def test_the_variance_is_that_of_explicit_batches():
    labels, ids = np.array([0, 0, 0, 1, 1, 2, 2]), rng.permutation(7)
    total = 0.0
    for first in (0, 3):
        batch = labels[ids[first : first + 3]]
        total += sum(((batch == c).sum() - 3 * (labels == c).mean()) ** 2 for c in range(3))
    true = sum(3 * p * (1 - p) * (7 - 3) / (7 - 1) for p in (3 / 7, 2 / 7, 2 / 7))
    assert variance_ratio(ids, labels, 3) == pytest.approx(total / (2 * true))


@pytest.mark.parametrize("classes", [2, 10])
def test_a_shuffle_has_one_a_stored_order_many_and_a_stratified_one_none(classes):
    labels = np.arange(2000) * classes // 2000
    spread = np.sqrt(2 / (125 * 40 * (classes - 1)))
    for true in (passes(Permuted(2000, 1), 40), np.array([rng.permutation(2000) for _ in range(40)])):
        assert abs(variance_ratio(true, labels, 16) - 1) < 4 * spread
    assert variance_ratio(Sequential(2000).ids(0, 2000), labels, 16) > 14
    assert variance_ratio(passes(Stratified(labels), 3), labels, 16) < 0.2


def test_the_mean_of_the_chi_square_is_exact():
    """Over all orders of four: X - E X is known in full, so the mean over single passes is one."""
    import itertools

    every = [position_chi_square([order], buckets=3) for order in itertools.permutations(range(4))]
    assert np.mean(every) == pytest.approx(1)


def test_places_of_a_shuffle_are_uniform_and_those_of_a_rotation_too_but_not_of_a_sequence():
    assert abs(position_chi_square(passes(Permuted(97, 3), 600), 97) - 1) < 4 * np.sqrt(2) / 96
    assert abs(position_chi_square(passes(Permuted(97, 3), 600)) - 1) < 4 * np.sqrt(2) / 9
    assert position_chi_square(passes(Sequential(97), 600)) > 100


def test_epochs_and_seeds_are_independent():
    first, second = passes(Permuted(10_000, 1), 2)
    other = Permuted(10_000, 2).ids(0, 10_000)
    for a, b in ((first, second), (first, other), (second, other)):
        assert agreement(a, b) <= 6
        assert abs(correlation(a, b)) < 4 / 100
    assert abs(place_correlation(first)) < 4 / 100
    assert agreement(first, first) == 10_000


@pytest.mark.parametrize(
    ("measure", "says"),
    [
        (lambda: variance_ratio([0, 1, 1], [0, 1, 1], 2), "ids must be whole passes, each of the 3 examples once"),
        (lambda: variance_ratio([0, 1], [0, 1, 1], 2), "ids must be whole passes"),
        (lambda: variance_ratio([0.0, 1.0], [0, 1], 1), "ids must be whole passes"),
        (lambda: variance_ratio([0, 1, 2], [0, 1, 1], 3), "size must be below n"),
        (lambda: variance_ratio([0, 1, 2], [1, 1, 1], 2), "classes two or more"),
        (lambda: variance_ratio([0, 1, 2], [0, 1, 1], 0), "size must be at least 1"),
        (lambda: position_chi_square([[0, 1, 2]], 4), "buckets must be 2 to 3"),
        (lambda: position_chi_square([[0, 1, 3]], 2), "ids must be whole passes"),
        (lambda: correlation([0, 1], [0, 1, 2]), "ids must be two passes of one length"),
        (lambda: place_correlation([0]), "ids must be two passes of one length"),
    ],
)
def test_what_cannot_be_compared_is_refused(measure, says):
    with pytest.raises(ArgumentError, match=says):
        measure()
