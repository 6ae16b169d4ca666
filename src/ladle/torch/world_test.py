"""A whole run of several processes: that of one, with the same losses; and the end of all where one of them fails."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.processes import begun, close, ended, names

import ladle
from ladle.core.errors import ArgumentError
from ladle.feed import Permuted
from ladle.torch.world import world

TASK = """
import os, signal
import numpy as np
import ladle, ladle.torch as lt
from ladle.feed import HostFeed, Permuted
from torch import nn

drawn = np.random.default_rng(0)
x = drawn.normal(size=(500, 6)).astype("float32")
y = (x @ drawn.normal(size=(6, 3))).argmax(1)
held = {"x": x[400:], "y": y[400:]}

def net():
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))

def task():
    return lt.task(net, "cross_entropy", (x, y), optimizer="adam", lr=1e-2)

class Counted:  # a source that knows what was read of it
    def __init__(self, at=None):
        self.read, self.at = [], at
    def __len__(self):
        return 400
    def take(self, ids):
        if len(ids) == 13:  # A micro-batch; others look at a few rows beforehand.
            self.read += ids.tolist()
        if self.at is not None and len(self.read) >= self.at:
            signal.raise_signal(signal.SIGTERM)
            self.at = None
        return {"x": x[ids], "y": y[ids]}

def travelling(source):
    data = ladle.data.streamed(source, valid=held, name="counted")
    feed = lambda seed: HostFeed(source, Permuted(400, seed=seed))
    return lt.task(net, "cross_entropy", data, optimizer="adam", lr=1e-2, feed=feed)

CUT = {"size": 48, "micro_size": 13}
"""

FAILING = """
import torch
from task import *
torch.set_num_threads(1)

def failing(how, bad):
    source, taken = Counted(), Counted.take
    def take(ids):
        if int(os.environ["RANK"]) == bad and len(source.read) > 300:
            if how == "raise":
                raise ValueError("a row too many")
            os.kill(os.getpid(), getattr(signal, how))
        return taken(source, ids)
    source.take = take
    ladle.fit(travelling(source), **CUT, until="40 epochs", window=96)
"""

CHILD = (
    FAILING
    + """
import json, sys
from pathlib import Path
out, rank = Path(sys.argv[1]), int(os.environ["RANK"])
run = ladle.fit(task(), **CUT, until="600 examples", out=out / "two")
told = {"lines": run.metrics, "folder": run.folder is not None}
source = Counted()
run = ladle.fit(travelling(source), **CUT, until="1 epochs", window=100)
told |= {"read": source.read, "travelled": run.metrics}
run = ladle.fit(task(), **CUT, lr=0.3, until="patience 2, 40 epochs")
told |= {"best": run.best.examples, "status": run.status, "weights": run.params["0.weight"].tolist(), "why": run.why}
source = Counted(at=150 if rank == 1 else None)
run = ladle.fit(travelling(source), **CUT, until="9 epochs", window=96, out=out / "cut")
told |= {"cut": [run.status, run.final["examples"]]}
try:
    ladle.fit(task(), **CUT, until="1 epochs", out=out / "two")
except Exception as error:
    told |= {"refused": type(error).__name__ + str(error)}
(out / f"rank{rank}.json").write_text(json.dumps(told))
failing("SIGKILL", 1)
"""
)


HERE = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_run_of_two_processes_is_that_of_one_until_one_is_killed(tmp_path: Path):
    (code, words), (killed, _) = ended(begun(TASK, 2, CHILD, tmp_path, **HERE, LADLE_SILENCE_SECONDS="5"), 200)
    assert code == 1 and "for rank 1 died" in words and killed == -9, words[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["folder"] and not second["folder"]
    for name in ("lines", "travelled", "weights", "best", "why", "status", "cut"):
        assert first[name] == second[name], name
    known = names(TASK)
    close(first["lines"], ladle.fit(known["task"](), **known["CUT"], until="600 examples").metrics)
    source = known["Counted"]()
    one = ladle.fit(known["travelling"](source), **known["CUT"], until="1 epochs", window=100)
    close(first["travelled"], one.metrics)
    # Each example by one of them; what they saw together was proved at the end of the pass. Then some of the next pass.
    order = Permuted(400, seed=0).ids(0, 400).tolist()
    for rank, told in enumerate((first, second)):
        reads = [told["read"][at : at + 13] for at in range(0, len(told["read"]), 13)]
        own = [read for read in reads if set(read) <= set(order[rank::2])]
        assert {one for read in own for one in read} == set(order[rank::2])
        assert len(told["read"]) - 13 * len(own) <= 13 * 8
    assert first["status"] == "stopped" and first["cut"][0] == "interrupted"
    assert (tmp_path / "cut" / "checkpoints" / f"{first['cut'][1]:012d}").is_dir()
    assert first["refused"].startswith("ArgumentError") and first["refused"] == second["refused"]
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2
    # Gone on with by one process, in the middle of a pass.
    resumed = ladle.fit(known["task"](), **known["CUT"], until="1000 examples", out=tmp_path / "two", resume=True)
    whole = ladle.fit(known["task"](), **known["CUT"], until="1000 examples")
    wanted = {line["examples"]: line for line in whole.metrics}
    close(
        [line for line in resumed.metrics if line["examples"] in wanted and line["examples"] != 800],
        [
            wanted[line["examples"]]
            for line in resumed.metrics
            if line["examples"] in wanted and line["examples"] != 800
        ],
    )


RESUMED = """
import sys, torch
from pathlib import Path
from task import *
torch.set_num_threads(1)
ladle.fit(travelling(Counted()), **CUT, until=os.environ["UNTIL"],
          out=Path(sys.argv[1]) / "run", resume=os.environ.get("AGAIN") == "1", window=96)
"""


@pytest.mark.long
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path):
    for ranks, until, again in ((2, "250 examples", ""), (1, "530 examples", "1"), (3, "800 examples", "1")):
        for code, words in ended(begun(TASK, ranks, RESUMED, tmp_path, **HERE, UNTIL=until, AGAIN=again), 200):
            assert code == 0, words[-3000:]
    known = names(TASK)
    whole = ladle.fit(known["travelling"](known["Counted"]()), **known["CUT"], until="800 examples", window=96)
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    for name in ("train_loss", "valid_loss"):
        assert last[name] == pytest.approx(whole.final[name], abs=1e-5)


def failed(how: str, bad: int, ranks: int, folder: Path) -> None:
    began = time.monotonic()
    code, silence = f"{FAILING}\nfailing({how!r}, {bad})", {"LADLE_SILENCE_SECONDS": "5"}
    found = ended(begun(TASK, ranks, code, folder, **HERE, **silence), 100)
    assert all(code != 0 for code, _ in found), found
    for rank, (_, words) in enumerate(found):
        assert f"rank {bad}" in words or rank == bad, (rank, words[-2000:])
    assert time.monotonic() - began < 90  # Starting included, on a machine that does other things, too.


@pytest.mark.long
@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("how", ["raise", "SIGKILL", "SIGSTOP"])
@pytest.mark.parametrize("bad", [0, 1])
def test_one_that_fails_ends_all(how: str, bad: int, ranks: int, tmp_path: Path):
    failed(how, bad, ranks, tmp_path)


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert world().size == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ArgumentError, match="RANK must be set"):
        world()
