"""Frames and columns of pandas, Arrow and polars hold the values they show, or are refused with the row."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import DataError
from ladle.core.foreign import as_array, is_array
from ladle.core.frames import is_column, is_frame, named_columns, require_same_index

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

COLUMNS = {
    "whole": st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=5),
    "real": st.lists(st.floats(allow_nan=False), min_size=1, max_size=5),
    "truth": st.lists(st.booleans(), min_size=1, max_size=5),
    "words": st.lists(st.text(st.characters(codec="ascii", min_codepoint=33), max_size=4), min_size=1, max_size=5),
}
NULLABLE = {"whole": "Int64", "real": "Float64", "truth": "boolean", "words": "string"}


def wrapped(kind: str, values: list[Any], index: int) -> list[Any]:
    """The same values as a column of every library that is there; the index says something else."""
    labels = [index - at for at in range(len(values))]
    arrow = pa.array(values)
    columns = [
        pd.Series(values, index=labels),
        pd.Series(values, index=labels, dtype=NULLABLE[kind]),
        pd.Series(values, index=labels, dtype="category"),
        pd.array(values, dtype=NULLABLE[kind]),
        pd.DataFrame({"a": values}, index=labels)["a"],
        arrow,
        arrow.dictionary_encode(),
        pa.chunked_array([arrow[:1], arrow[1:]]),
        pa.chunked_array([arrow[:1], arrow[1:]]).dictionary_encode(),
        pa.table({"a": arrow}).column("a"),
    ]
    if kind != "words":
        columns += [pd.Series(values, dtype=pd.ArrowDtype(arrow.type)), pd.Index(values)]
    return columns


@given(st.data(), st.sampled_from(sorted(COLUMNS)), st.integers(0, 9))
def test_a_column_is_its_values_whoever_holds_it(data: st.DataObject, kind: str, index: int) -> None:
    values = data.draw(COLUMNS[kind])
    for column in wrapped(kind, values, index):
        assert is_array(column) and is_column(column) and not is_frame(column)
        made = as_array(column)
        assert made.tolist() == values and made.dtype.kind == np.asarray(values).dtype.kind, type(column)


@given(st.data(), st.sampled_from(sorted(COLUMNS)), st.integers(0, 9))
def test_a_missing_value_is_refused_with_its_row(data: st.DataObject, kind: str, at: int) -> None:
    values: list[Any] = data.draw(COLUMNS[kind])
    at %= len(values)
    values[at] = None
    if len(values) == 1:
        values.append(data.draw(COLUMNS[kind])[0])
    columns = [pd.Series(values, dtype=NULLABLE[kind]), pa.array(values), pa.chunked_array([pa.array(values)])]
    for column in [*columns, pd.Series(values, dtype=object)]:
        with pytest.raises(DataError, match=rf"y must have a value in every row; .* row {at} \(counted from 0\)"):
            as_array(column, "y")
    for frame in (pd.DataFrame({"a": columns[0]}), pa.table({"a": columns[1]})):
        with pytest.raises(DataError, match=f"column 'a' of data must .* row {at} "):
            named_columns(frame, "data")


@given(st.integers(1, 5), st.data())
def test_a_frame_is_a_matrix_and_columns_by_name(rows: int, data: st.DataObject) -> None:
    whole = data.draw(st.lists(st.integers(-(2**31), 2**31), min_size=rows, max_size=rows))
    real = data.draw(st.lists(st.floats(-1e9, 1e9), min_size=rows, max_size=rows))
    labels = data.draw(st.lists(st.integers(), min_size=rows, max_size=rows))
    frame = pd.DataFrame({"a": whole, "b": real}, index=labels)
    arrow = pa.table({"a": whole, "b": real})
    nullable = pd.DataFrame({"a": pd.array(whole, dtype="Int64"), "b": pd.array(real, dtype="Float64")})
    for one in (frame, arrow, arrow.to_batches()[0], nullable):
        assert is_frame(one) and not is_array(one)
        assert as_array(one).tolist() == [list(map(float, row)) for row in zip(whole, real, strict=True)]
        named = named_columns(one, "data")
        assert named["a"].tolist() == whole and named["a"].dtype.kind == "i" and named["b"].tolist() == real


def test_names_of_columns() -> None:
    twice = pd.DataFrame([[1, 2.5]], columns=["a", "a"])
    assert as_array(twice).tolist() == [[1.0, 2.5]]
    for frame in (twice, pa.table([[1], [2.5]], names=["a", "a"]), pd.DataFrame([[1, 2]], columns=["1", 1])):
        with pytest.raises(DataError, match="the columns of data must have names of their own; got '"):
            named_columns(frame, "data")
    levels = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
    assert list(named_columns(levels, "data")) == ["a.x", "a.y"]
    assert as_array(pd.DataFrame({"kind": [1, 2]})).tolist() == [[1], [2]]


def test_words_dates_and_objects_in_a_matrix_are_refused_by_column() -> None:
    dates = pd.to_datetime(["2020-01-01", "2021-01-01"])
    for odd in (["u", "v"], dates, pd.Categorical(["u", "v"]), [{1}, {2}]):
        with pytest.raises(DataError, match="column 'odd' of x must hold numbers"):
            as_array(pd.DataFrame({"a": [1, 2], "odd": odd}), "x")
    with pytest.raises(DataError, match=r"row 1 \(counted from 0\) is missing"):
        as_array(pd.Series(["a", np.nan]))
    with pytest.raises(DataError, match="must hold numbers or words; got 'int, str'"):
        as_array(pd.Series(["a", 1], dtype=object))


def test_times_are_moments_whatever_their_zone() -> None:
    plain = np.array(["2020-01-01T12:00", "2021-06-01T00:30"], "M8[ns]")
    zoned = pd.Series(plain).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    moments = [datetime.datetime(2020, 1, 1, 12), datetime.datetime(2021, 6, 1, 0, 30)]
    for column in (pd.Series(plain), zoned, pa.array(moments)):
        np.testing.assert_array_equal(as_array(column), plain)
    assert np.isnat(as_array(pd.Series([None, "2020"], dtype="M8[ns]"))).tolist() == [True, False]


def test_decimals_and_lists_become_numbers() -> None:
    decimals = [Decimal("1.5"), Decimal("2.25")]
    for column in (pd.Series(decimals), pa.array(decimals)):
        assert as_array(column).tolist() == [1.5, 2.25] and as_array(column).dtype == np.float64
    lists = [[1, 2], [3, 4]]
    for column in (pd.Series(lists), pa.array(lists), pa.array(lists, pa.list_(pa.int64(), 2))):
        assert as_array(column).tolist() == lists
    for column in (pd.Series([[1, 2], [3]]), pa.array([[1, 2], [3]])):
        with pytest.raises(DataError, match="must have lists of one length; got '.2,. in row 0, .1,. in row 1'"):
            as_array(column)
    assert as_array(pd.Series(pd.arrays.SparseArray([0.0, 1.5]))).tolist() == [0.0, 1.5]


def test_indexes_in_another_order_are_refused_and_others_left_behind() -> None:
    x, y = pd.DataFrame({"a": [1, 2, 3]}, index=[5, 6, 7]), pd.Series([1, 2, 3], index=[5, 6, 7])
    require_same_index(x, y)
    require_same_index(x, y.reset_index(drop=True))
    require_same_index(x, [1, 2, 3])
    require_same_index(x, y.iloc[:2])
    with pytest.raises(DataError, match=r"be in one order; got '6 and 7 in row 1'.*try y.loc\[X.index\]"):
        require_same_index(x, y.loc[[5, 7, 6]])


def test_polars_holds_the_same() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "w": ["u", "v"]})
    assert as_array(frame.select("a", "b")).tolist() == [[1.0, 0.5], [2.0, 1.5]]
    assert named_columns(frame, "data")["w"].tolist() == ["u", "v"]
    assert as_array(frame["w"].cast(pl.Categorical)).tolist() == ["u", "v"]
    with pytest.raises(DataError, match=r"row 1 \(counted from 0\) is missing"):
        as_array(pl.Series([1, None]))
    with pytest.raises(DataError, match=r"try frame.collect\(\)"):
        as_array(frame.lazy())
