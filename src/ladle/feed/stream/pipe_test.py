"""Lines of a pipe: what comes is given, in time; positions, header, end."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.stream.pipe import AHEAD, PipeStream


def read_all(stream: PipeStream, count: int = 7) -> list[Any]:
    position, events = stream.start(), []
    while True:
        got, position = stream.read(position, count, 5.0)
        events += got
        if not got:
            return events


def test_rows_and_objects_are_told_apart_by_the_first_line():
    assert read_all(PipeStream(["a,b\n", "1,x\n", "\n", '2,"y,z"\n'])) == [{"a": "1", "b": "x"}, {"a": "2", "b": "y,z"}]
    assert read_all(PipeStream(['{"a": 1}\n', '{"a": 2}'])) == ['{"a": 1}', '{"a": 2}']
    assert read_all(PipeStream(["1", "2"], form="jsonl")) == ["1", "2"]
    assert read_all(PipeStream(["a,b", "1", "1,2,3", '"x'])) == [
        {"a": "1", "b": None}, {"a": "1", "b": "2", None: ["3"]}, {None: '"x'},
    ]  # fmt: skip


def test_more_lines_than_are_kept_ahead_all_come():
    stream = PipeStream(map(str, range(3 * AHEAD)), form="jsonl")
    assert read_all(stream, 1000) == list(map(str, range(3 * AHEAD)))
    stream = PipeStream(map(str, range(3 * AHEAD)), form="jsonl")
    assert len(stream.read(stream.start(), 2 * AHEAD, 5.0)[0]) == 2 * AHEAD


def test_a_position_may_be_read_again_and_a_run_goes_on_by_passing_over():
    stream = PipeStream(map(str, range(9000)), form="jsonl")
    first = stream.read(stream.start(), 3, 5.0)
    assert stream.read(stream.start(), 3, 5.0) == first
    assert stream.read(first[1], 1, 5.0)[0] == ["3"]
    with pytest.raises(DataError, match="position must be one that the pipe has not passed"):
        stream.read(stream.start(), 1, 0)
    again = PipeStream(map(str, range(9000)), form="jsonl")
    assert again.read({"taken": 8998}, 10, 5.0)[0] == ["8998", "8999"]
    with pytest.raises(DataError, match="it ended before: it is not the one of the run"):
        PipeStream(["1"], form="jsonl").read({"taken": 2}, 1, 5.0)


def test_a_batch_closes_before_it_is_full():
    reading, writing = os.pipe()
    with os.fdopen(reading) as lines, os.fdopen(writing, "w") as writer:
        stream = PipeStream(lines, form="jsonl")
        writer.write("1\n2\n")
        writer.flush()
        got, after = stream.read(stream.start(), 2, 5.0)
        assert got == ["1", "2"] and stream.read(after, 2, 0.01)[0] == []
        threading.Timer(0.01, lambda: (writer.write("3\n"), writer.flush())).start()
        assert stream.read(after, 1, 5.0)[0] == ["3"]
        writer.close()
        assert stream.read({"taken": 3}, 1, float("inf"))[0] == []  # It is closed: nothing is waited for.


@pytest.mark.parametrize("position", [None, {}, {"taken": -1}, {"taken": "x"}])
def test_what_is_no_position_is_refused(position: Any):
    with pytest.raises(DataError, match="position must be one of a pipe"):
        PipeStream([]).read(position, 1, 0)
    with pytest.raises(ArgumentError, match="form must be 'csv' or 'jsonl'"):
        PipeStream([], form="xml")


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    (tmp_path / "x").write_bytes(b"a,b\n1,\xff\n")
    with (tmp_path / "x").open(encoding="utf-8") as lines, pytest.raises(DataError, match="readable lines of text"):
        read_all(PipeStream(lines))
