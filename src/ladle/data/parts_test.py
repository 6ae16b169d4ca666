from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError, DataError
from ladle.data.parts import describe_split, split
from ladle.data.target import TargetColumn, infer


def _target(labels: list[int]) -> TargetColumn:
    return TargetColumn("classification", np.array(labels, np.int32), tuple("abcdefgh"), "")


labels_lists = st.lists(st.integers(0, 4), min_size=2, max_size=60).filter(
    lambda labels: len(set(labels)) < len(labels)
)
shares = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**63)


@given(labels_lists, shares, seeds)
def test_split_is_a_partition_that_keeps_every_class_in_training(labels: list[int], valid: float, seed: int) -> None:
    target = _target(labels)
    parts = split(target, valid=valid, seed=seed)
    assert sorted([*parts["train"], *parts["valid"]]) == list(range(len(labels)))
    assert len(parts["valid"]) >= 1
    assert set(target.values[parts["train"]]) == set(labels)


@given(labels_lists, shares, seeds)
def test_split_is_stratified_to_within_one_row(labels: list[int], valid: float, seed: int) -> None:
    target = _target(labels)
    held = np.bincount(target.values[split(target, valid=valid, seed=seed)["valid"]], minlength=5)
    counts = np.bincount(target.values, minlength=5)
    assert (held <= np.maximum(counts - 1, 0)).all()
    assert (np.abs(held - counts * valid) <= 1).all()


@given(st.integers(2, 200), shares, seeds)
def test_split_of_amounts_has_the_asked_share(rows: int, valid: float, seed: int) -> None:
    target = TargetColumn("regression", np.arange(rows, dtype=float), (), "")
    held = split(target, valid=valid, seed=seed)["valid"]
    assert len(held) == min(max(1, round(rows * valid)), rows - 1)


def test_split_is_fixed_by_its_seed() -> None:
    target = _target([0, 1] * 20)
    first = split(target, seed=3)["valid"]
    assert first.tolist() == split(target, seed=3)["valid"].tolist()
    assert first.tolist() != split(target, seed=4)["valid"].tolist()


def test_split_bits_never_change() -> None:
    """Recorded once: a change would move rows between the parts of every user's data."""
    assert split(_target([0, 1] * 10))["valid"].tolist() == [0, 2, 11, 17]


def test_split_draws_every_row_equally_often() -> None:
    rows, draws = 10, 2000
    target = TargetColumn("regression", np.arange(rows, dtype=float), (), "")
    times = np.bincount(np.concatenate([split(target, seed=seed)["valid"] for seed in range(draws)]), minlength=rows)
    expected = 0.2 * draws
    assert (np.abs(times - expected) < 5 * np.sqrt(draws * 0.2 * 0.8)).all()


@pytest.mark.parametrize("valid", [1, -0.1, 1.5, float("nan"), True, "0.2"])
def test_share_must_leave_rows_to_train_on(valid: object) -> None:
    with pytest.raises(ArgumentError, match=r"valid must be a share of at least 0 and below 1"):
        split(_target([0, 0, 1, 1]), valid=valid)  # type: ignore[arg-type]


def test_no_share_is_no_validation_part() -> None:
    parts = split(_target([0, 0, 1]), valid=0)
    assert parts["train"].tolist() == [0, 1, 2] and len(parts["valid"]) == 0
    assert describe_split(_target([0, 0, 1]), parts, valid=0, seed=0) == ("No split: all 3 rows train.",)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0"])
def test_seed_must_be_a_whole_number(seed: object) -> None:
    with pytest.raises(ArgumentError, match=r"seed must be a whole number"):
        split(_target([0, 0, 1, 1]), seed=seed)  # type: ignore[arg-type]


def test_classes_of_one_row_each_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"no class has two rows"):
        split(_target([0, 1, 2]))


def test_one_row_is_too_few() -> None:
    with pytest.raises(DataError, match=r"one row cannot be split"):
        split(TargetColumn("regression", np.array([1.0]), (), ""))


def test_infer_gives_the_same_split_for_equal_strata() -> None:
    words, numbers = infer(list("ab" * 10)), infer([0, 1] * 10)
    assert split(words)["valid"].tolist() == split(numbers)["valid"].tolist()
