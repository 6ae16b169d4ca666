from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ladle.core.errors import DataError
from ladle.data import tables
from ladle.data.table import Numbers, Texts


def text(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def words(column: object) -> list[str | None]:
    assert isinstance(column, Texts)
    return [None if code < 0 else column.levels[code] for code in column.codes]


def test_types_of_a_csv(tmp_path: Path) -> None:
    content = "a,b,c,d,e\n1,0.5,true,red,2020-01-02\n2,,false, blue ,2020-01-03\n?,1e3,true,NA,1970-01-01\n"
    table = tables.read(text(tmp_path, content))
    types = {name: column.type for name, column in table.columns.items() if isinstance(column, Numbers)}
    assert types == {"a": "whole", "b": "real", "c": "boolean", "e": "date"}
    numbers = {name: table.columns[name].values for name in types}  # type: ignore[union-attr]
    np.testing.assert_array_equal(numbers["a"], [1, 2, np.nan])
    np.testing.assert_array_equal(numbers["b"], [0.5, np.nan, 1000])
    np.testing.assert_array_equal(numbers["c"], [1, 0, 1])
    np.testing.assert_array_equal(numbers["e"], [18263 * 86400, 18264 * 86400, 0])
    assert words(table.columns["d"]) == ["red", "blue", None]
    assert table.rows == 3
    assert table.notes[0] == "Read 3 rows and 5 columns from t.csv; the first line names the columns."


def test_types_of_a_parquet_file(tmp_path: Path) -> None:
    moment = dt.datetime(1970, 1, 1, 0, 1)
    columns = {
        "f32": pa.array([1.5, None, float("nan")], pa.float32()),
        "u8": pa.array([1, 2, None], pa.uint8()),
        "flag": pa.array([True, None, False]),
        "decimal": pa.array([Decimal("1.25"), Decimal("2.50"), None], pa.decimal128(5, 2)),
        "word": pa.array(["b", None, "a"]).dictionary_encode(),
        "ns": pa.array([moment, None, moment], pa.timestamp("ns", tz="UTC")),
        "day": pa.array([dt.date(1970, 1, 2)] * 3),
        "time": pa.array([dt.time(1, 0)] * 3, pa.time32("ms")),
        "span": pa.array([dt.timedelta(seconds=2.5)] * 3, pa.duration("us")),
        "view": pa.array(["x", "y", None], pa.string_view()),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = tables.read(tmp_path / "t.parquet")
    values = {name: column.values.tolist() for name, column in table.columns.items() if isinstance(column, Numbers)}
    nan = pytest.approx(float("nan"), nan_ok=True)
    assert values == {
        "f32": [1.5, nan, nan],
        "u8": [1, 2, nan],
        "flag": [1, nan, 0],
        "decimal": [1.25, 2.5, nan],
        "ns": [60, nan, 60],
        "day": [86400] * 3,
        "time": [3600] * 3,
        "span": [2.5] * 3,
    }
    assert words(table.columns["word"]) == ["b", None, "a"]
    assert words(table.columns["view"]) == ["x", "y", None]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_delimiters(tmp_path: Path, mark: str) -> None:
    content = "\ufeffa,b\n1,x\n2,y\n".replace(",", mark)
    assert list(tables.read(text(tmp_path, content)).columns) == ["a", "b"]
    if mark == "\t":
        assert list(tables.read(text(tmp_path, content, "t.tsv")).columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("7.4,0.7,5\n7.8,0.9,6\n", ["c0", "c1", "c2"]),
        ("5.1,setosa\n4.9,setosa\n", ["c0", "c1"]),
        ("5.1,,setosa\n4.9,1,setosa\n", ["c0", "c1", "c2"]),
        ("x,2019\n1,2\n3,5\n", ["x", "2019"]),
        ("color,kind\nred,a\nblue,b\n", ["color", "kind"]),
        ('a,"b, c"\n1,2\n3,4\n', ["a", "b, c"]),
    ],
)
def test_header(tmp_path: Path, content: str, names: list[str]) -> None:
    table = tables.read(text(tmp_path, content))
    assert list(table.columns) == names
    if names[0] == "c0":
        assert table.rows == 2
        assert "the first line is data, so the columns are called c0 to" in table.notes[0]


def test_types_are_inferred_from_all_rows(tmp_path: Path) -> None:
    """Arrow alone would settle a type after the first megabyte, and then fail on the 0.5."""
    content = "a,b\n" + "1,2\n" * 400_000 + "0.5,3\n"
    column = tables.read(text(tmp_path, content)).columns["a"]
    assert isinstance(column, Numbers) and column.type == "real" and column.values[-1] == 0.5


@pytest.mark.parametrize("name", ["id", "", "Unnamed: 0"])
def test_row_counters_are_left_out(tmp_path: Path, name: str) -> None:
    table = tables.read(text(tmp_path, f"{name},a,y\n0,5,1\n1,5,1\n2,6,0\n"))
    assert list(table.columns) == ["a", "y"]
    assert any(note.startswith("Left out: ") and "only counts the rows" in note for note in table.notes)
    assert "1 rows repeat an earlier row in every column; copies may fall into both parts." in table.notes
    assert "id" in tables.read(text(tmp_path, "id,y\n4,1\n9,1\n2,0\n")).columns


def test_dropped_columns_may_be_of_any_type(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "list": [[1], [2]]}), tmp_path / "t.parquet")
    assert list(tables.read(tmp_path / "t.parquet", drop=["list"]).columns) == ["a"]
    with pytest.raises(DataError, match=r"column list must be of a usable type; got 'list<.*drop=.'list'."):
        tables.read(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"drop must name columns of the table; got 'lisd'.*try 'list'"):
        tables.read(tmp_path / "t.parquet", drop=["lisd"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n\n\n", "blank lines only"),
        ("a,b\n", "the table has a header only"),
        ("a,b\n1,2\n3\n", "Row #3: Expected 2 columns, got 1"),
        ("a,a\n1,2\n", "name each column once; got 'a'"),
        ("a,b\nü,1\n".encode() + b"x,\xff\n", "byte 0xff in line 3.*the letters before it are UTF-8"),
        (b"a\x81,b\n1,2\n", "neither UTF-8 nor Windows-1252; try encoding='latin-1'"),
        (b"PK\x03\x04....", "it is a zip archive"),
        (b"a,b\n1,\0\n2,3\n3,\x01\n4,5,3,2,1\n", "it is no text"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        tables.read(text(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_bad_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": list(range(1000)), "b": [str(n) for n in range(1000)]}), path)
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole[8:], b"PAR1", b"text,csv\n1,2\n"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a whole, readable file") as caught:
            tables.read(path)
        assert "\n" not in str(caught.value)
