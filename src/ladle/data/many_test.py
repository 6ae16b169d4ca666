"""Targets of several values a row, and validation rows that were given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ladle
from ladle.core.errors import ArgumentError, DataError
from ladle.data.dataset import arrays

X = np.random.default_rng(0).normal(size=(30, 3))


def test_several_amounts_share_one_scale() -> None:
    y = X @ np.array([[1.0, 2.0], [0.0, 3.0], [5.0, 0.0]]) + 7
    data = arrays(X, y, seed=2)
    both = [part["y"] * data.target_sd + data.target_mean for part in (data.train, data.valid)]
    assert data.outputs == 2 and data.train["y"].shape == (24, 2) and "3 inputs -> 2 amounts" in data.describe()
    np.testing.assert_allclose(np.sort(np.concatenate(both), 0), np.sort(y, 0), rtol=1e-5)
    assert data.train["y"].mean() == pytest.approx(0, abs=1e-6) and data.train["y"].std() == pytest.approx(1)


@pytest.mark.parametrize(
    ("y", "kind", "said"),
    [
        (np.eye(3)[np.arange(30) % 3], None, r"shape \[rows\].*argmax"),
        (np.eye(3, dtype=int)[np.arange(30) % 3], None, r"shape \[rows\].*argmax"),
        (np.arange(60).reshape(30, 2), None, r"shape \[rows\]; got \(30, 2\)"),
        (np.where(X > 2, np.nan, X), None, None),
        (np.concatenate([X[:29], [[0, np.inf, 0]]]), None, "got inf; because row 29, column 1"),
        (np.full((30, 2), 1.5), None, "at least two values"),
        (X, "classification", r"shape \[rows\]"),
        (X.astype(str), None, r"shape \[rows\]"),
        (np.eye(3, dtype=int)[np.arange(30) % 3], "classification", r"shape \[rows\].*argmax"),
        (np.arange(60).reshape(30, 2) - 1, "classification", "from 0; got -1"),
        (np.ones((30, 2), int), "classification", "at least two classes; got 1"),
    ],
    ids="one-hot one-hot-int whole fine infinite equal asked words one-hot-classes negative one-class".split(),
)
def test_what_several_values_may_not_be(y: Any, kind: str | None, said: str | None) -> None:
    if said is None:
        assert arrays(X, np.nan_to_num(y)).outputs == 3
        return
    with pytest.raises(DataError, match=said):
        arrays(X, y, kind=kind)


def test_whole_numbers_are_amounts_where_that_is_said() -> None:
    assert arrays(X, np.arange(60).reshape(30, 2), kind="regression").outputs == 2
    assert arrays(X, np.eye(3)[np.arange(30) % 3], kind="regression").outputs == 3


def test_every_place_of_a_sequence_has_its_token() -> None:
    x = np.random.default_rng(1).integers(0, 9, (30, 5))
    x[0, 0] = 8
    y = np.roll(x, -1, 1)
    data = arrays(x, y)
    assert data.train["x"].dtype == data.train["y"].dtype == np.int32 and data.outputs == 9
    np.testing.assert_array_equal(np.roll(data.train["x"], -1, 1), data.train["y"])
    np.testing.assert_array_equal(np.roll(data.valid["x"], -1, 1), data.valid["y"])
    with pytest.raises(DataError, match=r"shape \[rows\]"):
        arrays(x, y, tokens=False)
    with pytest.raises(DataError, match="kind must be 'classification' for tokens"):
        arrays(x, y, kind="regression")
    with pytest.raises(ArgumentError, match="y must be class numbers"):
        ladle.fit(ladle.Task(ladle.models.mlp(5, 4, 9), None, data), size=8, until="1 epochs")


def test_every_pixel_has_its_class_where_that_is_asked_for() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (30, 4, 6), dtype=np.uint8)
    data = arrays(pixels, (pixels > 99).astype(np.uint8) + (pixels > 200), kind="classification", tokens=False)
    assert data.kind == "classification" and data.classes == ("0", "1", "2")
    for part in (data.train, data.valid):
        assert part["x"].dtype == np.float32 and part["y"].dtype == np.int32
        np.testing.assert_array_equal((part["x"] > 99.5 / 255).astype(int) + (part["x"] > 200.5 / 255), part["y"])


def test_validation_rows_that_were_given_are_those_that_validate() -> None:
    y = np.array(["no", "yes", "so"])[np.arange(30) % 3]
    given = X[:4] + 1, np.array(["so", "no", "no", "new"])
    for valid in (given, list(given), {"x": given[0].tolist(), "y": given[1].tolist()}):
        data = arrays(X, y, valid=valid, weight=np.arange(30.0))
        np.testing.assert_array_equal(data.train["x"], X.astype(np.float32))
        np.testing.assert_array_equal(data.valid["x"], given[0].astype(np.float32))
        assert data.classes == ("new", "no", "so", "yes") and data.valid["y"].tolist() == [2, 1, 1, 0]
        assert data.weight is not None and data.weight.tolist() == list(range(30))
        assert "Parts as given: 30 rows to train on, 4 to validate." in data.notes
        assert "No row to train on: class new." in data.notes
    task = ladle.Task(ladle.models.mlp(3, 4, 4), None, {"x": X, "y": y, "valid": given})
    assert task.data.digest == arrays(X, y, valid=given).digest


def test_amounts_of_given_rows_are_standardised_as_those_that_train() -> None:
    data = arrays(X, X[:, 0] * 3, valid=(X[:5], X[:5, 0] * 3))
    np.testing.assert_array_equal(data.valid["y"], data.train["y"][:5])
    pixels = np.full((30, 2), 255, np.uint8)
    assert arrays(pixels, np.arange(30) % 2, valid=(pixels[:2] // 3, [0, 1])).valid["x"].max() == np.float32(1 / 3)


@pytest.mark.parametrize(
    ("valid", "said"),
    [
        ((X[:4], [0, 1, 0]), "valid x and y must have as many rows; got '4 and 3'"),
        ((X[:4, :2], [0, 1, 0, 1]), r"valid x must have rows of shape \(3,\); got \(2,\)"),
        ((X[:4], list("abcd")), "y must be alike in all parts"),
        ((np.ma.array(X[:4], mask=True), [0, 1, 0, 1]), "valid x must have a value in every cell"),
        ({"X": X, "y": X}, "valid must be a share of the rows, or .X, y."),
        ((X, X, X), "valid must be a share of the rows, or .X, y."),
        (0.0, None),
        (1.5, "valid must be a share"),
        ("a", "valid must be a share"),
    ],
    ids="rows columns words masked keys three none much text".split(),
)
def test_validation_rows_that_do_not_fit(valid: Any, said: str | None) -> None:
    y = np.arange(30) % 2
    if said is None:
        assert arrays(X, y, valid=valid).rows == 30
        return
    with pytest.raises(ArgumentError, match=said):
        arrays(X, y, valid=valid)


def test_bytes_beside_fractions_are_refused() -> None:
    pixels, y = np.full((30, 2), 255, np.uint8), np.arange(30) % 2
    with pytest.raises(DataError, match="x must be bytes in all parts; got \"float64 in 'valid'\""):
        arrays(pixels, y, valid=(pixels[:4] / 255, [0, 1, 0, 1]))
