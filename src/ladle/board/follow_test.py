from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ladle.board import follow
from ladle.board.columns import Grown
from ladle.board.follow import Followed
from ladle.board.lines import Block
from ladle.board.thin import kept, thin, within


def line(i: int, **more: object) -> bytes:
    return json.dumps({"examples": 64 * i, "train_loss": 1.0 / (1 + i), **more}).encode() + b"\n"


def lines(first: int, last: int, **more: object) -> bytes:
    return b"".join(line(i, **more) for i in range(first, last))


def positions(file: Followed) -> list[int]:
    return [round(value / 64) for value in file["examples"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_a_file_is_followed_through_half_written_lines(path: Path):
    file = Followed(path)
    assert not file.step() and file.rows.count == 0 and file.done and not file.trouble
    whole = lines(0, 5)
    with open(path, "wb") as out:
        for end, count in ((10, 0), (len(line(0)) + 3, 1), (len(whole) - 1, 4), (len(whole), 5)):
            out.write(whole[out.tell() : end])
            out.flush()
            file.step()
            assert file.rows.count == count and file.done and file.broken == 0
    version = file.version
    assert not file.step() and file.version == version


def test_each_byte_is_parsed_once(path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    parse = follow.parse
    monkeypatch.setattr(follow, "parse", lambda data: seen.append(len(data)) or parse(data))
    monkeypatch.setattr(follow, "CHUNK_BYTES", 300)
    file = Followed(path)
    for part in range(6):
        with open(path, "ab") as out:
            out.write(lines(20 * part, 20 * part + 20))
        file.step()
    assert positions(file) == list(range(120))
    assert sum(seen) == path.stat().st_size and max(seen) <= 300


def test_a_resumed_run_cuts_its_record_and_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(follow, "CHUNK_BYTES", 300)
    monkeypatch.setattr(follow, "MARK_BYTES", 600)
    path.write_bytes(lines(0, 50, reason="first"))
    file = Followed(path)
    file.step()
    os.truncate(path, len(lines(0, 30, reason="first")))
    assert file.step() and positions(file) == list(range(30)) and len(file.rows.told) == 30
    # It goes on, past where it had been, before the next look.
    os.truncate(path, len(lines(0, 20, reason="first")))
    with open(path, "ab") as out:
        out.write(lines(20, 90, reason="second"))
    file.step()
    assert positions(file) == list(range(90))
    assert [one.reason for one in file.rows.told] == ["first"] * 20 + ["second"] * 70


def test_a_file_written_anew_is_read_anew(path: Path):
    path.write_bytes(lines(0, 50))
    file = Followed(path)
    file.step()
    path.unlink()
    path.write_bytes(lines(0, 80, other=1))
    file.step()
    assert positions(file) == list(range(80)) and "other" in file
    path.unlink()
    file.step()
    assert file.rows.count == 0 and not file.trouble
    path.write_bytes(b"")
    file.step()
    assert file.rows.count == 0
    path.write_bytes(lines(0, 3))
    file.step()
    assert positions(file) == [0, 1, 2]


def test_broken_lines_are_counted_once_and_forgotten_with_the_part_they_stood_in(path: Path):
    path.write_bytes(lines(0, 3) + b"garbage\n" + lines(3, 5))
    file = Followed(path)
    file.step()
    assert positions(file) == [0, 1, 2, 3, 4] and file.broken == 1 and "Expecting" in file.why
    path.write_bytes(lines(0, 2))
    file.step()
    assert positions(file) == [0, 1] and file.broken == 0 and file.why == ""


def test_what_cannot_be_opened_is_said(tmp_path: Path):
    (tmp_path / "metrics.jsonl").mkdir()
    file = Followed(tmp_path / "metrics.jsonl")
    file.step()
    assert file.done and "directory" in file.trouble.lower()


def test_a_line_longer_than_a_chunk(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(follow, "CHUNK_BYTES", 64)
    path.write_bytes(lines(0, 2) + line(2, note="x" * 1000) + lines(3, 5))
    file = Followed(path)
    file.step()
    assert positions(file) == [0, 1, 2, 3, 4]


def test_a_long_record_is_seen_whole_before_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"CHUNK_BYTES": 2000, "LONG_BYTES": 10_000, "SAMPLES": 20, "SAMPLE_BYTES": 200}.items():
        monkeypatch.setattr(follow, name, value)
    path.write_bytes(lines(0, 2000))
    file = Followed(path)
    assert file.step(budget_seconds=0.0)
    seen = positions(file)
    assert not file.done and 0 < file.share < 0.2
    assert seen == sorted(set(seen)) and seen[0] == 0 and seen[-1] == 1999
    while not file.done:
        before = file.share
        file.step(budget_seconds=0.0)
        assert file.share > before
        assert positions(file) == sorted(set(positions(file))) and positions(file)[-1] == 1999
    assert positions(file) == list(range(2000)) and file.share == 1.0


def test_columns_grow_from_the_middle_and_are_cut():
    rows = Grown()
    for start in range(0, 300, 100):
        block = {"examples": np.arange(start, start + 100.0)} | ({"late": np.ones(100)} if start == 200 else {})
        rows.append(Block(100, block))
    assert rows["late"].sum(where=~np.isnan(rows["late"])) == 100 and np.isnan(rows["late"][:200]).all()
    rows.cut(150)
    rows.append(Block(1, {"examples": np.array([7.0])}))
    assert rows["examples"].tolist()[-2:] == [149.0, 7.0] and np.isnan(rows["late"][150])
    assert set(rows) == {"examples", "late"}


@pytest.mark.parametrize("n", [0, 1, 5, 99, 100, 101, 1000, 12_347])
def test_thinning_keeps_ends_extremes_and_order(n: int):
    y = np.random.default_rng(n).standard_normal(n)
    x = np.arange(float(n))
    few, values = thin(x, y, 100)
    assert len(few) <= 104 and (np.diff(few) > 0).all()
    if n:
        assert few[0] == 0 and few[-1] == n - 1
        assert values.min() == y.min() and values.max() == y.max()
    stretch = -(-n // 50) if n > 100 else 1
    for start in range(0, n, max(stretch, 1)):
        part = y[start : start + stretch]
        inside = values[(few >= start) & (few < start + stretch)]
        assert inside.min() == part.min() and inside.max() == part.max()
    np.testing.assert_array_equal(kept(y, 100), few.astype(int))


def test_a_part_of_the_axis_keeps_a_point_beyond_each_end():
    x = np.arange(10.0)
    assert x[within(x, 2.5, 5.5)].tolist() == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert x[within(x, -5, 50)].tolist() == x.tolist()
    assert np.empty(0)[within(np.empty(0), 0, 1)].size == 0
