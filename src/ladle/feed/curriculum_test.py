from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.cursor import Cursor
from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.curriculum import Curriculum, Stage, pacing
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted

rng = np.random.default_rng(0)
N = 40
SCORES = rng.normal(size=N)
STAGES = st.lists(st.tuples(st.integers(1, 100), st.integers(1, N)), max_size=4)
SEEDS = st.integers(0, 2**64 - 1)


def slow(order: Curriculum, position: int) -> tuple[int, int, int]:
    """(stage, pass, share of the easiest in examples) at a position, stage by stage."""
    for number, (positions, examples) in enumerate(order.stages):
        if position < positions:
            return number, position // examples, examples
        position -= positions
    return len(order.stages), -1, N


@given(STAGES, SEEDS)
def test_a_stage_draws_whole_passes_over_the_easiest(stages, seed):
    order = Curriculum(SCORES, stages, seed)
    ids, rank = order.ids(0, order.over), np.argsort(np.argsort(SCORES))
    groups = itertools.groupby(range(order.over), lambda position: slow(order, position))
    for (_, _, easiest), places in groups:
        one = ids[list(places)]
        assert (rank[one] < easiest).all()
        assert len(set(one.tolist())) == len(one) <= easiest


@given(STAGES, SEEDS, st.integers(0, 3))
def test_once_it_is_over_every_pass_holds_every_example_once(stages, seed, later):
    order = Curriculum(SCORES, stages, seed)
    first = -(-order.over // N) + later
    assert sorted(order.ids(first * N, N)) == list(range(N))
    np.testing.assert_array_equal(order.ids(order.over, 99), Permuted(N, seed).ids(order.over, 99))


@given(STAGES, SEEDS, st.integers(0, 300))
def test_any_cut_of_the_positions_gives_the_same_ids(stages, seed, start):
    order = Curriculum(SCORES, stages, seed)
    parts = [order.ids(start + a, b - a) for a, b in itertools.pairwise([0, 1, 8, 8, 150])]
    np.testing.assert_array_equal(np.concatenate(parts), order.ids(start, 150))


@given(STAGES, st.integers(0, 500))
def test_the_fraction_is_a_function_of_the_position(stages, position):
    order = Curriculum(SCORES, stages)
    assert order.fraction_at(position) == slow(order, position)[2] / N


def test_it_goes_with_batches_that_grow():
    """The stage is over at its position, whatever the sizes of the batches before it were."""
    order = Curriculum(SCORES, [(60, 10), (30, 20)], 1)
    feed, cursor, seen = HostFeed(Arrays({"id": np.arange(N)}), order), Cursor(), []
    for size in (4, 8, 16, 32, 64, 64, 64, 64):
        draw, cursor = feed.draw(cursor, BatchSpec(size, 64))
        seen += draw.ids()[0].tolist()
    easiest = np.argsort(SCORES)
    assert set(seen[:60]) == set(easiest[:10].tolist())
    assert set(seen[60:80]) <= set(easiest[:20].tolist())
    np.testing.assert_array_equal(seen, order.ids(0, len(seen)))


def test_hard_first_is_the_score_turned_round_and_ties_are_not_broken_by_number():
    hard = Curriculum(-SCORES, [(10, 10)])
    assert set(hard.ids(0, 10).tolist()) == set(np.argsort(SCORES)[-10:].tolist())
    chosen = [sorted(Curriculum(np.zeros(1000), [(100, 100)], seed).ids(0, 100).tolist()) for seed in (0, 1)]
    assert chosen[0] != chosen[1]
    assert all(abs(np.mean(ids) - 499.5) < 5 * 1000 / np.sqrt(12 * 100) for ids in chosen)


def test_passes_and_stages_are_shuffled_apart():
    order = Curriculum(np.arange(1000), [(2000, 1000), (1000, 1000)])
    passes = order.ids(0, 3000).reshape(3, 1000)
    for one, other in itertools.combinations(passes, 2):
        assert (one == other).sum() < 8
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(1000)


# --- pacing -------------------------------------------------------------------------------------------------------


def shares(kind: str, k: int, stages: int, start: float) -> float:
    """As the papers write them: a growth factor; a competence at time t of T."""
    if kind == "exponential":
        return start * (start ** (-1 / stages)) ** k
    if kind == "linear":
        return k * (1 - start) / stages + start
    return float(np.sqrt(k * (1 - start**2) / stages + start**2))


@pytest.mark.parametrize("kind", ["exponential", "linear", "root"])
def test_paces_are_those_of_the_papers(kind):
    stages = pacing(kind, 10_000, 1003, start=0.04, stages=5)
    assert [stage.examples for stage in stages] == [round(10_000 * shares(kind, k, 5, 0.04)) for k in range(5)]
    assert sum(stage.positions for stage in stages) == 1003
    assert {stage.positions for stage in stages} == {200, 201}


def test_a_single_step_and_lengths_of_ones_own():
    assert pacing("single step", 1000, 300, start=0.25) == (Stage(300, 250),)
    varied = pacing("exponential", 1000, [10, 20, 40], start=0.125)
    assert varied == (Stage(10, 125), Stage(20, 250), Stage(40, 500))
    assert pacing("linear", 3, 10, start=0.01, stages=2) == (Stage(5, 1), Stage(5, 2))
    assert Curriculum(SCORES, pacing("root", N, 100)).over == 100


# --- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Curriculum([]), "scores must be one number per example"),
        (lambda: Curriculum([[1.0]]), "scores must be one number per example"),
        (lambda: Curriculum([1.0, np.nan]), "scores must be finite; got 'nan for example 1 .1 such"),
        (lambda: Curriculum([1.0], [(0, 1)]), "stage 0 positions must be at least 1"),
        (lambda: Curriculum([1.0], [(5, 1), (5, 2)]), "stage 1 examples must be at most 1; got 2"),
        (lambda: Curriculum([1.0], [(5, 0)]), "stage 0 examples must be at least 1"),
        (lambda: Curriculum([1.0], seed=-1), "seed must be a whole number"),
        (lambda: pacing("exponental", 10, 10), "kind must be a known pacing.*'exponential'"),
        (lambda: pacing("linear", 10, 10, start=0.0), "start must be above 0 and at most 1"),
        (lambda: pacing("linear", 10, 10, start=float("nan")), "start must be above 0 and at most 1"),
        (lambda: pacing("linear", 10, 3, stages=4), "positions must be at least the 4 stages"),
        (lambda: pacing("linear", 10, []), "positions must be of at least one stage"),
        (lambda: pacing("linear", 10, [3, 0]), "positions must be at least 1"),
        (lambda: pacing("single step", 10, [3, 3]), "positions must be one number"),
        (lambda: pacing("linear", 0, 10), "examples must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(make, says):
    with pytest.raises(ArgumentError, match=says):
        make()
