from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.record import (
    command,
    free_folder,
    hardware,
    make_folder,
    plain,
    read_json,
    read_lines,
    require_new,
    versions,
    write_json,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=30)  # each of some 40 ms, nearly all of it to make the value
@given(values)
def test_json_data_stays_as_it_is(value):
    assert plain(value) == value
    json.dumps(plain(value), allow_nan=False)


def test_everything_else_becomes_json_data():
    found = plain(
        {
            "bad": [math.nan, math.inf, np.float32(-np.inf), np.float64(np.nan)],
            1: (np.float32(0.5), np.int64(3), np.bool_(True), np.float64(0.25)),
            "array": np.arange(4).reshape(2, 2),
            "path": Path("a/b"),
            "set": {7},
        }
    )
    assert found == {"bad": [None] * 4, "1": [0.5, 3, True, 0.25], "array": [[0, 1], [2, 3]], "path": "a/b", "set": [7]}
    assert type(found["1"][3]) is float


def test_a_file_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "run.json"
    write_json(path, {"status": "running"})
    write_json(path, {"status": "finished", "loss": np.float32(0.5)})
    assert read_json(path) == {"status": "finished", "loss": 0.5}
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_missing_or_broken_file_is_the_users_to_mend(tmp_path: Path):
    with pytest.raises(ArgumentError, match="run.json is missing"):
        read_json(tmp_path / "run.json")
    (tmp_path / "run.json").write_text('{"status": ')
    with pytest.raises(ArgumentError, match="folder must hold a readable run"):
        read_json(tmp_path / "run.json")


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    assert read_lines(path) == []
    path.write_bytes(b'{"examples":1,"reason":"a\xe2\x80\xa8b"}\n{"examples":2}\n{"exam\xe2')
    assert read_lines(path) == [{"examples": 1, "reason": "a\u2028b"}, {"examples": 2}]


@pytest.mark.parametrize("bad", [b"{broken", b"", b"3", b"[1]", b"\xff\xfe", b'{"examples":3}{"examples":4}'])
def test_a_whole_line_that_is_no_record_is_named(tmp_path: Path, bad: bytes):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"examples":1}\n' + bad + b"\n" + b'{"examples":3}\n')
    with pytest.raises(ArgumentError, match="metrics.jsonl, line 2"):
        read_lines(path)


def test_what_the_numbers_depend_on_is_written_down():
    assert {"python", "numpy", "jax"} <= versions().keys()
    found = hardware(["cpu:0"])
    assert found["cores"] >= 1 and found["memory_bytes"] > 0 and found["devices"] == ["cpu:0"]
    assert command()[0]


def test_a_new_folder_is_made_whole_and_an_old_one_left_alone(tmp_path: Path):
    make_folder(tmp_path / "runs" / "a")
    make_folder(tmp_path / "runs" / "a")  # still empty
    assert list((tmp_path / "runs").rglob("*")) == [tmp_path / "runs" / "a"]
    (tmp_path / "runs" / "a" / "run.json").write_text("{}")
    with pytest.raises(ArgumentError, match="out must be a new folder"):
        make_folder(tmp_path / "runs" / "a")


def test_whether_a_folder_could_be_made_is_known_without_making_it(tmp_path: Path):
    require_new(tmp_path / "runs" / "a")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArgumentError, match="out must be a folder that can be written"):
        require_new(tmp_path / "file" / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_free_folders_are_numbered(tmp_path: Path):
    assert free_folder("train", "data/a.csv", tmp_path).name == "train-a-1"
    (tmp_path / "train-a-1").mkdir()
    assert free_folder("train", "data/a.csv:task", tmp_path).name == "train-a-2"
