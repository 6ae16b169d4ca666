from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import RunError
from ladle.core.record import read_lines
from ladle.monitor.jsonl import MetricsFile


def test_lines_come_back_as_plain_json(tmp_path: Path) -> None:
    with MetricsFile(tmp_path / "m.jsonl") as file:
        file.append(
            {"examples": np.int64(64), "train_loss": np.float32(0.5), "noise_scale": math.inf, "reason": "größer\n"}
        )
        file.append({"examples": 128, "train_loss": math.nan, "ok": True, "nothing": None, "sizes": (1, 2)})
    first, second = read_lines(tmp_path / "m.jsonl")
    assert first == {"examples": 64, "train_loss": 0.5, "noise_scale": None, "reason": "größer\n"}
    assert second == {"examples": 128, "train_loss": None, "ok": True, "nothing": None, "sizes": [1, 2]}


def test_each_line_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(data), write(fd, data))[1])
    with MetricsFile(tmp_path / "m.jsonl") as file:
        for position in (1, 2, 3):
            file.append({"examples": position})
    assert [json.loads(data)["examples"] for data in writes] == [1, 2, 3]
    assert all(data.endswith(b"\n") and data.count(b"\n") == 1 for data in writes)


def test_two_writers_never_overwrite_each_other(tmp_path: Path) -> None:
    with MetricsFile(tmp_path / "m.jsonl") as one, MetricsFile(tmp_path / "m.jsonl") as other:
        for position in range(10):
            (one if position % 2 else other).append({"examples": position})
    assert [line["examples"] for line in read_lines(tmp_path / "m.jsonl")] == list(range(10))


@given(
    positions=st.lists(st.integers(1, 50), min_size=1, max_size=20).map(np.cumsum),
    cut=st.integers(0, 600),
    torn=st.sampled_from([b"", b"{", b'{"examples": 1', b"\0\0\0", b'{"examples":5}']),
)
def test_resume_leaves_neither_gap_nor_duplicate(
    tmp_path_factory: pytest.TempPathFactory, positions: np.ndarray, cut: int, torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("run") / "m.jsonl"
    with MetricsFile(path) as file:
        for position in positions:
            file.append({"examples": position})
    with open(path, "ab") as raw:
        raw.write(torn)
    kept = [int(p) for p in positions if p <= cut]
    with MetricsFile(path) as file:
        assert file.truncate_after(cut) == (kept[-1] if kept else 0)
        for position in positions[len(kept) :]:
            file.append({"examples": position})
    assert [line["examples"] for line in read_lines(path)] == positions.tolist()


def test_lines_after_an_unreadable_one_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"examples":1}\n\0\0\0\n{"examples":3}\n')
    with MetricsFile(path) as file:
        assert file.truncate_after(10) == 1
    assert path.read_bytes() == b'{"examples":1}\n'


def test_a_full_disk_names_the_file_and_keeps_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, path = os.write, tmp_path / "m.jsonl"
    with MetricsFile(path) as file:
        file.append({"examples": 1})
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
        with pytest.raises(RunError, match=r"m\.jsonl"):
            file.append({"examples": 2})

        def full(fd: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(RunError, match="No space left"):
            file.append({"examples": 3})
    assert path.read_bytes() == b'{"examples":1}\n'


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_the_real_full_device_is_reported() -> None:
    descriptor_file = MetricsFile("/dev/full")
    with pytest.raises(RunError, match="/dev/full"):
        descriptor_file.append({"examples": 1})
    with pytest.raises(RunError):
        descriptor_file.close()  # a device that cannot be synchronised is an error as well
    descriptor_file.close()


def test_unwritable_and_closed_files_are_run_errors(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="missing"):
        MetricsFile(tmp_path / "missing" / "m.jsonl")
    with pytest.raises(RunError, match=str(tmp_path)):
        MetricsFile(tmp_path)
    file = MetricsFile(tmp_path / "m.jsonl")
    file.close()
    file.close()
    for call in (lambda: file.append({"examples": 1}), lambda: file.truncate_after(0), file.flush):
        with pytest.raises(RunError, match="closed"):
            call()
