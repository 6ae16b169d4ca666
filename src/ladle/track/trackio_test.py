"""A run in Trackio's database, read back with SQLite; and what Trackio only warns of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ladle.track.fakes_test import code

pytest.importorskip("trackio")


def test_a_run_is_in_the_database(tmp_path: Path, fresh_python: Callable[..., str]) -> None:
    fresh_python(code(f"track.Trackio(project='p', folder={str(tmp_path / 'db')!r})", tmp_path), HF_HUB_OFFLINE="1")
    with sqlite3.connect(tmp_path / "db" / "p.db") as base:
        rows = [
            (step, json.loads(text)) for step, text in base.execute("select step, metrics from metrics order by id")
        ]
        ((name, config),) = base.execute("select run_name, config from configs").fetchall()
        alerts = base.execute("select step, title, text from alerts order by id").fetchall()
    base.close()
    assert name == "run-1" and json.loads(config)["optimizer.lr"] == 0.1
    assert [(step, row["valid_loss"], row["examples"]) for step, row in rows[:3]] == [
        (0, 2.0, 0),
        (10, 1.0, 80),
        (20, 0.5, 240),
    ]
    assert alerts == [(0, "message", "a word before"), (20, "decision", "batch size 8 -> 16")]
    (drawn,) = (row["answers"] for step, row in rows if "answers" in row)
    assert drawn["_type"] == "trackio.image" and rows[3][1]["curves"]["_type"] == "trackio.image"
    (kept,) = (tmp_path / "db").rglob(Path(drawn["file_path"]).name)
    assert kept.read_bytes() == (tmp_path / "answers.png").read_bytes()
    assert (rows[-1][1]["status"], rows[-1][1]["best/valid_loss"]) == ("stopped", 0.5)


def test_what_trackio_only_warns_of_is_an_error(tmp_path: Path, fresh_python: Callable[..., str]) -> None:
    said = fresh_python(
        f"""
from ladle import track
run = track.Trackio(project="p", folder={str(tmp_path)!r}).open("a", {{}})
import trackio.utils
trackio.utils._emit_nonfatal_warning("the disk is full")
try:
    run.numbers({{"loss": 1.0}}, 1, 0.0)
except RuntimeError as error:
    print("raised", error)
""",
        HF_HUB_OFFLINE="1",
    )
    assert "raised the disk is full" in said
