"""`search` as a whole, on forty rows."""

import json
from pathlib import Path

import numpy as np
import pytest

from ladle import models
from ladle.api.assembly import assemble
from ladle.api.search import search
from ladle.api.search_result import to_json
from ladle.api.task import Task
from ladle.cli.main import run
from ladle.core.errors import ArgumentError, RunError
from ladle.data import arrays
from ladle.models import losses
from ladle.search.threads import Threads

SOURCE = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
Y = np.arange(60) % 3
DATA = arrays(RNG.standard_normal((60, 4)) + Y[:, None], Y, valid=0.2)
TASK = Task(models.linear(4, 3), losses.cross_entropy, DATA)
SMALL = {"sizes": [4, 8], "lrs": [0.003, 0.03, 0.3], "folds": 3, "until": "9 epochs", "micro_size": 4}


@pytest.fixture(scope="module")
def assembly():
    return assemble(TASK)


@pytest.fixture(scope="module")
def counted(assembly):
    """A first search, and how many programs it compiled by name: none is left of earlier tests."""
    import jax

    from ladle.jax.programs import forget

    forget()
    names = []

    def compiled(event, seconds, **facts):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(str(facts.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(compiled)
    done = search(assembly, **SMALL, workers="threads:2", prefer="updates")
    jax.monitoring.unregister_event_duration_listener(compiled)
    return done, names


@pytest.fixture(scope="module")
def found(counted):
    return counted[0]


class InTurn:
    def map(self, function, items):
        return map(function, items)


def readings(found):
    return [(one.trial, one.reading) for row in found.rows for one in row.outcomes]


def test_threads_give_what_one_after_the_other_gives(assembly, found):
    alone = search(assembly, **SMALL, workers=InTurn(), prefer="updates")
    assert readings(alone) == readings(found)
    assert alone.chosen.candidate == found.chosen.candidate
    assert len(found.rows) == 6
    assert len(readings(found)) == 18


def test_vmapped_trials_have_the_scores_of_threads(assembly, found):
    vmapped = search(assembly, **SMALL, workers="vmapped", prefer="updates")
    assert [trial for trial, _ in readings(vmapped)] == [trial for trial, _ in readings(found)]
    for (_, one), (_, two) in zip(readings(vmapped), readings(found), strict=True):
        assert one == pytest.approx(two, rel=1e-4)
    assert vmapped.chosen.candidate == found.chosen.candidate


def test_a_search_compiles_one_window_for_all_sizes_and_the_next_one_nothing(assembly, counted, compilations):
    names = sorted(name.removeprefix("jit(").removesuffix(")") for name in counted[1])
    assert names.count("_trace_window") == 1
    assert len(names) == 3, names
    compilations.clear()
    search(assembly, **{**SMALL, "sizes": [3, 7], "lrs": [0.02], "seed": 1}, workers="threads:2", seeds=2)
    assert compilations.total() == 0


def test_halving_ends_with_what_the_grid_has_of_its_finalists(assembly, found):
    halved = search(assembly, **SMALL, method="halving", prefer="updates")
    whole = [row for row in halved.rows if row.complete]
    assert sorted(row.updates for row in halved.rows if row.candidate.size == 8) == [12, 12, 36]
    assert len(whole) == 3
    assert "chosen among the 3 of 6 trained to the end" in str(halved)
    grid = {row.candidate: row for row in found.rows}
    for row in whole:
        assert [one.reading for one in row.outcomes] == [one.reading for one in grid[row.candidate].outcomes]


def test_a_model_based_search_is_reproducible(assembly):
    pytest.importorskip("optuna")
    one, two = (search(assembly, **SMALL, method="model", trials=5, seed=7) for _ in range(2))
    assert readings(one) == readings(two)
    assert len(one.rows) == 5
    assert one.chosen.complete


@pytest.mark.long
@pytest.mark.slow
def test_another_process_gives_the_same_also_where_trials_are_continued(assembly):
    small = {**SMALL, "lrs": [0.003, 0.03], "method": "halving"}
    here, there = (search(assembly, **small, workers=workers) for workers in ("threads", "processes:1"))
    assert readings(here) == readings(there)


ON_DEVICES = """
import numpy as np
import ladle
y = np.arange(60) % 3
data = ladle.data.arrays(np.random.default_rng(0).standard_normal((60, 4)) + y[:, None], y, valid=0.2)
task = ladle.Task(ladle.models.linear(4, 3), "cross_entropy", data)
asked = {"sizes": [4, 8], "lrs": [0.003, 0.03], "folds": 3, "until": "9 epochs", "micro_size": 4, "method": "halving"}
def readings(found):
    return [(one.trial, dict(one.reading)) for row in found.rows for one in row.outcomes]
one, two = (readings(ladle.search(task, **asked, workers=name)) for name in ("devices:1", "devices"))
assert one == two, (one, two)
asked = {"sizes": [8, 16], "seeds": 2, "until": "2 epochs", "lr": 0.01}
one, two = ([[run.params for run in of] for of in ladle.compare(task, **asked, workers=name).runs]
            for name in ("devices:1", "devices:2"))
import jax
assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, two))
print("equal")
"""


@pytest.mark.long
@pytest.mark.slow
def test_trials_on_two_devices_are_those_on_one(on_devices):
    assert on_devices(2, ON_DEVICES).split() == ["equal"]


@pytest.mark.long
@pytest.mark.slow
def test_workers_on_hosts_share_one_compilation_cache_and_one_that_is_killed_costs_nothing(assembly, found, own_cache):
    def killing(workers, function, items):
        for number, answer in enumerate(map_(workers, function, items)):
            if number == 0 and not killed:
                killed.append(workers._crew.workers[0].child.kill())
            yield answer

    from ladle.search.hosts import Hosts

    map_, killed = Hosts.map, []
    own_cache.mkdir(mode=0o700)
    path = f"env PYTHONPATH={SOURCE} LADLE_CACHE={own_cache}"
    workers = type("Killing", (Hosts,), {"map": killing})([path, path])
    there = search(assembly, **SMALL, workers=workers, prefer="updates")
    assert killed and len(there.facts["begun_anew"]) == 1
    assert readings(there) == readings(found)
    names = [path.name for path in (own_cache / "compiled").iterdir() if "-cache" in path.name]
    assert len([name for name in names if "_trace_window" in name]) == 1


def test_a_rate_that_diverges_is_told_and_never_chosen(assembly):
    got = search(assembly, sizes=[4], lrs=[0.03, 1e38], folds=3, micro_size=4, until="9 epochs")
    assert [row.diverged for row in got.rows] == [False, True]
    assert got.chosen.candidate.lr == 0.03
    assert "diverged" in str(got)


class Writing:
    """An executor with files of its own, which ctrl-C ends after `most` items."""

    def __init__(self, folder, most=99):
        self.folder, self.most = folder, most

    def map(self, function, items):
        (self.folder / "jobs").mkdir(parents=True)
        for number, item in enumerate(items):
            if number == self.most:
                raise KeyboardInterrupt
            yield function(item)


ONE = {"sizes": [8], "lrs": [0.1, 0.2], "folds": 3, "micro_size": 4, "until": "1 epoch"}


def test_workers_may_write_into_the_folder_too(assembly, tmp_path):
    got = search(assembly, **ONE, workers=Writing(tmp_path / "out"), out=tmp_path / "out")
    said = json.loads((tmp_path / "out" / "search.json").read_text())
    assert (said["status"], len(said["candidates"])) == ("finished", 2)
    with pytest.raises(ArgumentError, match="out must be a new folder; .* try another folder, or overwrite=True$"):
        search(assembly, **ONE, out=got.folder)


@pytest.mark.slow
def test_submitit_writes_beside_the_answer(assembly, tmp_path, monkeypatch):
    slurm = pytest.importorskip("submitit.slurm.slurm")
    monkeypatch.setattr(slurm.SlurmExecutor, "affinity", classmethod(lambda cls: -1))  # Whatever is installed here.
    got = search(assembly, **ONE, workers="submitit:1", out=tmp_path / "out")
    assert readings(got) == readings(search(assembly, **ONE))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"jobs", "search.json"}


def test_ctrl_c_leaves_what_was_finished(assembly, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        search(assembly, **ONE, workers=Writing(tmp_path, most=4), out=tmp_path)
    said = json.loads((tmp_path / "search.json").read_text())
    assert said["status"] == "interrupted"
    assert [(one["lr"], one["fold"]) for one in said["trials"]] == [(0.1, 0), (0.1, 1), (0.1, 2), (0.2, 0)]
    assert 0 <= said["trials"][0]["valid_accuracy"] <= 1


class Deadly:
    """An executor whose worker dies over the first item."""

    def map(self, function, items):
        yield RunError(f"trial must end by itself; got '{items[0]}'")
        yield from map(function, items[1:])


def test_a_worker_that_dies_costs_its_own_candidate_alone(assembly):
    got = search(assembly, **ONE, workers=Deadly())
    assert [bool(row.failed) for row in got.rows] == [True, False]
    assert got.chosen is got.rows[1]
    assert "failed: size 8, rate 0.1: trial must end by itself; got 'size 8, rate 0.1, fold 0, seed 0'" in str(got)
    assert to_json(got)["candidates"][0]["trials"][0]["failed"].startswith("trial must end by itself")


def test_the_command_line_writes_and_prints(tmp_path, capsys):
    np.savez(tmp_path / "rows.npz", x=DATA.train["x"], y=DATA.train["y"])
    words = ["search", str(tmp_path / "rows.npz"), "--sizes", "8,full", "--folds", "2", "--until", "2 epochs"]
    assert run([*words, "--model", "linear", "--json", "--refit", "--out", str(tmp_path / "out")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["metric"] == "valid_accuracy"
    assert len(said["candidates"]) == 6
    assert len(said["candidates"][0]["trials"]) == 2
    assert said["refit"]["final"]["examples"] == 2 * 38
    assert json.loads((tmp_path / "out" / "search.json").read_text())["chosen"] == said["chosen"]
    assert run([*words, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.endswith("try another folder, or --overwrite\n")


def test_threads_are(assembly):
    got = search(assembly, sizes=[8], lrs=[0.1], folds=3, micro_size=4, until="1 epoch", workers=Threads(1))
    assert got.facts["workers"] == "Threads"
