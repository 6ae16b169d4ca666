from __future__ import annotations

import math
from typing import Any

import pytest

from ladle.core.duration import Until
from ladle.core.errors import ArgumentError
from ladle.core.speed import Speed
from ladle.policy.constant import Constant
from ladle.policy.geometric import Geometric
from ladle.quadratic.noisy_quadratic import NoisyQuadratic
from ladle.quadratic.referee import Ranking, compare

LINE = Speed(0.02, 1e-4)
LAW = NoisyQuadratic.power_law(50, loss=1)
SIZES = (4, 16, 64, 256, 1024)


def judge(policies: dict[str, Any], until: str, **how: Any) -> Ranking:
    return compare(policies, LAW, until=Until.parse(until), **{"line": LINE, "sizes": SIZES, **how})


def test_a_constant_policy_ties_with_its_size():
    made = judge({"mine": Constant(64, 64)}, "loss <= 0.05, 1e6 steps")
    mine, same = made.row("mine"), made.row("constant 64")
    assert same.steps <= mine.steps <= 1.05 * same.steps
    assert (mine.switches, mine.examples) == (0, 64 * mine.steps)
    assert mine.seconds == pytest.approx(mine.steps * LINE.seconds(64))


def test_the_best_constant_is_the_soonest_not_the_one_of_fewest_steps():
    made = judge({}, "loss <= 0.05, 1e6 steps")
    steps = [row.steps for row in made.constants]
    assert steps == sorted(steps, reverse=True)
    assert made.best.seconds == min(row.seconds for row in made.constants)
    assert made.best.size < 1024
    assert all(row.loss <= 0.05 for row in made.constants)


def test_growing_batches_beat_every_constant_size():
    """Small batches while the gradient is large, large ones near the floor: sooner than any one size."""
    grow = {"grow": Geometric(16, 1024, growth=2, every=500, micro_size=1024)}
    made = judge(grow, "loss <= 0.003, 1e5 steps", window=500, sizes=(128, 256, 512), lr=1.5)
    assert made.ratio("grow", "seconds") < 0.7
    assert made.ratio("grow", "steps") < 0.8
    assert made.row("grow").switches >= 4


def test_without_a_target_the_lowest_loss_wins():
    made = judge({"mine": Constant(16, 16)}, "20 s")
    assert made.by == "loss"
    assert [row.steps for row in made.constants] == [math.ceil(20 / LINE.seconds(size)) for size in SIZES]
    assert made.best.loss == min(row.loss for row in made.constants)
    assert made.ratio("mine", "loss") >= 0.99
    examples = judge({}, "2 epochs", epoch_size=1000, sizes=(16, 1000))
    assert [row.steps for row in examples.constants] == [125, 2]


def test_the_table_names_the_best_and_those_who_never_arrive():
    made = judge({"slow": Constant(4, 4)}, "loss <= 0.05, 2000 steps", lr=1e-5)
    lines = str(made).splitlines()
    assert lines[1].split(None, 2) == ["slow", "1e-05", "not within 2,000 updates"]
    assert sum("(best)" in line for line in lines) == 1
    assert len(lines) == 2 + len(SIZES)
    assert math.isinf(made.ratio("slow", "seconds"))
    assert str(judge({"fast": Constant(4, 4)}, "100 steps", lr=9.0)).splitlines()[1].endswith("diverges")


def test_an_unreachable_target_is_refused():
    with pytest.raises(
        ArgumentError, match=r"target must be within reach; got 'loss <= 1e-09'; because no constant"
    ) as e:
        judge({}, "loss <= 1e-9, 500 steps")
    assert "within 500 updates (" in str(e.value)


@pytest.mark.parametrize(
    ("until", "how", "said"),
    [
        ("patience 3, 500 steps", {}, "until must hold bounds, and a target on loss or none; got 'patience'"),
        ("train_loss <= 0.1, 500 steps", {}, "a target on loss or none; got 'train_loss <= 0.1'"),
        ("loss <= 1.5, 500 steps", {}, "target must be below the first loss of 1; got 'loss <= 1.5'"),
        ("valid_loss <= 1, 500 steps", {}, "target must be below the first loss of 1"),
        ("loss >= 0.1, 500 steps", {}, "a target on loss or none; got 'loss >= 0.1'"),
        ("500 steps", {"sizes": ()}, r"sizes must name batch sizes; got \(\)"),
        ("500 steps", {"sizes": (4, 0)}, "sizes must be at least 1"),
        ("3 epochs", {}, "until must not count epochs"),
    ],
)
def test_what_cannot_be_compared_is_refused(until: str, how: dict[str, Any], said: str):
    with pytest.raises(ArgumentError, match=said):
        judge({"mine": Constant(64, 64)}, until, **how)
