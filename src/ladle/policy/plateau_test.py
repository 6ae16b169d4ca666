from __future__ import annotations

from typing import Any

import pytest

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError, RunError
from ladle.policy.plateau import Plateau


def sizes(policy: Plateau, losses: list[float | None], name: str = "valid_loss") -> list[int]:
    """The size after each evaluation; None is a window without one."""
    memory: Any = policy.init(None)
    reading, seen, evaluated = {}, [], None
    for index, loss in enumerate(losses):
        if loss is not None:
            reading, evaluated = {name: loss}, index * 100
        memory, decision = policy.decide(memory, Progress(index * 100, reading=reading, evaluated=evaluated))
        seen.append(decision.spec.size)
    return seen


def test_it_grows_after_so_many_evaluations_without_a_better_one() -> None:
    losses: list[float | None] = [2, 1, 1.5, 1, 1.1, 0.9, 1, 1, 1, 1, 1, 1]
    assert sizes(Plateau(8, 24, 64, patience=3), losses) == [8, 8, 8, 8, 16, 16, 16, 16, 24, 24, 24, 24]


def test_windows_without_an_evaluation_do_not_count() -> None:
    assert sizes(Plateau(8, 64, 64, patience=2), [1, None, None, None, 1.5, None, None, 2]) == [8] * 7 + [16]


def test_an_evaluation_as_good_as_the_last_one_counts() -> None:
    assert sizes(Plateau(8, 64, 64, patience=2, metric="valid_accuracy"), [0.9, 0.9, 0.9], "valid_accuracy") == [
        8,
        8,
        16,
    ]


def test_where_nothing_moves_at_all_every_evaluation_counts() -> None:
    assert sizes(Plateau(8, 64, 64, patience=2), [1.0] * 8) == [8, 8, 16, 16, 32, 32, 64, 64]


def test_it_goes_on_from_the_size_that_another_policy_left() -> None:
    left = Progress(100, reading={"valid_loss": 1.0}, size=32, evaluated=0)
    memory, decision = Plateau(8, 64, 64, patience=1).decide(None, left)
    assert (decision.spec.size, memory.course.first) == (32, 32)


def test_more_is_better_for_accuracy() -> None:
    policy = Plateau(8, 64, 64, patience=1, metric="valid_accuracy")
    assert sizes(policy, [0.5, 0.6, 0.7, 0.65], "valid_accuracy") == [8, 8, 8, 16]


def test_a_little_better_is_not_better() -> None:
    assert sizes(Plateau(8, 64, 64, patience=2, min_delta=0.1), [1, 0.95, 0.91]) == [8, 8, 16]


def test_evaluations_right_after_a_growth_are_not_counted() -> None:
    assert sizes(Plateau(8, 64, 64, patience=1, cooldown=2), [1, 2, 2, 2, 2]) == [8, 16, 16, 16, 32]


def test_a_loss_that_is_not_a_number_is_not_better() -> None:
    assert sizes(Plateau(8, 64, 64, patience=2), [1, float("nan"), 1.2]) == [8, 8, 16]


def test_a_metric_that_nobody_measures_is_one_clear_line() -> None:
    policy = Plateau(8, 64, 64, metric="valid_acuracy")
    with pytest.raises(RunError, match="valid_acuracy.*try 'valid_accuracy'"):
        policy.decide(policy.init(None), Progress(100, reading={"valid_loss": 1.0, "valid_accuracy": 0.5}))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"metric": "loss"}, "metric must begin with valid_ or train_"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"growth": 1.0}, "growth must be a number from 1.01"),
        ({"largest": 4}, "largest must be at least first=8"),
        ({"cooldown": -1}, "cooldown must lie in 0"),
    ],
)
def test_contradictions_are_one_line(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Plateau(**{"first": 8, "largest": 64, "micro_size": 64, **how})
    assert message in str(caught.value)
