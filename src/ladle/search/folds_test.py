import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.search.folds import folds_of


@given(st.integers(2, 60), st.integers(2, 9), st.integers(0, 2**32), st.booleans())
def test_every_row_is_left_out_once_and_folds_are_equal_to_within_a_row(rows, count, seed, classes):
    count = min(count, rows)
    labels = np.arange(rows) * 7 % 3 if classes and rows >= 9 * count else None
    folds = folds_of(rows, count, seed=seed, labels=labels)
    parts = [folds.left_out(fold) for fold in range(count)]
    assert np.sort(np.concatenate(parts)).tolist() == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert folds.largest == max(map(len, parts))
    for fold, part in enumerate(parts):
        trained = folds.trained_on(fold)
        assert np.sort(np.concatenate([trained, part])).tolist() == list(range(rows))
        assert len(trained) - folds.epoch_size in (0, 1)


def test_classes_are_spread_to_within_one_row():
    labels = np.repeat([0, 1, 2], [31, 14, 9])
    folds = folds_of(54, 4, seed=3, labels=labels)
    held = np.array([np.bincount(labels[folds.left_out(fold)], minlength=3) for fold in range(4)])
    assert (held.max(0) - held.min(0) <= 1).all()


def test_other_seeds_make_other_folds():
    assert folds_of(40, 4, seed=0).of.tolist() == folds_of(40, 4, seed=0).of.tolist()
    assert folds_of(40, 4, seed=0).of.tolist() != folds_of(40, 4, seed=1).of.tolist()


@pytest.mark.parametrize(
    ("rows", "count", "labels", "message"),
    [
        (10, 1, None, "folds must be at least 2; got 1"),
        (10, 11, None, "folds must be at most the 10 training rows; got 11"),
        (
            10,
            5,
            [0] * 8 + [1] * 2,
            "folds must hold two classes each; got 5; because fold 0 of 5 holds rows of class 0",
        ),
        (10, 5, [0] * 8 + [1] * 2, "try folds=2"),
        (10, 5, [7] * 10, "holds rows of class 7 alone; try more rows of other classes"),
    ],
)
def test_folds_that_judge_nothing_are_refused(rows, count, labels, message):
    with pytest.raises(ArgumentError) as caught:
        folds_of(rows, count, seed=0, labels=None if labels is None else np.array(labels))
    assert message in str(caught.value)
