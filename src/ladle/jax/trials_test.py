"""Trials one by one, continued and vmapped, and what they compile."""

import jax
import numpy as np
import pytest

from ladle import models
from ladle.api.assembly import assemble
from ladle.api.task import Task
from ladle.data import arrays
from ladle.feed.fold import Fold
from ladle.jax.trials import Trials, shared_rung
from ladle.models import losses

ROWS, FOLDS = 41, 3
HELD = [np.arange(fold, ROWS, FOLDS) for fold in range(FOLDS)]
EPOCH = ROWS - len(HELD[0])


def order(fold: int, seed: int) -> Fold:
    return Fold(np.setdiff1d(np.arange(ROWS), HELD[fold]), EPOCH, seed, room=ROWS)


@pytest.fixture(scope="module")
def assembly():
    rng = np.random.default_rng(0)
    data = arrays(rng.standard_normal((ROWS, 5)), np.arange(ROWS) % 3, valid=0)
    return assemble(Task(models.linear(5, 3), losses.cross_entropy, data, lr=0.01))


@pytest.fixture(scope="module")
def trials(assembly):
    data, weight = assembly.placed
    made = Trials(assembly.engine.step, data, weight, HELD, [3, 8], micro_size=4)
    made.prepare(order(0, 0), [3, 8])
    return made


def train(trials, size, fold, seed, lr, stops):
    state, begun = trials.start(seed, {"lr": lr}), 0
    for stop in stops:
        state, refused = trials.advance(state, order(fold, seed), size, begun, stop)
        assert not refused
        begun = stop
    return state


def leaves(state):
    return [np.asarray(leaf) for leaf in jax.tree.leaves((state.params, state.opt_state))]


def test_once_prepared_no_size_rate_seed_or_fold_compiles(trials, compilations):
    compilations.clear()
    for size in (3, 8, 2, 12):
        for fold in range(FOLDS):
            trials.score(train(trials, size, fold, fold + 1, 0.1 / size, [5]), fold)
    assert compilations.total() == 0


@pytest.mark.parametrize("size", [3, 8])
def test_a_trial_continued_is_the_trial_at_once(trials, size):
    at_once, continued = (train(trials, size, 1, 2, 0.05, stops) for stops in ([23], [1, 9, 10, 23]))
    for one, two in zip(leaves(at_once), leaves(continued), strict=True):
        np.testing.assert_array_equal(one, two)


def test_vmapped_trials_are_the_trials_one_by_one(trials, size=8):
    settings = [(fold, seed, lr) for fold in range(FOLDS) for seed, lr in ((0, 0.01), (3, 0.1))]
    alone = [train(trials, size, fold, seed, lr, [12]) for fold, seed, lr in settings]
    states = [trials.start(seed, {"lr": lr}) for _, seed, lr in settings]
    orders = [order(fold, seed) for fold, seed, _ in settings]
    folds = [fold for fold, _, _ in settings]
    together, refused = trials.advance_all(states, orders, size, 0, 5)
    together, refused = trials.advance_all(together, orders, size, 5, 12)
    assert refused == [False] * len(settings)
    for one, two in zip(alone, together, strict=True):
        for a, b in zip(leaves(one), leaves(two), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)
    scores = [trials.score(state, fold) for state, fold in zip(alone, folds, strict=True)]
    for one, two in zip(scores, trials.score_all(together, folds), strict=True):
        assert two == pytest.approx(one, rel=1e-4)


def test_a_fold_is_judged_on_its_own_rows_alone(trials, assembly):
    state = train(trials, 8, 2, 0, 0.05, [10])
    data = assembly.task.data.train
    x, y = data["x"][HELD[2]], data["y"][HELD[2]]
    expected = assembly.engine.evaluate(state, {"x": x, "y": y})
    assert trials.score(state, 2) == pytest.approx(expected, rel=1e-6)


def test_an_exploding_rate_is_refused_not_raised(trials):
    state, refused = trials.start(0, {"lr": 1e38}), False
    for stop in (2, 4, 8):
        state, bad = trials.advance(state, order(0, 0), 3, stop // 2, stop)
        refused |= bad
    assert refused or not np.isfinite(trials.score(state, 0)["valid_loss"])


def test_the_rung_of_a_processor_is_small():
    assert (shared_rung([8, 16]), shared_rung([16, 256])) == (16, 32)
