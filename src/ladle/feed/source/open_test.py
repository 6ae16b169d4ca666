from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ladle.core.errors import ArgumentError
from ladle.feed.source.memmap import Mapped
from ladle.feed.source.open import open_source
from ladle.feed.source.parquet import Parquet
from ladle.feed.source.tokens import Tokens


@pytest.fixture
def folder(tmp_path):
    for name in ("arrays", "tables", "mixed", "none", "texts"):
        (tmp_path / name).mkdir()
    for name in ("arrays", "mixed"):
        np.save(tmp_path / name / "x.npy", np.arange(9))
    for name in ("tables", "mixed"):
        pq.write_table(pa.table({"a": np.arange(9.0)}), tmp_path / name / "a.parquet")
    np.arange(100, dtype=np.uint16).tofile(tmp_path / "t.bin")
    (tmp_path / "texts" / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "model.pkl").write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "options", "kind", "examples"),
    [
        ("arrays", {}, Mapped, 9),
        ("arrays/x.npy", {}, Mapped, 9),
        ("arrays/x.npy", {"length": 4}, Tokens, 2),
        ("tables", {}, Parquet, 9),
        ("tables/a.parquet", {"cache_blocks": 1, "columns": ["a"]}, Parquet, 9),
        ("tables/*.parquet", {}, Parquet, 9),
        ("t.bin", {"length": 9, "stride": 1}, Tokens, 91),
        ("texts/t.csv", {"cache": "kept", "y": "b", "dtype": "float64"}, Parquet, 1),
    ],
)
def test_the_ending_says_which(folder, monkeypatch, path, options, kind, examples):
    monkeypatch.chdir(folder)
    source = open_source(path, **options)
    assert type(source) is kind
    assert len(source) == examples
    assert len(open_source(folder / path, **options)) == examples


def test_trees_and_lists(folder):
    assert open_source({"a": folder / "arrays" / "x.npy"}).take(np.array([3]))["a"].tolist() == [3]
    assert len(open_source([folder / "tables" / "a.parquet"] * 2)) == 18


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("model.pkl", {}, "data must end in a known way"),
        ("a.parket", {}, "try '.parquet' (known: .arrow, .bin"),
        ("mixed", {}, "data must be a folder of one kind of files; got '.npy, .parquet'"),
        ("none", {}, "no file in it ends in a known way"),
        ("texts", {}, "data must be a folder of .npy or .parquet files; got '.csv'"),
        ("t.bin", {}, "length must be given"),
        ("t.bin", {"length": 4, "strides": 2}, "strides must be an option of Tokens; got 2"),
        (
            "texts/t.csv",
            {"fold": 1},
            "fold must be an option of converted; got 1; because converted has others; try 'fold",
        ),
        ("texts/t.csv", {}, "folder must be given"),
        ("nowhere.npy", {}, "there is no such file"),
        ("arrays", {"x": 1}, "x must be an option of Mapped"),
        ([], {}, "data must be at least one file"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_what_cannot_be_opened(folder, monkeypatch, path, options, message):
    monkeypatch.chdir(folder)
    with pytest.raises(ArgumentError) as caught:
        open_source(path, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def memory() -> Iterator[Any]:
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_urls(folder, memory):
    for path in ("arrays/x.npy", "tables/a.parquet", "t.bin"):
        memory.pipe(f"/bucket/{path}", (folder / path).read_bytes())
    assert type(open_source("memory://bucket/tables/a.parquet")) is Parquet
    assert type(open_source("memory://bucket/tables")) is Parquet
    assert type(open_source("memory://bucket/arrays/x.npy", cache=folder / "kept")) is Mapped
    assert len(open_source("memory://bucket/t.bin", cache=folder / "kept", length=9)) == 11
    assert len(list((folder / "kept").iterdir())) == 2
    with pytest.raises(ArgumentError, match="cache must be given"):
        open_source("memory://bucket/t.bin", length=9)
