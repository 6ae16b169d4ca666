"""A whole run of several processes with JAX: that of one, with the same losses; and the end of all where one fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import pytest
from tests.processes import begun, close, ended, names

import ladle
from ladle.core.errors import ArgumentError
from ladle.feed import Permuted
from ladle.jax import world as world_
from ladle.jax.cluster import Place
from ladle.jax.world import join, world

TASK = """
import os, signal, sys, time
import numpy as np
import ladle
from ladle.feed import HostFeed, Permuted

drawn = np.random.default_rng(0)
x = drawn.normal(size=(500, 6)).astype("float32")
y = (x @ drawn.normal(size=(6, 3))).argmax(1)
held = {"x": x[400:], "y": y[400:]}
net = ladle.models.linear(6, 3)
RANK = int(os.environ.get("RANK", "0"))

def task():
    return ladle.Task(net, "cross_entropy", (x, y), optimizer="momentum", lr=0.1)

class Counted:  # a source that knows what was read of it
    def __init__(self):
        self.read = []
    def __len__(self):
        return 400
    def take(self, ids):
        self.read.append(ids.tolist())
        return {"x": x[ids], "y": y[ids]}

def travelling(source):
    data = ladle.data.streamed(source, valid=held, name="counted")
    feed = lambda seed: HostFeed(source, Permuted(400, seed=seed))
    return ladle.Task(net, "cross_entropy", data, optimizer="momentum", lr=0.1, feed=feed)

CUT = {"size": 48, "micro_size": 12}
"""

FAILING = """
from task import *
from pathlib import Path

def failing(how, bad, **more):
    source, taken = Counted(), Counted.take
    def take(ids):
        if RANK == bad and sum(map(len, source.read)) > 300:
            if how == "raise":
                raise ValueError("a row too many")
            if how == "data":
                time.sleep(1000)
            if how != "python":
                os.kill(os.getpid(), getattr(signal, how))
        return taken(source, ids)
    source.take = take
    if how == "python" and RANK == bad:
        from ladle.jax.host import HostUpdates
        called, calls = HostUpdates.__call__, []
        def stuck(*given):
            calls.append(0)
            if len(calls) > 12:
                time.sleep(1000)
            return called(*given)
        HostUpdates.__call__ = stuck
    ladle.fit(travelling(source), **CUT, until="40 epochs", window=96, **more)
"""

CHILD = (
    FAILING
    + """
import json, jax
out, refused = Path(sys.argv[1]), []
try:
    ladle.fit(task(), size=1)
except ladle.ArgumentError as error:
    refused.append(str(error))
run = ladle.fit(task(), **CUT, until="600 examples", out=out / "two")
source = Counted()
moved = ladle.fit(travelling(source), **CUT, until="1 epochs", window=100)
told = {"lines": run.metrics, "folder": run.folder is not None, "travelled": moved.metrics, "read": source.read}
told |= {"refused": refused, "weights": [leaf.tolist() for leaf in jax.tree.leaves(run.params)]}
(out / f"rank{RANK}.json").write_text(json.dumps(told))
failing("SIGKILL", 1)
"""
)

QUICK = {"LADLE_SILENCE_SECONDS": "8", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
"""Compiling is most of what a short run takes."""


def read_once(told: list[dict[str, Any]], ranks: int) -> None:
    """Each example of the first pass by one process, and what is read ahead of the second is little."""
    order, rows = Permuted(400, seed=0).ids(0, 400).tolist(), -(-12 // ranks)
    every = []
    for one in told:
        read = [id for ids in one["read"] if len(ids) == rows for id in ids]
        every += dict.fromkeys(read)
        assert len(read) <= 400 / ranks + 12 * 10
    assert set(every) == set(order)


@pytest.mark.slow
def test_a_run_of_two_processes_is_that_of_one_until_one_is_killed(tmp_path: Path):
    (code, words), (killed, _) = ended(begun(TASK, 2, CHILD, tmp_path, **QUICK), 400)
    assert code == 1 and "for rank 1 died" in words and killed == -9, words[-3000:]
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [one["folder"] for one in told] == [True, False]
    for name in ("lines", "travelled", "weights", "refused"):
        assert told[0][name] == told[1][name], name
    assert "size must be at least the 2 processes" in told[0]["refused"][0]
    known = names(TASK)
    run = ladle.fit(known["task"](), **known["CUT"], until="600 examples")
    close(told[0]["lines"], run.metrics)
    for name in ("noise/trace", "noise/square"):
        assert told[0]["lines"][-1][name] == pytest.approx(run.metrics[-1][name], rel=1e-4)
    one = ladle.fit(known["travelling"](known["Counted"]()), **known["CUT"], until="1 epochs", window=100)
    close(told[0]["travelled"], one.metrics)
    read_once(told, 2)


RESUMED = """
from task import *
from pathlib import Path
import json
source, until, lane = Counted(), os.environ["UNTIL"], os.environ["LANE"]
how = {"out": Path(sys.argv[1]) / lane, "resume": os.environ.get("AGAIN") == "1", "window": 96}
run = ladle.fit(task() if lane == "device" else travelling(source), **CUT, until=until, **how)
(Path(sys.argv[1]) / f"{lane}{RANK}.json").write_text(json.dumps({"lines": run.metrics, "read": source.read}))
"""


@pytest.mark.long
@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("lane", ["device", "host"])
def test_any_number_of_processes_has_the_same_losses(ranks: int, lane: str, tmp_path: Path):
    for code, words in ended(begun(TASK, ranks, RESUMED, tmp_path, UNTIL="1 epochs", LANE=lane), 600):
        assert code == 0, words[-3000:]
    told = [json.loads((tmp_path / f"{lane}{rank}.json").read_text()) for rank in range(ranks)]
    known = names(TASK)
    task = known["task"]() if lane == "device" else known["travelling"](known["Counted"]())
    close(told[-1]["lines"], ladle.fit(task, **known["CUT"], until="1 epochs", window=96).metrics)
    if lane == "host":
        read_once(told, ranks)


@pytest.mark.long
@pytest.mark.parametrize("lane", ["device", "host"])
def test_a_run_goes_on_with_another_number_of_processes(lane: str, tmp_path: Path):
    for ranks, until, again in ((4, "250 examples", ""), (1, "530 examples", "1"), (3, "800 examples", "1")):
        for code, words in ended(begun(TASK, ranks, RESUMED, tmp_path, UNTIL=until, AGAIN=again, LANE=lane), 600):
            assert code == 0, words[-3000:]
    known = names(TASK)
    task = known["task"]() if lane == "device" else known["travelling"](known["Counted"]())
    whole = ladle.fit(task, **known["CUT"], until="800 examples", window=96)
    last = json.loads((tmp_path / lane / "metrics.jsonl").read_text().splitlines()[-1])
    for name in ("train_loss", "valid_loss"):
        assert last[name] == pytest.approx(whole.final[name], abs=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("how", ["raise", "SIGKILL", "SIGSTOP", "python", "data"])
def test_one_that_fails_ends_all(how: str, bad: int, tmp_path: Path):
    bounds = {"LADLE_SILENCE_SECONDS": "8", "LADLE_STUCK_SECONDS": "8"}
    began = time.monotonic()
    found = ended(begun(TASK, 2, f"{FAILING}\nfailing({how!r}, {bad})", tmp_path, **bounds), 300)
    assert all(code != 0 for code, _ in found), found
    said = "".join(words for _, words in found)
    if how in ("python", "data"):
        assert "made no step" in said and ("in take" if how == "data" else "in stuck") in said  # Where it hangs.
    assert time.monotonic() - began < 240


STOPPED = """
from task import *
from pathlib import Path
source, taken = Counted(), Counted.take
def take(ids):
    if RANK == 1 and sum(map(len, source.read)) > 300 and not hasattr(source, "told"):
        source.told = os.kill(os.getpid(), signal.SIGTERM)
    return taken(source, ids)
source.take = take
run = ladle.fit(travelling(source), **CUT, until="400 epochs", window=96, out=Path(sys.argv[1]) / "run")
print(run.status, run.why, run.checkpoint)
"""


@pytest.mark.long
def test_a_signal_to_one_saves_and_stops_all(tmp_path: Path):
    for code, words in ended(begun(TASK, 2, STOPPED, tmp_path), 300):
        assert code == 0 and "interrupted SIGTERM at" in words, words[-2000:]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"


@pytest.mark.long
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs OpenMPI: apt install openmpi-bin")
def test_open_mpi_begins_the_processes(tmp_path: Path):
    (tmp_path / "task.py").write_text(TASK)
    paths = f"{Path(__file__).parents[2]}{os.pathsep}{tmp_path}"
    words = [sys.executable, "-m", "ladle.cli", "train", "task.py:task", "--size", "48", "--until", "1 epochs"]
    mpi = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"]
    done = subprocess.run(
        [*mpi, *words, "--out", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["processes"] == 2 and facts["status"] == "finished"
    wanted = ladle.fit(names(TASK)["task"](), size=48, until="1 epochs").final["train_loss"]
    assert facts["final"]["train_loss"] == pytest.approx(wanted, abs=1e-5)


def test_alone_there_is_one_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert world().size == join().size == 1


def test_jax_that_was_used_before_cannot_be_joined(monkeypatch: pytest.MonkeyPatch):
    jax.devices()
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ArgumentError, match="joined before JAX is used"):
        join()


def test_a_world_of_another_size_than_was_said_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Whoever begins two processes that do not find each other would have two runs, each of which looks well."""
    place = Place(0, 2, "127.0.0.1", 29400, "127.0.0.1")
    monkeypatch.setattr(world_, "found", lambda: place)
    monkeypatch.setattr(world_, "_begin", lambda place: None)
    monkeypatch.setattr(world_, "_joined", None)
    with pytest.raises(ArgumentError, match="processes must be 2 in one world; got 1"):
        world_.join()
