"""The command line's contract: what it prints, what it writes, how it ends; and one clear line for each mistake."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest

from ladle.cli.main import run
from ladle.core.record import METRICS_FILE, RUN_FILE, read_json, read_lines, write_json

COMPARE_KEYS = {
    "name", "size", "micro_size", "lr", "updates", "examples", "seconds", "train_loss", "valid_loss", "valid_metric",
    "peak_memory_bytes", "examples_per_second", "gradient_variance", "sharpness",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a few good and bad files."""
    monkeypatch.chdir(tmp_path)
    rows = range(60)
    write = {
        "ok.csv": "a,b,y\n" + "".join(f"{i},{i % 7},{'u' if i % 2 else 'v'}\n" for i in rows),
        "amounts.csv": "a,b,y\n" + "".join(f"{i},{i % 7},{i * 0.5 + 0.25}\n" for i in rows),
        "empty.csv": "",
        "one.csv": "a,y\n" + "".join(f"{i},same\n" for i in rows),
        "missing.csv": "a,b,y\n" + "".join(f"{i},,{i % 2}\n" for i in rows),
        "nan.csv": "a,y\n" + "".join(f"{i},{'nan' if i == 3 else i * 1.5}\n" for i in rows),
        "inf.csv": "a,y\n" + "".join(f"{i},{'inf' if i == 3 else i * 1.5}\n" for i in rows),
        "text.csv": "a,t,y\n" + "".join(f"{i},w{i * 2 // 3},{i % 2}\n" for i in rows),
        "raises.py": "import ladle\nraise RuntimeError('boom')\n",
        "notask.py": "x = 1\n",
    }
    for name, text in write.items():
        Path(name).write_text(text)
    np.savez("whole.npz", x=np.zeros((10, 3)), y=np.arange(10))
    Path("cut.npz").write_bytes(Path("whole.npz").read_bytes()[:150])
    Path("used").mkdir()
    Path("used/something").write_text("here first")
    return tmp_path


MISTAKES = {
    "train nosuch.csv": "nosuch.csv",
    "train empty.csv": "empty",
    "train cut.npz": "cut.npz",
    "train digitz": "try 'digits'",
    "train ok.csv --target z": "known: a, b, y",
    "train missing.csv": "column b",
    "train nan.csv": "row 4",
    "train inf.csv": "row 4",
    "train one.csv": "at least two classes",
    "train text.csv": "column t",
    "train digits --size 0": "at least 1",
    "train digits --size -3": "at least 1",
    "train digits --size 1.5": "whole number",
    "train digits --size 99999": "at most the 1,438",
    "train digits --size 64 --micro-size 128": "at most the batch size 64",
    "train digits --size 64 --micro-size 0": "at least 1",
    "train digits --size 64 --out /proc/nowhere": "can be written",
    "train digits --size 64 --out used": "be a new folder",
    "compare digits --out used": "be a new folder",
    "plan ok.csv --model linear --memory 1KB": "memory must be more than",
    "plan digits --memory lots": "--memory 2GB",
    "train raises.py:task": "raises.py, line 2",
    "train notask.py:task": "none of that name",
    "train nofile.py:task": "nofile.py",
    "train": "DATA",
    "train --resume used": "run.json is missing",
    "train digits --sizee 3": "try '--size'",
    "train digits --model cnn": "convnet",
    "train digits --seed x": "--seed",
    "train digits --optimizer adamm": "try 'adam'",
    "train digits --lr 0": "positive",
    "train amounts.csv --order stratified --size 4": "no classes",
    "train digits --order shuffled": "(known: permuted, sequential, stratified)",
    "train digits --until forever --size 4": "'30 epochs'",
    "train digits --until 'valid_loss < 0.1' --size 4": "hold a bound",
    "train digits --schedule 0:64,0:3": "given twice",
    "train ok.csv --model convnet --size 4": "table rows",
    "compare digits --sizes 64,0": "at least 1",
    "compare digits --sizes ,": "nothing to compare",
    "compare digits --seeds 0": "at least 1",
    "compare digits --epochs 2 --budget 5s": "alone",
    "report nosuch": "no such folder",
    "frain digits": "try 'train'",
    "train okk.csv": "try 'ok.csv'",
    "train okk": "try 'ok.csv'",
    "train digtis.csv": "try 'digits'",
    "train notaks.py:task": "try 'notask.py'",
    "plan digits --memory 2GB --epochs 5": "ladle plan; got '--epochs'",
    "compare digits --sizes 8 16": "try commas between the numbers of a list",
    "compare digits --sizes '8;16'": "joined by commas or spaces; got '8;16'",
    "search digits --sizes 1,024": "'024' is none",
    "train digits --size 64 --until '20 epochs, valid_acc >= 0.6'": "try 'valid_accuracy'",
    "train notask.py --optimizer sgd": "--optimizer must be left out here",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    assert run(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("ladle: "), err
    assert MISTAKES[command] in lines[0], err
    assert "Traceback" not in err
    written = [path for path in folder.rglob("*") if path not in before and "__pycache__" not in path.parts]
    assert not written, "nothing is written for a run that cannot be"


def test_train_writes_its_folder_and_says_where(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "ok.csv", "--size", "16", "--until", "3 epochs", "--json"]) == 0
    out, _ = capsys.readouterr()
    said = json.loads(out)
    assert set(said) == {"folder", "status", "size", "examples", "updates", "seconds", "final"}
    assert (said["status"], said["size"], said["examples"], said["updates"]) == ("finished", 16, 3 * 48, 3 * 3)
    info = read_json(folder / said["folder"] / RUN_FILE)
    for key in ("status", "command", "seed", "plan", "versions", "hardware", "data", "checkpoint"):
        assert key in info
    assert info["data"]["rows"] == 48 and len(info["data"]["digest"]) == 64
    lines = read_lines(folder / said["folder"] / METRICS_FILE)
    assert [line["examples"] for line in lines] == [0, 48, 96, 144]
    expected = {"updates", "epoch", "seconds", "size", "micro_size", "lr", "train_loss", "valid_loss", "grad_norm"}
    assert expected | {"examples_per_second", "data_wait_fraction", "memory_bytes"} <= set(lines[-1])
    assert run(["train", "--resume", said["folder"], "--until", "5 epochs", "--size", "12", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["size"], again["examples"]) == (12, 5 * 48)
    assert run(["report", said["folder"], "--json"]) == 0
    page = json.loads(capsys.readouterr().out)["report"]
    assert "<html" in (folder / page).read_text()


def test_a_schedule_is_in_the_record_with_its_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained("ok.csv --model linear --schedule '0:8 2ep:24' --until '3 epochs' --out run") == 0
    lines = read_lines(folder / "run" / METRICS_FILE)
    assert [line["size"] for line in lines[1:]] == [8, 8, 24]
    assert lines[-1]["reason"] and "reason" not in lines[2]


def test_a_diverging_run_fails_and_names_the_last_good_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "train amounts.csv --model linear --optimizer sgd --lr 1e6 --size 4 --until '5 epochs' --out run --quiet"
    assert run(shlex.split(command)) == 1
    err = capsys.readouterr().err
    assert "000000000000" in err and "--lr" in err
    info = read_json(folder / "run" / RUN_FILE)
    assert info["status"] == "diverged" and info["checkpoint"] == "000000000000"


@pytest.mark.slow
def test_compare_writes_table_picture_and_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "compare",
        "ok.csv",
        "--model",
        "linear",
        "--sizes",
        "full,8,1",
        "--epochs",
        "3",
        "--seeds",
        "2",
        "--out",
        "c",
        "--json",
    ]
    assert run(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"folder", "runs"} and [row["name"] for row in said["runs"]] == ["full", "8", "1"]
    for row in said["runs"]:
        assert set(row) >= COMPARE_KEYS
        assert row["examples"] == 3 * 48
        assert row["peak_memory_bytes"] > 0
        assert row["sharpness"] is not None
    assert [row["updates"] for row in said["runs"]] == [3, 18, 144]
    assert {"curves.png", "report.html", "compare.json"} <= {path.name for path in (folder / "c").iterdir()}
    one, eight = (read_lines(folder / "c" / name / METRICS_FILE)[0] for name in ("1-seed0", "8-seed0"))
    assert one["valid_loss"] == eight["valid_loss"], "all sizes start from the same parameters"


@pytest.mark.slow
def test_plan_says_what_it_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "ok.csv", "--model", "linear", "--memory", "1GB", "--out", "p", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) >= {"size", "micro_size", "lr", "within_5_percent", "bound", "noise_scale", "evidence"}
    assert set(said["noise_scale"]) == {"value", "low", "high", "verdict"}
    assert {one["source"] for one in said["evidence"]} <= {"predicted", "measured", "given", "assumed"}
    assert (folder / "p" / "plan.png").stat().st_size > 10_000
    low, high = said["within_5_percent"]
    assert 1 <= low <= high <= 48


def test_data_lists_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data"]) == 0
    assert "digits" in capsys.readouterr().out


def test_a_users_own_task(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(
        "import jax.numpy as jnp, numpy as np, ladle\n"
        "data = ladle.data.arrays(np.arange(40.0)[:, None], np.arange(40.0) * 2 + 1.5)\n"
        "def init(key):\n    return {'w': jnp.zeros((1, 1)), 'b': jnp.zeros(1)}\n"
        "def loss(params, batch):\n"
        "    out = (batch['x'] / 40) @ params['w'] + params['b'][None]\n"
        "    return (out[:, 0] - batch['y']) ** 2\n"
        "task = ladle.Task.functions(init, loss, data, optimizer='sgd', lr=0.1)\n"
    )
    assert run(["train", "mine.py:task", "--size", "8", "--until", "20 epochs", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["final"]["valid_loss"] < 0.5


def test_help_of_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["compare"], ["plan"], ["train"], ["report"], ["data"]):
        with pytest.raises(SystemExit) as ended:
            run([*verb, "--help"])
        assert ended.value.code == 0
    assert "--sizes" in capsys.readouterr().out or os.environ.get("COLUMNS")


def trained(words: str) -> int:
    return run(["train", *shlex.split(words), "--quiet"])


def test_a_run_goes_on_from_any_folder_and_follows_its_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained("ok.csv --size 16 --until '1 epochs' --out run") == 0
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    assert trained("--resume ../run --until '2 epochs'") == 0
    (folder / "ok.csv").rename(folder / "moved.csv")
    capsys.readouterr()
    assert trained("--resume ../run --until '3 epochs'") == 2
    said = capsys.readouterr().err
    assert f"looked for in {folder} and is not there; try ladle train --resume ../run PATH" in said
    assert trained("--resume ../run ../amounts.csv --until '3 epochs'") == 2
    assert "data must be what the run began with" in capsys.readouterr().err
    assert trained("--resume ../run ../moved.csv --until '3 epochs'") == 0
    assert trained("--resume ../run --until '4 epochs'") == 0, "the new place is kept"
    assert read_json(folder / "run" / RUN_FILE)["request"]["task"]["data"] == str(folder / "moved.csv")


def test_a_record_of_another_version_is_gone_on_with(folder: Path) -> None:
    assert trained("ok.csv --size 16 --until '1 epochs' --out run") == 0
    facts = read_json(folder / "run" / RUN_FILE)
    asked = facts["request"]
    asked["task"] |= {"lr": None, "data": "ok.csv", "of_the_future": 1}
    del asked["restore"], asked["task"]["stream"]
    write_json(folder / "run" / RUN_FILE, {**facts, "request": {**asked, "of_the_future": 1}})
    assert trained("--resume run --until '2 epochs'") == 0


def test_an_existing_run_is_written_anew_where_that_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained("ok.csv --size 16 --until '2 epochs' --out run") == 0
    assert trained("ok.csv --size 16 --until '1 epochs' --out run") == 2
    assert capsys.readouterr().err.endswith("try another folder, or --overwrite or --resume FOLDER\n")
    assert trained("ok.csv --size 16 --until '1 epochs' --out run --overwrite") == 0
    assert len(read_lines(folder / "run" / METRICS_FILE)) == 2
    assert trained("ok.csv --size 16 --out used --overwrite") == 2, "no run is there"
    assert (folder / "used" / "something").read_text() == "here first"


def test_whose_parameters_a_run_ends_with_is_an_option(folder: Path) -> None:
    assert trained("ok.csv --size 16 --until '1 epochs' --out run --restore best") == 0
    assert read_json(folder / "run" / RUN_FILE)["restore"] == "best"
    assert trained("--resume run --until '2 epochs'") == 0
    assert read_json(folder / "run" / RUN_FILE)["restore"] == "best"
    assert trained("--resume run --until '3 epochs' --restore last") == 0
    assert read_json(folder / "run" / RUN_FILE)["restore"] == "last"


VERBS = {
    "train": "--size 16 --until '1 epochs'",
    "search": "--model linear --sizes 16 --lrs 0.1 --folds 2 --until '1 epochs'",
    "recur": "--model linear --sizes 16 --until 'valid_loss <= 0.01, 1 epochs'",
}


@pytest.mark.parametrize("verb", VERBS)
def test_what_was_inferred_of_the_data_is_said_on_standard_error(
    verb: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [verb, "ok.csv", *shlex.split(VERBS[verb])]
    run([*words, "--out", "shown"])
    out, err = capsys.readouterr()
    said = [line for line in err.splitlines() if line.startswith("data: ")]
    assert said[0].startswith("data: ok.csv: classification, 48 rows to train on, 12 to validate")
    assert any("the first line names the columns" in line for line in said) and any(
        "Target: y" in line for line in said
    )
    assert "data: " not in out
    run([*words, "--out", "silent", "--json"])
    out, err = capsys.readouterr()
    assert err == "" and json.loads(out)


FEW = [
    ("search --until '1 epochs'", 12),
    pytest.param("search --until '1 epochs'", 30, marks=pytest.mark.long),
    pytest.param("search --until '1 epochs'", 60, marks=pytest.mark.long),
    ("recur", 12),
    pytest.param("recur", 30, marks=pytest.mark.long),
    pytest.param("recur", 60, marks=pytest.mark.long),
    pytest.param("compare --epochs 1 --seeds 1", 12, marks=pytest.mark.long),
]


@pytest.mark.parametrize(("verb", "rows"), FEW)
def test_defaults_fit_small_data(verb: str, rows: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.random.default_rng(rows).normal(size=(rows, 3))
    kinds = np.where(values[:, 0] > np.median(values[:, 0]), "u", "v")
    lines = [f"{a:.3f},{b:.3f},{kind}" for (a, b, _), kind in zip(values, kinds, strict=True)]
    Path("few.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    name, *words = shlex.split(verb)
    for _ in range(2 if name == "recur" else 1):
        # A job that misses its target ends with 1, and is an answer.
        assert run([name, "few.csv", *words, "--out", "out"]) in ((0, 1) if name == "recur" else (0,))
        err = capsys.readouterr().err
        assert "there are" in err and "rows to train on" in err, "what was left out is said"


def test_branches_of_few_rows_are_as_many_as_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained("ok.csv --model linear --size 8 --until '1 epochs' --out run") == 0
    assert trained("ok.csv --model linear --size 48 --until '1 epochs' --out full") == 0
    capsys.readouterr()
    assert run(["critical", "run", "--seeds", "1", "--out", "answer"]) == 0
    assert "factors 1, 2, 4, not 1, 2, 4, 8, 16: there are 48 rows to train on" in capsys.readouterr().err
    assert run(["critical", "full", "--out", "another"]) == 2
    assert "must have a batch size of at most 24; got 48" in capsys.readouterr().err
