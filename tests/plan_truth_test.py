"""The referee of plans: what its judging half makes of sweeps that are made up, and that it reads the kept ones."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladle.core import record

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
KEPT = sorted((BENCHMARKS / "results" / "plan_truth").glob("*.json"))


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("truth.judge")


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("truth.sweep")


SIZES = (8, 16, 32, 64)


def made_up(judge: Any, noise: float = 0.0) -> Any:
    """Updates 100 (1 + 16 / B) at the best rate, exp(u**2) times that u = ln(rate / best) away from it; 1 + B/16 ms.

    The cheapest size is 16, the best rate 0.01 at every size; the grid has three rates a decade. Rates from 0.1 up
    diverge, and 0.0001 was not tried.
    """
    places, generator = range(-12, -2), np.random.default_rng(0)
    cells = []
    for size in SIZES:
        for place in places:
            apart = (place / 3 + 2) * math.log(10)
            steps = 100 * (1 + 16 / size) * math.exp(apart**2) * np.exp(noise * generator.standard_normal(4))
            reached = [[float(x), float(3 * x)] if place < -3 else [None, None] for x in steps]
            if place > -12:
                cells.append({"size": size, "place": place, "updates": reached})
    seconds = {str(size): 1e-3 * (1 + size / 16) for size in SIZES}
    kept = {"sizes": SIZES, "targets": (0.5, 0.2), "seeds": 4, "per_decade": 3, "cells": cells, "seconds": seconds}
    return judge.Sweep.from_json(kept)


def test_the_best_cell_costs_once_and_seconds_are_its_own(judge: Any) -> None:
    verdict = judge.judged(made_up(judge), size=16, lr=0.01)
    assert [one.value for one in verdict.ratios] == pytest.approx([1.0, 1.0])
    assert verdict.best[0] == pytest.approx((16, 0.01, 200 * 2e-3))
    assert verdict.best[1][2] == pytest.approx(600 * 2e-3)


def test_another_size_costs_as_its_updates_and_seconds_say(judge: Any) -> None:
    found = judge.ratio(made_up(judge), 64, 0.01, 0)
    assert found.value == pytest.approx(1.25 * 5 / 4)
    assert not found.least


def test_between_cells_log_costs_lie_on_a_line(judge: Any) -> None:
    sweep, third = made_up(judge), math.log(10) / 3
    assert judge.ratio(sweep, 16, 0.01 * math.exp(third / 2), 0).value == pytest.approx(math.exp(third**2 / 2))
    between = judge.ratio(sweep, round(16 * math.sqrt(2)), 0.01, 0).value
    assert 1 < between < judge.ratio(sweep, 32, 0.01, 0).value


@pytest.mark.parametrize("lr", [0.1, 1.0, 1e-6])
def test_a_rate_that_does_not_arrive_costs_four_times_or_more(judge: Any, lr: float) -> None:
    found = judge.ratio(made_up(judge), 16, lr, 1)
    assert found.least
    assert found.value >= 4 * (1 - 1e-9)
    assert str(found).startswith(">= ")


def test_a_size_that_was_not_swept_is_marked(judge: Any) -> None:
    assert judge.ratio(made_up(judge), 4, 0.01, 0).least


def test_sizes_within_five_percent_are_told_from_others(judge: Any) -> None:
    # (1 + 16/B)(1 + B/16) is 4 at 16, and 4.5 at 8 and 32.
    verdict = judge.judged(made_up(judge), size=16, lr=0.01, within=(12, 40))
    assert [(size, target, judge.close(one)) for size, target, one in verdict.within] == [
        (16, 0, True), (16, 1, True), (32, 0, False), (32, 1, False),
    ]  # fmt: skip


def test_what_seeds_cannot_tell_is_not_held_against_a_plan(judge: Any) -> None:
    assert judge.close(judge.Ratio(1.12, 0.05))
    assert not judge.close(judge.Ratio(1.12, 0.01))


def test_pairs_of_seeds_have_a_standard_error(judge: Any) -> None:
    assert judge.ratio(made_up(judge, noise=0.1), 64, 0.01, 0).error == pytest.approx(0.1 * math.sqrt(2 / 4), rel=0.8)


def test_luck_is_not_taken_for_a_better_cell(judge: Any) -> None:
    # Forty cells alike: the lowest mean of six is far below the truth, what the other five choose is not.
    costs = np.random.default_rng(0).standard_normal((200, 40, 6))
    assert np.mean([one.mean(1).min() for one in costs]) < -0.7
    assert abs(np.mean([judge._fair(one).mean() for one in costs])) < 0.1


def test_the_best_rate_is_known_to_half_a_step(judge: Any) -> None:
    sweep = made_up(judge)
    assert judge.judged(sweep, size=16, lr=0.01, interval=(0.012, 0.05)).rate_inside == (True, True)
    assert judge.judged(sweep, size=16, lr=0.01, interval=(0.02, 0.05)).rate_inside == (False, False)
    assert judge.judged(sweep, size=16, lr=0.01).rate_inside is None


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_every_kept_sweep_can_be_judged(judge: Any, path: Path) -> None:
    kept = record.read_json(path)
    sweep = judge.Sweep.from_json(kept)
    assert np.isfinite(sweep.costs).all()
    for target in range(3):
        size, rate = sweep.best(target)
        verdict = judge.judged(sweep, size=sweep.sizes[size], lr=math.exp(sweep.log_rates[rate]), within=(1, 10**9))
        assert abs(math.log(verdict.ratios[target].value)) <= 3 * verdict.ratios[target].error + 1e-9
        assert not sweep.missing[size, rate, target]
        assert len(verdict.within) == 3 * len(sweep.sizes)
        # The best rate has slower neighbours on both sides: the grid goes past it.
        assert 0 < rate < len(sweep.log_rates) - 1


def test_a_path_passes_a_target_where_it_would_without_jitter(sweep: Any) -> None:
    # Loss updates ** -0.5 is 0.1 after 100 updates; jitter of a tenth makes the first look below it come early.
    updates = [1]
    while updates[-1] < 400:
        updates.append(max(updates[-1] + 1, round(updates[-1] * sweep.APART)))
    exact, generator, raw, found = np.array(updates) ** -0.5, np.random.default_rng(0), [], []
    for _ in range(40):
        losses = exact * np.exp(0.1 * generator.standard_normal(len(exact)))
        raw.append(updates[int(np.argmax(losses <= 0.1))])
        found += sweep.passages(updates, losses, [0.1])
    assert np.mean(np.log(raw)) < math.log(100) - 0.1
    assert np.mean(np.log(found)) == pytest.approx(math.log(100), abs=0.05)


def test_a_target_that_is_not_reached_has_no_number(sweep: Any) -> None:
    assert sweep.passages([1, 2, 4, 8], [8.0, 4.0, 2.0, 1.0], [4.0, 0.5]) == [pytest.approx(2.0), math.inf]


@pytest.mark.parametrize("start", [-9, -4, -1])
def test_rates_are_walked_past_the_best_on_both_sides(sweep: Any, start: int) -> None:
    given = []

    def cell(place: int, most: float) -> dict[str, Any]:
        """The hard target takes longer the further from -5; only the easy one is reached at 0, nothing above."""
        given.append(most)
        hard = 100.0 * 2 ** abs(place + 5) if place < 0 else math.inf
        easy = hard / 10 if place < 0 else 50.0 if place == 0 else math.inf
        return {"updates": [[x if x <= most else math.inf for x in (easy, hard)]] * 2}

    found, best, most = sweep.walked(cell, start, 1e4)
    assert best == -5
    assert most == 400
    assert sorted(found) == list(range(min(found), 2))
    assert not math.isfinite(found[min(found)]["updates"][0][-1])
    assert given == sorted(given, reverse=True)
