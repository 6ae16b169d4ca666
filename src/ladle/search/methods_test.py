"""Ways to search, with work that is a formula."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ladle.core.duration import Until
from ladle.search.folds import folds_of
from ladle.search.methods import grid, halving, model
from ladle.search.row import Row
from ladle.search.space import Space
from ladle.search.trial import Candidate, Outcome, Stretch

LRS = tuple(round(0.01 * k, 2) for k in range(1, 13))
SPACE = Space((4,), LRS, folds_of(12, 3, seed=0), 1, Until(epochs=20), "valid_loss", 0)


class Formula:
    """Trains nothing: a trial's loss is |lr - 0.05| and a little of the fold, its state is how far it has come."""

    def __init__(self, diverges: Callable[[Stretch], bool] = lambda stretch: False) -> None:
        self.diverges, self.updates = diverges, 0

    def __call__(self, stretches: Sequence[Stretch]) -> list[Outcome]:
        return [self.one(stretch) for stretch in stretches]

    def one(self, stretch: Stretch) -> Outcome:
        assert stretch.state == (stretch.begun or None)
        self.updates += stretch.updates - stretch.begun
        loss = abs(stretch.trial.candidate.lr - 0.05) + 1e-4 * stretch.trial.fold
        bad = self.diverges(stretch)
        return Outcome(
            stretch.trial, stretch.updates, {"valid_loss": loss}, 1.0, bad, stretch.updates if stretch.keep else None
        )


def lrs(rows: Sequence[Row]) -> list[float]:
    return [row.candidate.lr for row in rows]


def whole(rows: Sequence[Row]) -> list[float]:
    return lrs([row for row in rows if row.complete and not row.diverged])


def test_a_grid_trains_everything_to_the_end():
    work = Formula()
    rows = grid(SPACE, work)
    assert whole(rows) == list(LRS)
    assert work.updates == len(LRS) * 3 * SPACE.updates(4)


def test_halving_continues_the_three_best_to_the_end():
    work = Formula()
    rows = halving(SPACE, work)
    assert lrs(rows) == list(LRS)
    assert whole(rows) == [0.04, 0.05, 0.06]
    # 40 updates: 12 candidates to the 5th, 4 to the 14th, 3 to the 40th.
    assert work.updates == 3 * (12 * 5 + 4 * (14 - 5) + 3 * (40 - 14))
    (best,) = (row for row in rows if row.candidate.lr == 0.05)
    assert best.seconds == 3.0  # One for each of its stretches.


def test_finalists_that_diverge_are_replaced_by_the_next_best():
    rows = halving(SPACE, Formula(lambda stretch: stretch.updates == 40 and stretch.trial.candidate.lr >= 0.05))
    assert [row.diverged for row in rows if row.candidate.lr in (0.05, 0.06)] == [True, True]
    assert whole(rows) == [0.02, 0.03, 0.04]


def test_where_all_but_one_diverge_that_one_is_left():
    rows = halving(SPACE, Formula(lambda stretch: stretch.updates == 40 and stretch.trial.candidate.lr != 0.01))
    assert whole(rows) == [0.01]


def test_halving_ends_where_nothing_trains():
    rows = halving(SPACE, Formula(lambda stretch: True))
    assert all(row.diverged and math.isnan(row.score.mean) for row in rows)


def test_one_trial_that_fails_leaves_its_candidate_without_a_score():
    class Failing(Formula):
        def one(self, stretch: Stretch) -> Outcome:
            bad = stretch.trial.candidate.lr == 0.05 and stretch.trial.fold == 2
            return Outcome.of_failure(stretch, "its process ended") if bad else super().one(stretch)

    rows = {row.candidate.lr: row for row in grid(SPACE, Failing())}
    assert rows[0.05].failed == "its process ended"
    assert rows[0.05].diverged and math.isnan(rows[0.05].score.mean)
    assert rows[0.05].seconds == 1.0  # Of those that ended.
    assert [row.failed for row in rows.values()].count("") == len(LRS) - 1


def test_a_model_proposes_and_gives_hopeless_ones_up():
    pytest.importorskip("optuna")
    rows = model(SPACE, Formula(), trials=12)
    assert [row.candidate for row in rows] == sorted(row.candidate for row in rows)
    assert len(rows) == 12
    assert 0 < len(whole(rows)) < 12
    assert all(LRS[0] <= lr <= LRS[-1] for lr in lrs(rows))


def test_a_space_counts_its_updates_and_passes():
    space = Space(
        (2, 3, 8), (0.1,), folds_of(12, 3, seed=0), 2, Until(examples=20, updates=8), "valid_accuracy", 0, higher=True
    )
    assert space.folds.epoch_size == 8
    assert [space.updates(size) for size in space.sizes] == [8, 8, 3]  # 20 examples end in the third pass.
    assert (space.epochs, space.passes) == (2.0, 3)
    assert len(space.trials_of(Candidate(2, 0.1))) == len(np.unique(space.folds.of)) * 2
    assert space.describe(7) == "7 candidates x 3 folds x 2 seeds"
