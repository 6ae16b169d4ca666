"""Inputs of arrays: what float32 cannot hold is refused with its row and column, by name where it has one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import DataError
from ladle.data.dataset import arrays
from ladle.data.inputs import as_tokens, inputs, weights

pd = pytest.importorskip("pandas")

Y = np.arange(10) % 2


@given(st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=8, unique=True))
def test_whole_numbers_stay_apart_or_are_refused(values: list[int]) -> None:
    x = np.array(values)
    if len(np.unique(x.astype(np.float32))) == len(values):
        assert inputs(x, "x")[:, 0].tolist() == values
    else:
        with pytest.raises(DataError, match="column 0 of x must stay apart in float32") as caught:
            inputs(x, "x")
        one, other = (int(word) for word in str(caught.value).split("got '")[1].split("'")[0].split(" and "))
        assert one in values and other in values and np.float32(one) == np.float32(other)


def test_large_ids_are_named_by_their_column() -> None:
    ids = np.arange(10) + 2**53
    frame = pd.DataFrame({"a": np.ones(10), "user": ids})
    with pytest.raises(DataError, match="column 'user' of x must stay apart"):
        arrays(frame, Y)
    with pytest.raises(DataError, match="column 1 of x must stay apart"):
        arrays(np.stack([ids % 3, ids], 1), Y)
    assert arrays(frame.astype(float), Y).rows == 8  # Amounts, if someone says so.
    assert arrays(np.stack([ids % 3, np.full(10, 2**40)], 1), Y).rows == 8


@given(st.integers(0, 9), st.integers(0, 2), st.sampled_from([np.nan, np.inf, -np.inf, 1e39]))
def test_a_number_that_is_none_is_named(row: int, column: int, bad: float) -> None:
    x = np.zeros((10, 3))
    x[row, column] = bad
    with pytest.raises(DataError, match=rf"row {row}, column {column} \(counted from 0\) is not; 1 values in all"):
        arrays(x, Y)
    frame = pd.DataFrame(x, columns=["a", "b", "c"], index=range(5, 15))
    with pytest.raises(DataError, match=f"row {row}, column {'abc'[column]!r} "):
        arrays(frame, Y)


def test_half_and_brain_floats_are_their_values() -> None:
    jnp = pytest.importorskip("jax.numpy")
    plain = np.arange(20.0).reshape(10, 2)
    for x in (plain.astype(np.float16), jnp.asarray(plain, jnp.bfloat16), plain.astype(">f8")):
        assert arrays(x, Y).digest == arrays(plain, Y).digest
    with pytest.raises(DataError, match="row 0, column 1"):
        arrays(jnp.asarray([[0, np.nan]] * 10, jnp.bfloat16), Y)


@pytest.mark.parametrize("x", [np.full(10, 1j), np.full(10, "2020", "M8[D]"), np.full(10, "a"), np.full(10, None)])
def test_other_types_are_refused(x: Any) -> None:
    with pytest.raises(DataError, match="x must hold numbers"):
        arrays(x, Y)


def test_tokens_stay_whole_numbers() -> None:
    x = np.arange(40).reshape(10, 4).astype(np.int64)
    data = arrays(x, Y, tokens=True)
    assert data.train["x"].dtype == np.int32 and "Tokens: whole numbers from 0 to 39, as they are." in data.notes
    assert sorted(np.concatenate([data.train["x"], data.valid["x"]]).tolist()) == x.tolist()
    assert arrays(x, Y).train["x"].dtype == np.float32
    pixels = np.full((10, 4), 200, np.uint8)
    assert arrays(pixels, Y, tokens=True).train["x"].max() == 200
    for bad, said in (
        (x - 1, "x must hold tokens from 0; got -1; because row 0"),
        (x * 1.0, "x must hold whole numbers"),
    ):
        with pytest.raises(DataError, match=said):
            arrays(bad, Y, tokens=True)
    with pytest.raises(DataError, match="x must fit 32 bits"):
        as_tokens(np.array([2**31]), "x")


def test_weights_of_any_library() -> None:
    assert (
        weights(pd.Series([1, 2], dtype="Int64"), 2).tolist()
        == weights(pd.DataFrame({"w": [1, 2]}), 2).tolist()
        == [1, 2]
    )
    for bad in (np.ma.array([1.0, 2.0], mask=[0, 1]), pd.Series([1, None], dtype="Int64")):
        with pytest.raises(DataError, match="weight must have a value"):
            weights(bad, 2)
