"""How trials are run: alike wherever they run, and timed without what compiles them."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from ladle import models
from ladle.api import search_trials as trying
from ladle.api.assembly import assemble
from ladle.api.search_trials import Runner, Work
from ladle.api.task import Task
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, RunError
from ladle.data import arrays
from ladle.feed.fold import Fold, Tabled
from ladle.models import losses
from ladle.search.folds import folds_of
from ladle.search.space import Space
from ladle.search.trial import Candidate, Outcome, Stretch, Trial

RNG = np.random.default_rng(0)
DATA = arrays(RNG.standard_normal((60, 4)), np.arange(60) % 3, valid=0.2)
TASK = Task(models.linear(4, 3), losses.cross_entropy, DATA)
SPACE = Space((4, 8), (0.03,), folds_of(DATA.rows, 3, seed=0), 1, Until(epochs=9), "valid_loss", 0)


@pytest.fixture(scope="module")
def assembly():
    return assemble(TASK)


def test_a_runner_travels_as_its_recipe_and_gives_the_same(assembly):
    runner = Runner(TASK, SPACE, 4, assembly)
    away = pickle.loads(pickle.dumps(runner))
    assert "assembly" not in vars(away)
    away.assembly = assembly  # What it would put together itself; that is tried in a process elsewhere.
    first = Stretch(Trial(Candidate(4, 0.03), 1, 2), 5, keep=True)
    for trainer in (runner, away):
        begun = trainer(first)
        ended = trainer(Stretch(first.trial, 11, begun.updates, pickle.loads(pickle.dumps(begun.state))))
        assert ended.reading == runner(Stretch(first.trial, 11)).reading
    assert isinstance(away(first).state.key, np.ndarray)


def test_no_trials_time_holds_a_compilation(monkeypatch, compilations):
    monkeypatch.setattr(trying, "time", SimpleNamespace(perf_counter=compilations.total))
    runner = Runner(TASK, SPACE, 4, assemble(TASK))
    trials = [Trial(Candidate(4, 0.03), fold, 0) for fold in range(3)]
    alone = runner(Stretch(trials[0], 5))
    together = runner.together([Stretch(trial, 5) for trial in trials])
    assert compilations["_trace_window"] == 2
    assert [one.seconds for one in (alone, *together)] == [0.0] * 4
    assert together[0].reading == pytest.approx(alone.reading, rel=1e-4)


@pytest.mark.parametrize(("room", "kind"), [(9 * 32 * 3 * 4, Tabled), (9 * 32 * 3 * 4 - 1, Fold)])
def test_the_tables_of_all_folds_and_seeds_share_one_bound(monkeypatch, room, kind):
    monkeypatch.setattr(trying, "TABLE_BYTES", room)
    assert type(Runner(TASK, SPACE).order(Trial(Candidate(4, 0.03), 0, 0))) is kind


class Together:
    """Stands for a runner: notes the parts that are vmapped."""

    def __init__(self):
        self.parts = []

    def together(self, stretches):
        self.parts.append((stretches[0].trial.candidate.size, len(stretches)))
        return [Outcome(stretch.trial, stretch.updates, {"valid_loss": 0.0}, 0.0) for stretch in stretches]


def test_vmapped_trials_come_in_parts_of_one_length_for_each_size():
    trials = [Trial(Candidate(size, 0.1), fold, 0) for size in (4, 8) for fold in range(70)]
    runner = Together()
    with Work(runner, "vmapped", None) as work:
        outcomes = work([Stretch(trial, 9) for trial in trials[:-1]])
    assert [one.trial for one in outcomes] == trials[:-1]
    assert runner.parts == [(4, 35), (4, 35), (8, 35), (8, 35)]


class Refusing(Runner):
    """Its second fold cannot go on."""

    def _run(self, stretch):
        if stretch.trial.fold == 1:
            raise RunError("no room for it")
        return Outcome(stretch.trial, stretch.updates, {"valid_loss": 0.5}, 0.1)


class Dying:
    """An executor whose first worker dies over its item."""

    def map(self, function, items):
        for number, item in enumerate(items):
            yield RunError("its process ended with code 9") if number == 0 else function(item)


def test_a_trial_that_cannot_end_is_an_outcome_of_its_own(assembly):
    stretches = [Stretch(Trial(Candidate(4, 0.03), fold, 0), 5) for fold in range(3)]
    with Work(Refusing(TASK, SPACE, 4, assembly), Dying(), None) as work:
        dead, refused, well = work(stretches)
    assert [(one.failed, one.diverged) for one in (dead, refused)] == [
        ("its process ended with code 9", True),
        ("no room for it", True),
    ]
    assert (well.failed, well.reading) == ("", {"valid_loss": 0.5})
    assert list(work.finished) == [stretches[i].trial for i in (1, 2, 0)]  # The dead one was begun anew, last.
    assert work.again == [str(stretches[0])] * 2


class Broken:
    """An executor that a mistake of the user's ends after one item."""

    def map(self, function, items):
        yield function(items[0])
        raise ArgumentError("loss must give one number an example")


def test_what_was_finished_is_known_where_the_work_ends_early(assembly):
    stretches = [Stretch(Trial(Candidate(4, 0.03), fold, 0), 5) for fold in (0, 2)]
    with Work(Refusing(TASK, SPACE, 4, assembly), Broken(), None) as work, pytest.raises(ArgumentError):
        work(stretches)
    assert list(work.finished) == [stretches[0].trial]
