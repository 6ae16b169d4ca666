from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.source import convert as module
from ladle.feed.source.convert import converted


@given(st.integers(1, 60), st.sampled_from([",", "\t", ";", "|"]), st.booleans(), st.integers(0, 99))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_read_is_what_was_written(tmp_path, n, mark, header, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-9, 9, n), rng.standard_normal(n).astype(np.float32)
    lines = [f"{i}{mark}{v!r}" for i, v in zip(a.tolist(), b.tolist(), strict=True)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join([f" a {mark}b", *lines] if header else lines) + "\n")
    source = converted(path, tmp_path / f"out-{n}-{ord(mark)}-{header}-{seed}", y="a" if header else "c0")
    ids = rng.permutation(n)
    rows = source.take(ids)
    assert rows["x"][:, 0].tolist() == b[ids].tolist()
    assert rows["y"].tolist() == a[ids].tolist()
    assert rows["y"].dtype == np.int32


def test_a_second_call_reads_the_copy_and_a_changed_table_is_converted_again(tmp_path):
    path, out = tmp_path / "t.csv", tmp_path / "out"
    path.write_text("a,b\n1,2\n")
    assert converted(path, out).take(np.array([0]))["x"].tolist() == [[1, 2]]
    (copy,) = out.iterdir()
    before = copy.stat().st_mtime_ns
    assert len(converted(path, out)) == 1
    assert [copy] == list(out.iterdir())
    assert copy.stat().st_mtime_ns == before
    path.write_text("a,b\n1,2\n3,4\n")
    assert len(converted(path, out)) == 2
    assert converted(path, out, x=["b"]).take(np.array([1]))["x"].tolist() == [[4]]
    assert len(list(out.iterdir())) == 3
    os.utime(path, ns=(1, 1))
    assert len(converted(path, out)) == 2
    assert len(list(out.iterdir())) == 4


def test_row_groups_and_types_hold_over_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 256)
    monkeypatch.setattr(module, "ROWS", 50)
    path = tmp_path / "t.tsv"
    rows = [[i, i if i < 300 else i + 0.5, "" if i < 300 else i] for i in range(333)]
    path.write_text("a\tb\tc\n" + "\n".join("\t".join(map(str, row)) for row in rows))
    source = converted(path, tmp_path, fill=-1.0)
    assert source.blocks.tolist() == [50] * 6 + [33]
    assert source.take(np.array([299, 300]))["x"].tolist() == [[299, 299, -1], [300, 300.5, 300]]
    (copy,) = tmp_path.glob("*.parquet")
    assert [str(type) for type in pq.read_schema(copy).types] == ["int64", "double", "double"]


def test_categories_and_nulls(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('kind,size\n"a, b",1\nu,NA\nu,3\n')
    source = converted(path, tmp_path, categories=["kind"])
    assert source.levels == {"kind": ("a, b", "u")}
    assert source.take(np.array([2, 0]))["codes"].tolist() == [[1], [0]]
    with pytest.raises(ExampleError, match="null in row 1, column 'size'"):
        source.take(np.array([1]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "it holds blank lines only"),
        (b"a,b\n", "the table has a header only"),
        (b"a,b\n1,2\n3\n", "Expected 2 columns, got 1"),
        (b"a,b\n1,x\n", "got 'b (string)'; because t.csv has them"),
        (b"a,when\n1,2020-01-01\n", "got 'when (date32[day])'"),
        (b"a,a\n1,2\n", "data must name each column once; got 'a'"),
        (b"a,b\n1,\x81\xfe\n", "neither UTF-8 nor Windows-1252"),
        (b"\xff\xfe,b\n1,2\n", "a whole, readable file"),
        (None, "there is no such file"),
    ],
)
def test_bad_tables(tmp_path, content, message):
    path, out = tmp_path / "t.csv", tmp_path / "out"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        converted(path, out)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not out.exists() or not list(out.iterdir())


def test_a_word_among_numbers_is_named_with_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 64)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "\n".join(f"{i},{i}" for i in range(50)) + "\n50,fifty\n")
    with pytest.raises(DataError, match=r"column b must be numbers in every row.*Row #52.*invalid value 'fifty'"):
        converted(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_somewhere_to_lie(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    with pytest.raises(ArgumentError, match="folder must be given"):
        converted(path)
    monkeypatch.setenv("LADLE_CACHE", str(tmp_path / "kept"))
    assert len(converted(path)) == 1
    monkeypatch.delenv("LADLE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert len(converted(Path(path))) == 1
    assert len(list((tmp_path / "home" / "ladle" / "converted").iterdir())) == 1
