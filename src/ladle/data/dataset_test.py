from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ladle.core.errors import DataError
from ladle.data.dataset import arrays, digest


def test_class_without_a_row_to_validate_is_named() -> None:
    data = arrays(np.arange(11.0), [*["a"] * 10, "rare"])
    assert data.notes[-1] == "Too few rows to validate: class rare."
    assert 1 in data.train["y"]


def test_classification_from_arrays() -> None:
    x = np.arange(20).reshape(10, 2)
    data = arrays(x, list("abababababa"[:10]), seed=1)
    assert (data.kind, data.classes, data.outputs, data.input_shape) == ("classification", ("a", "b"), 2, (2,))
    assert data.train["x"].dtype == np.float32 and data.train["y"].dtype == np.int32
    assert (data.rows, len(data.valid["y"]), data.test) == (8, 2, None)
    for part in (data.train, data.valid):
        np.testing.assert_array_equal(part["y"], part["x"][:, 0] / 2 % 2)
    assert (data.target_mean, data.target_sd) == (0, 1)
    assert data.describe().startswith(
        "arrays: classification, 8 rows to train on, 2 to validate; 2 inputs -> 2 classes;"
    )


def test_amounts_are_standardised_with_training_rows_only() -> None:
    y = np.random.default_rng(0).normal(50, 7, 40)
    data = arrays(y[:, None], y)
    train, valid = data.train["x"][:, 0].astype(float), data.valid["x"][:, 0].astype(float)
    assert data.kind == "regression" and data.outputs == 1 and data.classes == ()
    assert data.target_mean == pytest.approx(train.mean(), rel=1e-6)
    assert data.target_sd == pytest.approx(train.std(), rel=1e-6)
    np.testing.assert_allclose(data.valid["y"], (valid - train.mean()) / train.std(), rtol=1e-4)
    assert abs(valid.mean() - train.mean()) > 0.1, "the parts must differ for this test to mean anything"
    assert any(note.startswith("Target standardised: (amount - ") for note in data.notes)


def test_byte_images_are_scaled_and_other_bytes_are_not() -> None:
    pixels = np.array([[[0, 255]], [[51, 102]], [[0, 0]], [[1, 2]]], np.uint8)
    data = arrays(pixels, [0, 0, 1, 1])
    assert data.input_shape == (1, 2)
    every = np.concatenate([data.train["x"], data.valid["x"]])
    assert every.max() == 1 and np.float32(51 / 255) in every
    assert "Pixels: bytes from 0 to 255, divided by 255." in data.notes
    assert arrays(pixels // 16, [0, 0, 1, 1]).train["x"].max() > 1


def test_data_is_frozen_and_prints_short() -> None:
    data = arrays([[0.0]] * 4, [0, 0, 1, 1])
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"  # type: ignore[misc]
    assert len(repr(data)) < 400


def test_digest_sees_one_bit_a_shape_a_type_and_a_name() -> None:
    x = np.zeros((2, 3), np.float32)
    flipped = x.copy()
    flipped.view(np.uint32)[1, 2] ^= 1
    trees = [{"x": x}, {"x": flipped}, {"x": x.reshape(3, 2)}, {"x": x.view(np.int32)}, {"z": x}, {"x": {"x": x}}]
    assert len({digest(tree) for tree in trees}) == len(trees)
    assert digest({"x": x}) == digest({"x": np.asfortranarray(x)})


def test_digest_follows_the_seed_but_not_the_name() -> None:
    x, y = np.arange(12.0), [0, 1] * 6
    assert arrays(x, y).digest == arrays(x, y, name="other").digest
    assert arrays(x, y).digest != arrays(x, y, seed=1).digest


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[0.0, 1.0], [2.0, float("nan")]], [0, 1], r"got nan; because row 1, column 1 \(counted from 0\)"),
        ([[0.0, float("inf")], [2.0, 1.0]], [0, 1], r"got inf; because row 0, column 1"),
        ([[1e300], [2.0]], [0, 1], r"x must be finite in float32; got 1e\+300; because row 0, column 0"),
        (np.full((2, 2, 2), np.nan), [0, 1], r"row 0, column \(0, 0\)"),
        ([[0.0], [1.0]], [0.5, float("nan")], r"target y .* got nan; because row 1 \(counted from 0\).* 1 of 2 rows"),
        ([[0.0], [1.0]], [0.5, float("inf")], r"target y .* got inf; because row 1"),
        ([[0.0], [1.0]], np.array(["a", None], object), r"got None; because row 1"),
        ([[0.0], [1.0]], np.array(["a", 3], object), r"must hold one type; got 'int'; because its dtype is object"),
        ([[0.0], [1.0]], [0, 1, 2], "as many rows; got '2 and 3'"),
        ([[0.0], [1.0]], [1, 1], "at least two classes; got '1'"),
        ([[0.0], [1.0]], [0.5, 0.5], "at least two values; got 0.5"),
        ([], [], "x must hold at least one row"),
        (np.zeros((2, 0)), [0, 1], "x must hold at least one column"),
        ([[0.0], [1.0]], [], "y must hold at least one row"),
        (np.array([[1, None]], object), [0], "x must hold numbers; got 'object'"),
        ([["a"], ["b"]], [0, 1], "x must hold numbers"),
        ([[1.0], [1.0, 2.0]], [0, 1], "x must be an array"),
        ([[0.0], [1.0]], [[1, 0], [0, 1]], r"shape \[rows\]; got \(2, 2\).*argmax"),
        ([[0.0], [1.0]], [1j, 2j], "y must hold numbers, booleans or words; got 'complex128'"),
        ([[0.0], [1.0]], 3, r"shape \[rows\]; got \(\)"),
    ],
)
def test_bad_arrays_are_one_clear_line(x: object, y: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        arrays(x, y)
    assert "\n" not in str(caught.value)


def test_weights_go_with_their_rows_and_into_the_digest() -> None:
    x, weight = np.arange(20.0), np.arange(20.0)
    data = arrays(x, np.arange(20) % 2, weight=weight)
    assert data.weight is not None and data.weight.dtype == np.float32
    np.testing.assert_array_equal(data.weight, data.train["x"][:, 0])
    assert data.digest != arrays(x, np.arange(20) % 2).digest


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, 2.0], r"have shape \(4,\)"),
        ([1.0, 1.0, -1.0, 1.0], "-1.0 for row 2"),
        ([1.0, 1.0, 1.0, np.nan], "nan for row 3"),
        (["a", "b", "c", "d"], "be numbers"),
    ],
)
def test_bad_weights_are_one_clear_line(weight: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        arrays([0.0, 1.0, 2.0, 3.0], [0, 1, 0, 1], weight=weight)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_part_whose_whole_numbers_are_decimals_makes_no_amounts_of_classes(part: str) -> None:
    x, y = np.arange(12.0)[:, None], np.arange(12) % 2
    given = arrays(x, y, **{part: (x[:4], y[:4].astype(float))})
    assert given.kind == "classification" and given.classes == ("0", "1")
    assert getattr(given, part)["y"].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_part_whose_columns_stand_elsewhere_is_refused(part: str) -> None:
    pd = pytest.importorskip("pandas")
    x, y = pd.DataFrame({"a": np.arange(12.0), "b": np.ones(12)}), np.arange(12) % 2
    assert getattr(arrays(x, y, **{part: (x[:4], y[:4])}), part)["x"].shape == (4, 2)
    with pytest.raises(DataError, match=f"column 0 of {part} x must be 'a' as in X; got 'b'; because .*list\\(X.col"):
        arrays(x, y, **{part: (x[["b", "a"]], y)})
    with pytest.raises(DataError, match=f"column 1 of {part} x must be 'b' as in X; got 'none'"):
        arrays(x, y, **{part: (x[["a"]], y)})
