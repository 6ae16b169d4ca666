"""`search` as a whole, on forty rows."""

import json
import pickle

import numpy as np
import pytest

from ladle import models
from ladle.assembly import assemble
from ladle.cli import run
from ladle.data import arrays
from ladle.errors import ArgumentError
from ladle.models import losses
from ladle.searching import search
from ladle.task import Task
from ladle.trials.folds import folds_of
from ladle.trials.threads import Threads
from ladle.trials.trial import Candidate, Job, Outcome, Trial
from ladle.trying import Runner, Work

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
    """A first search, and how many programs it compiled by name."""
    import jax

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
    assert len(whole) == 2
    grid = {row.candidate: row for row in found.rows}
    for row in whole:
        assert [one.reading for one in row.outcomes] == [one.reading for one in grid[row.candidate].outcomes]


def test_a_model_based_search_is_reproducible(assembly):
    pytest.importorskip("optuna")
    one, two = (search(assembly, **SMALL, method="model", trials=5, seed=7) for _ in range(2))
    assert readings(one) == readings(two)
    assert len(one.rows) == 5
    assert one.chosen.complete


def test_a_runner_travels_as_its_recipe_and_gives_the_same(assembly):
    runner = Runner(TASK, folds_of(DATA.rows, 3, seed=0, labels=DATA.train["y"]), [4], 4, 9, assembly)
    away = pickle.loads(pickle.dumps(runner))
    assert "assembly" not in vars(away)
    away.assembly = assembly  # What it would put together itself; that is tried in a process, below.
    first = Job(Trial(Candidate(4, 0.03), 1, 2), 5, keep=True)
    for stretch in (runner, away):
        begun = stretch(first)
        ended = stretch(Job(first.trial, 11, begun.updates, pickle.loads(pickle.dumps(begun.state))))
        assert ended.reading == runner(Job(first.trial, 11)).reading
    assert isinstance(away(first).state.key, np.ndarray)


@pytest.mark.long
@pytest.mark.slow
def test_another_process_gives_the_same_also_where_trials_are_continued(assembly):
    small = {**SMALL, "lrs": [0.003, 0.03], "method": "halving"}
    here, there = (search(assembly, **small, workers=workers) for workers in ("threads", "processes:1"))
    assert readings(here) == readings(there)


class Together:
    """Stands for a runner: notes the parts that are vmapped."""

    def __init__(self):
        self.parts = []

    def together(self, jobs):
        self.parts.append((jobs[0].trial.candidate.size, len(jobs)))
        return [Outcome(job.trial, job.updates, {"valid_loss": 0.0}, 0.0) for job in jobs]


def test_vmapped_trials_come_in_parts_of_one_length_for_each_size():
    trials = [Trial(Candidate(size, 0.1), fold, 0) for size in (4, 8) for fold in range(70)]
    runner = Together()
    with Work(runner, "vmapped", None) as work:
        outcomes = work([Job(trial, 9) for trial in trials[:-1]])
    assert [one.trial for one in outcomes] == trials[:-1]
    assert runner.parts == [(4, 35), (4, 35), (8, 35), (8, 35)]


def test_a_rate_that_diverges_is_told_and_never_chosen(assembly):
    got = search(assembly, sizes=[4], lrs=[0.03, 1e38], folds=3, micro_size=4, until="9 epochs")
    assert [row.diverged for row in got.rows] == [False, True]
    assert got.chosen.candidate.lr == 0.03
    assert "diverged" in str(got)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 49}, "folds must be at most the 48 training rows; got 49"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"folds": 40}, "folds must hold two classes each"),
        ({"lrs": [0.0]}, "lrs must be positive numbers; got 0.0; because a rate of zero learns nothing"),
        ({"lrs": [-1e-3]}, "lrs must be positive numbers; got -0.001"),
        ({"lrs": []}, "lrs must name a rate"),
        ({"sizes": [33]}, "sizes must be at most the 32 rows that a fold trains on; got 33"),
        ({"sizes": [49]}, "size must be at most the 48 training examples"),
        ({"sizes": [0]}, "size must be at least 1"),
        ({"sizes": []}, "sizes must name a size"),
        ({"metric": "valid_f1"}, "metric must be measured; got '?valid_f1'?"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"until": "10 s"}, "until must be epochs, examples or steps"),
        ({"until": "3 epochs, patience 2"}, "until must be epochs, examples or steps"),
        ({"trials": 9}, "trials must be at least 2, with --method model"),
        ({"method": "magic"}, "method must be a known word"),
        ({"prefer": "money"}, "prefer must be a known word"),
        ({"workers": "elves"}, "workers must be a known name"),
        ({"micro_size": 0}, "micro_size must be at least 1"),
    ],
)
def test_what_cannot_be_searched_is_one_line(assembly, change, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        search(assembly, **{**SMALL, "sizes": [4], **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": "sequential"}, "order must be 'permuted'"),
        ({"lr": lambda examples: 0.1}, "lr must be left to the search"),
        ({"lane": "host"}, "data must be arrays in memory"),
    ],
)
def test_tasks_that_leave_nothing_to_search_are_refused(change, message):
    with pytest.raises(ArgumentError, match=message):
        search(TASK.with_(**change), **{**SMALL, "sizes": [4]})


def test_threads_are_the_default_on_a_processor(assembly):
    got = search(assembly, sizes=[8], lrs=[0.1], folds=3, micro_size=4, until="1 epoch", workers=Threads(1))
    assert got.facts["workers"] == "Threads"
