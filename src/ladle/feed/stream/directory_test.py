"""Files that appear in a folder: what is refused because it would be lost in silence."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.stream.decode import Numbers
from ladle.feed.stream.directory import DirectoryStream


def put(folder: Path, name: str, *lines: str, end: str = "\n") -> Path:
    path = folder / name
    path.with_name(f".{name}.tmp").write_text("\n".join(lines) + end if lines else "")
    os.rename(path.with_name(f".{name}.tmp"), path)
    return path


def later(path: Path, than: Path) -> None:
    """Wait for the clock of the file system to have moved on, so that a change shows."""
    while path.stat().st_ctime_ns <= than.stat().st_ctime_ns:
        time.sleep(0.001)
        path.touch()


def texts(stream: DirectoryStream, position: Any, count: int = 100) -> tuple[list[str], Any]:
    events, after = stream.read(position, count, 0)
    return [event.decode() for event in events], after


def test_files_come_in_order_of_name_and_empty_lines_are_no_events(tmp_path):
    put(tmp_path, "b.jsonl", "3", "", "4")
    put(tmp_path, "a.jsonl", "1", "2")
    put(tmp_path, "c.jsonl")
    put(tmp_path, "d.jsonl", "5")
    put(tmp_path, ".e.jsonl", "6")
    put(tmp_path, "f.jsonl.tmp", "7")
    stream = DirectoryStream(tmp_path, "*.jsonl")
    seen, position = [], stream.start()
    for _ in range(5):
        some, position = texts(stream, position, 1)
        seen += some
    assert seen == ["1", "2", "3", "4", "5"]
    assert (position["file"], position["line"], position["passed"]) == ("d.jsonl", 1, 3)


def test_the_newest_file_may_grow_and_half_a_line_waits(tmp_path):
    path = put(tmp_path, "a.jsonl", "1", "2 and mo", end="")
    stream = DirectoryStream(tmp_path, "*.jsonl")
    seen, position = texts(stream, stream.start())
    assert seen == ["1"]
    with path.open("a") as file:
        file.write("re\n3\n")
    seen, position = texts(stream, position)
    assert seen == ["2 and more", "3"]
    put(tmp_path, "b.jsonl", "4")
    assert texts(stream, position)[0] == ["4"]


def test_half_a_line_before_another_file_is_refused(tmp_path):
    put(tmp_path, "a.jsonl", "1", "2", end="")
    put(tmp_path, "b.jsonl", "3")
    with pytest.raises(DataError, match="file 'a.jsonl' must end every line with a line end"):
        DirectoryStream(tmp_path, "*.jsonl").read(DirectoryStream(tmp_path, "*.jsonl").start(), 5, 0)


def test_files_that_were_read_may_be_deleted(tmp_path):
    for name in "abc":
        put(tmp_path, f"{name}.jsonl", name)
    stream = DirectoryStream(tmp_path, "*.jsonl")
    _, position = texts(stream, stream.start(), 2)
    (tmp_path / "a.jsonl").unlink()
    assert texts(stream, position)[0] == ["c"]


def test_a_file_that_appears_before_the_position_is_refused(tmp_path):
    put(tmp_path, "b.jsonl", "1")
    put(tmp_path, "d.jsonl", "2")
    stream = DirectoryStream(tmp_path, "*.jsonl")
    _, position = texts(stream, stream.start())
    put(tmp_path, "c.jsonl", "lost")
    with pytest.raises(DataError, match="file must sort after those that were read; got .*'d.jsonl'.*would be lost"):
        stream.read(position, 1, 0)


def test_it_is_found_as_well_where_another_file_was_deleted(tmp_path):
    old = put(tmp_path, "b.jsonl", "1")
    put(tmp_path, "d.jsonl", "2")
    stream = DirectoryStream(tmp_path, "*.jsonl")
    _, position = texts(stream, stream.start())
    later(put(tmp_path, "c.jsonl", "lost"), old)
    old.unlink()
    with pytest.raises(DataError, match="got \"'c.jsonl', new or changed, before 'd.jsonl'"):
        stream.read(position, 1, 0)


def test_a_file_that_grows_after_it_was_passed_is_refused(tmp_path):
    old = put(tmp_path, "a.jsonl", "1")
    put(tmp_path, "b.jsonl", "2")
    stream = DirectoryStream(tmp_path, "*.jsonl")
    _, position = texts(stream, stream.start())
    copy = shutil.copy2(old, tmp_path / "copy")
    with old.open("a") as file:
        file.write("lost\n")
    later(old, Path(copy))
    with pytest.raises(DataError, match="'a.jsonl', new or changed"):
        stream.read(position, 1, 0)


def test_a_file_that_shrank_or_vanished_is_refused(tmp_path):
    path = put(tmp_path, "a.jsonl", "1", "2", "3")
    stream = DirectoryStream(tmp_path, "*.jsonl")
    _, position = texts(stream, stream.start(), 2)
    path.write_text("1\n")
    with pytest.raises(DataError, match="file 'a.jsonl' must never shrink; got '2 bytes'; because 4 of it were read"):
        stream.read(position, 1, 0)
    path.unlink()
    with pytest.raises(DataError, match="file 'a.jsonl' must stay until it is passed"):
        stream.read(position, 1, 0)


def test_arrays_that_shrank_or_disagree_or_are_damaged_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(6.0).reshape(3, 2), y=np.arange(3))
    stream = DirectoryStream(tmp_path, "*.npz")
    events, position = stream.read(stream.start(), 3, 0)
    assert [(event["x"].tolist(), int(event["y"])) for event in events][1:] == [([2.0, 3.0], 1), ([4.0, 5.0], 2)]
    np.savez(tmp_path / "a.npz", x=np.zeros(1))
    with pytest.raises(DataError, match="file 'a.npz' must never shrink; got '1 rows'"):
        stream.read(position, 1, 0)
    np.savez(tmp_path / "b.npz", x=np.zeros(3), y=np.zeros(2))
    fresh = DirectoryStream(tmp_path, "b*.npz")
    with pytest.raises(DataError, match="file 'b.npz' must have equally many rows"):
        fresh.read(fresh.start(), 1, 0)
    for content in (b"", b"PK\x03\x04 no archive", np.array([{}])):
        if isinstance(content, bytes):
            (tmp_path / "b.npz").write_bytes(content)
        else:
            np.savez(tmp_path / "b.npz", x=content)
        with pytest.raises(DataError, match="file 'b.npz' must be an .npz file of numbers"):
            fresh.read(fresh.start(), 1, 0)


def test_a_row_of_text_that_is_wrong_is_left_to_whoever_decodes_it(tmp_path):
    put(tmp_path, "a.csv", "x,y", "1,2", "3", "4,5,6", '"7,8', "9,10")
    stream = DirectoryStream(tmp_path, "*.csv")
    events, _ = stream.read(stream.start(), 10, 0)
    numbers = Numbers()
    with pytest.raises(DataError) as refused:
        numbers(events)
    assert refused.value.ids == (1, 2, 3)  # type: ignore[attr-defined]
    assert numbers([events[0], events[4]])["y"].tolist() == [2.0, 10.0]


def test_a_table_without_names_of_columns_is_refused(tmp_path):
    put(tmp_path, "a.csv", '"x,y', "1,2")
    stream = DirectoryStream(tmp_path, "*.csv")
    with pytest.raises(DataError, match="file 'a.csv' must begin with names of columns"):
        stream.read(stream.start(), 1, 0)


def test_a_link_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("1\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").symlink_to(secret)
    stream = DirectoryStream(tmp_path / "in", "*.jsonl")
    with pytest.raises(DataError, match="file 'a.jsonl' must be a plain file; got 'a link or folder'"):
        stream.read(stream.start(), 1, 0)


def test_a_file_without_line_ends_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("ladle.feed.stream.directory.LINE_BYTES", 100)
    (tmp_path / "a.jsonl").write_text("x" * 1000)
    stream = DirectoryStream(tmp_path, "*.jsonl")
    with pytest.raises(DataError, match="file 'a.jsonl' must end every line"):
        stream.read(stream.start(), 1, 0)


def test_wrong_folders_and_patterns_are_refused(tmp_path):
    with pytest.raises(DataError, match="folder must be a folder"):
        DirectoryStream(tmp_path / "nowhere", "*.jsonl")
    for pattern in ("../*.jsonl", "*.parquet", "*"):
        with pytest.raises(ArgumentError, match="pattern must be a file name that ends in .jsonl"):
            DirectoryStream(tmp_path, pattern)
