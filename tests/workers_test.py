"""Trials and runs by workers in other processes: the same numbers whoever does them, also where one is killed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.core.errors import ArgumentError, RunError
from ladle.search.hosts import Hosts
from numpy_backend import NumpyBackend

SOURCE = Path(__file__).parents[1] / "src"

FRAGILE = '''
"""A model that ends its process in the middle of a trial, as often as there is a file that says so."""
import os, signal
from pathlib import Path
from numpy_backend import Softmax

calls = 0

class Fragile(Softmax):
    def errors(self, w, rows):
        global calls
        calls += 1
        if "LADLE_TEST_FALLS" in os.environ and calls == 40:
            for file in sorted(Path(os.environ["LADLE_TEST_FALLS"]).glob("fall*")):
                file.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().errors(w, rows)
'''

DRAWN = np.random.default_rng(3)
X = DRAWN.normal(size=(90, 4)).astype(np.float32)
Y = (X @ DRAWN.normal(size=(4, 3)) + 0.5 * DRAWN.normal(size=(90, 3))).argmax(1)
SEARCHED: dict[str, Any] = {"sizes": [8, 16], "lrs": [0.03, 0.1], "folds": 3, "until": "4 epochs", "prefer": "updates"}
COMPARED: dict[str, Any] = {"sizes": [8, 24], "seeds": 2, "until": "4 epochs", "lr": 0.1}


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ladle.Task]:
    (tmp_path / "fragile.py").write_text(FRAGILE)
    (tmp_path / "falls").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    model = import_module("fragile").Fragile(4, 3)
    yield ladle.Task(model, None, ladle.data.arrays(X, Y), optimizer="momentum", backend=NumpyBackend())
    del sys.modules["fragile"]


@pytest.fixture
def workers(tmp_path: Path) -> Callable[..., Hosts]:
    """`workers(2, falls=1)`: two of them, in new processes; one trial's process is killed in the middle of it."""

    def begin(count: int, falls: int = 0) -> Hosts:
        for number in range(falls):
            (tmp_path / "falls" / f"fall{number}").touch()
        path = os.pathsep.join(map(str, (SOURCE, Path(__file__).parent, tmp_path)))
        return Hosts([f"env PYTHONPATH={path} LADLE_TEST_FALLS={tmp_path}/falls"] * count)

    return begin


def readings(found: ladle.Search) -> list[Any]:
    return [(one.trial, one.updates, dict(one.reading)) for row in found.rows for one in row.outcomes]


def test_a_search_is_the_same_by_one_worker_and_by_two_of_which_one_is_killed(task: Any, workers: Any, tmp_path: Path):
    here = ladle.search(task, **SEARCHED, workers="threads:1")
    one = ladle.search(task, **SEARCHED, workers=workers(1))
    two = ladle.search(task, **SEARCHED, workers=workers(2, falls=1), method="grid", out=tmp_path / "out")
    assert readings(here) == readings(one) == readings(two)
    assert here.chosen.candidate == two.chosen.candidate
    assert "begun_anew" not in one.facts
    assert len(two.facts["begun_anew"]) == 1
    assert not any(row.failed for row in two.rows)


def test_stretches_go_on_in_another_process(task: Any, workers: Any):
    halved = {**SEARCHED, "method": "halving", "until": "9 epochs"}
    here = ladle.search(task, **halved, workers="threads:1")
    assert readings(ladle.search(task, **halved, workers=workers(2, falls=1))) == readings(here)


def test_a_trial_that_kills_every_worker_is_reported(task: Any, workers: Any):
    """Those of size 8 are longer than what a process lives here; those of size 36 are not."""
    asked = {**SEARCHED, "sizes": [8, 36], "lrs": [0.1], "folds": 2, "until": "9 epochs"}
    found = ladle.search(task, **asked, workers=workers(1, falls=6))
    assert [bool(row.failed) for row in found.rows] == [True, False]
    assert len(found.facts["begun_anew"]) == 4
    assert "its worker, env PYTHONPATH=" in found.rows[0].failed and "(exit code -9" in found.rows[0].failed


def losses(found: ladle.Comparison) -> list[Any]:
    kept = "size", "updates", "train_loss", "valid_loss", "valid_metric", "gradient_variance", "spread"
    rows = [{name: row[name] for name in kept} for row in found.rows]
    for row in rows:
        row["spread"] = {name: row["spread"][name] for name in ("train_loss", "valid_loss")}
    return rows


def test_a_comparison_is_the_same_by_workers_of_which_one_is_killed(task: Any, workers: Any, tmp_path: Path):
    here = ladle.compare(task, **COMPARED)
    there = ladle.compare(task, **COMPARED, workers=workers(2, falls=1), out=tmp_path / "out")
    assert losses(here) == losses(there)
    for mine, theirs in zip(here.runs, there.runs, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(one.state["w"], other.state["w"])
            assert (other.folder / "run.json").is_file() and other.assembly is not None
    assert there.facts["workers"] == "Hosts"


class Dying:
    """An executor whose every worker dies."""

    def map(self, function: Any, items: Any) -> Iterator[RunError]:
        return (RunError(f"killed over {item}") for item in items)


def test_a_run_whose_workers_all_died_is_left_out_and_said(task: Any, workers: Any, capsys: pytest.CaptureFixture[str]):
    long = {**COMPARED, "sizes": [8], "until": "6 epochs"}
    found = ladle.compare(task, **long, workers=workers(1, falls=5), show=True)
    assert [row["seed_count"] for row in found.rows] == [1]
    said = " ".join("".join(capsys.readouterr()).split())
    assert "begun anew, for the worker died: size 8, seed 0 (2 times); size 8, seed 1 (2 times)" in said
    assert "left out: trial must end by itself; got 'size 8, seed 0'" in said
    with pytest.raises(RunError, match="killed over size 8, seed 0"):
        ladle.compare(task, **long, workers=Dying())


@pytest.mark.parametrize(
    ("verb", "asked", "message"),
    [
        (ladle.compare, "threads:2", "workers must be processes or devices; got 'threads:2'"),
        (ladle.compare, "vmapped", "workers must be processes or devices"),
        (ladle.compare, "procesess", "workers must be a known name; .*processes"),
        (ladle.search, 3, "workers must be a name or have a method map; got 3"),
        (ladle.search, "devices:2", "workers must have a number from 1 to 1; got 'devices:2'.*there is one"),
        (ladle.search, "hosts:", "workers must name commands"),
    ],
)
def test_what_is_no_worker_is_refused_before_work(task: Any, verb: Any, asked: Any, message: str):
    with pytest.raises(ArgumentError, match=message):
        verb(task, sizes=[8], until="1 epochs", workers=asked)


def test_one_device_does_as_this_process_does(task: Any):
    here, there = (ladle.search(task, **SEARCHED, workers=name) for name in ("threads:1", "devices"))
    assert readings(here) == readings(there)
    assert losses(ladle.compare(task, **COMPARED)) == losses(ladle.compare(task, **COMPARED, workers="devices"))
