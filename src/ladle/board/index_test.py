from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from ladle.board import index
from ladle.board.index import Entry, Index

LONG_AGO = 1_600_000_000


def run(folder: Path, status: str = "finished", lines: int = 3, **info: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"status": status, "seed": 0, **info}))
    text = "".join(json.dumps({"examples": 64 * i, "train_loss": 1 / (1 + i)}) + "\n" for i in range(lines))
    (folder / "metrics.jsonl").write_text(text)
    return folder


def only(root: Path) -> Entry:
    found = Index(root)
    found.refresh()
    (entry,) = found.entries.values()
    return entry


def test_runs_comparisons_and_searches_are_found(tmp_path: Path):
    run(tmp_path / "a", final={"train_loss": 0.5, "noise_scale": None}, why="5 epochs")
    run(tmp_path / "cmp" / "64-seed0")
    run(tmp_path / "cmp" / "64-seed1")
    (tmp_path / "cmp" / "compare.json").write_text("{}")
    (tmp_path / "cmp" / "plots").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "search.json").write_text('{"status": "finished", "candidates": []}')
    (tmp_path / "a" / "checkpoints" / "000000000064").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    found = Index(tmp_path)
    assert found.refresh() == {"a", "cmp/64-seed0", "cmp/64-seed1", "s"}
    assert found.entries["a"].status == "finished" and found.entries["a"].last == {"train_loss": 0.5}
    assert found.entries["a"].why == "5 epochs" and found.entries["s"].kind == "search"
    assert found.refresh() == set()


def test_a_run_folder_may_be_the_board_s_own(tmp_path: Path):
    run(tmp_path / "a")
    assert only(tmp_path / "a").name == "."


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in "abc":
        run(tmp_path / name)
    read: list[str] = []
    original = index._read
    monkeypatch.setattr(index, "_read", lambda path: read.append(path.parent.name) or original(path))
    found = Index(tmp_path)
    found.refresh()
    run(tmp_path / "b", lines=9)
    run(tmp_path / "d")
    (tmp_path / "c" / "run.json").unlink()
    (tmp_path / "c" / "metrics.jsonl").unlink()
    (tmp_path / "c").rmdir()
    assert found.refresh() == {"b", "c", "d"}
    assert read == ["a", "b", "c", "b", "d"] and found.entries.keys() == {"a", "b", "d"}
    assert found.entries["b"].last["examples"] == 512


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "run.json is no JSON: Expecting value"),
        (b'{"status": "fini', "run.json is no JSON"),
        (b"[]", "run.json is no JSON object"),
        (b"\xff\x00", "run.json is no JSON"),
        (b"[" * 100_000, "run.json is no JSON"),
    ],
)
def test_a_broken_run_is_shown_with_the_reason(tmp_path: Path, text: bytes, why: str):
    (run(tmp_path / "a") / "run.json").write_bytes(text)
    entry = only(tmp_path)
    assert entry.status == "broken" and why in entry.why
    assert entry.last["examples"] == 128


def test_a_run_without_run_json_or_without_a_record(tmp_path: Path):
    (run(tmp_path / "a") / "run.json").unlink()
    assert only(tmp_path).why == "it has a metrics.jsonl and no run.json"
    (run(tmp_path / "a") / "metrics.jsonl").unlink()
    assert only(tmp_path).status == "finished"
    (tmp_path / "a" / "metrics.jsonl").mkdir()
    assert only(tmp_path).last == {}


def test_a_hostile_run_json_is_read_as_what_it_is(tmp_path: Path):
    run(tmp_path / "a", status=["running"], final=[1], why={"x": 1})  # type: ignore[arg-type]
    entry = only(tmp_path)
    assert (entry.status, entry.why) == ("unknown", "")


def test_an_empty_folder_is_shown_and_others_are_not(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "events.out").write_text("x")
    found = Index(tmp_path)
    found.refresh()
    assert {name: entry.status for name, entry in found.entries.items()} == {"empty": "empty"}


def test_a_root_that_is_gone_is_said_and_comes_back(tmp_path: Path):
    run(tmp_path / "runs" / "a")
    found = Index(tmp_path / "runs")
    found.refresh()
    os.rename(tmp_path / "runs", tmp_path / "away")
    assert found.refresh() == {"a"} and "No such file" in found.trouble and found.entries == {}
    os.rename(tmp_path / "away", tmp_path / "runs")
    assert found.refresh() == {"a"} and found.trouble == ""


def test_a_killed_run_falls_silent_and_one_that_is_held_does_not(tmp_path: Path):
    folder = run(tmp_path / "a", status="running", lines=5)
    for name in ("run.json", "metrics.jsonl"):
        os.utime(folder / name, (LONG_AGO, LONG_AGO))
    found = Index(tmp_path)
    found.refresh(now=LONG_AGO + 10)
    assert found.entries["a"].status == "running" and found.entries["a"].last["examples"] == 256
    assert found.refresh(now=LONG_AGO + 1000) == {"a"}
    assert found.entries["a"].status == "silent" and "killed" in found.entries["a"].why
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if index._held():
            assert found.refresh(now=LONG_AGO + 2000) == {"a"} and found.entries["a"].status == "running"
    finally:
        os.close(descriptor)


def test_the_tail_of_a_long_record_begins_at_a_whole_line(tmp_path: Path):
    folder = run(tmp_path / "a", status="running", lines=3000)
    with open(folder / "metrics.jsonl", "a") as out:
        out.write('{"examples": 999999')
    assert only(tmp_path).last["examples"] == 64 * 2999
