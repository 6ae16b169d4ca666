from __future__ import annotations

import math
from typing import Any

import pytest

from ladle.core.batch import batch_ends
from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.policy.steps import Steps


def size_at(policy: Any, examples: int) -> int:
    return policy.decide(None, Progress(examples))[1].spec.size


def updates(policy: Any, end: int, epoch_size: int) -> list[tuple[int, int]]:
    """(position, size asked for) of every update from 0 to `end`."""
    memory, examples, made = policy.init(None), 0, []
    while examples < end:
        memory, decision = policy.decide(memory, Progress(examples))
        made.append((examples, decision.spec.size))
        examples = int(batch_ends(examples, decision.spec.size, 1, epoch_size)[0])
    return made


def test_the_new_size_holds_exactly_from_its_boundary_on() -> None:
    # A known error elsewhere: asked for the size at a step, a schedule answered with its first segment for ever.
    policy = Steps(((0, 32), (1000, 64), (1001, 8), (5000, 128)), 16)
    hand = {0: 32, 1: 32, 999: 32, 1000: 64, 1001: 8, 1002: 8, 4999: 8, 5000: 128, 5001: 128, 10**12: 128}
    assert {examples: size_at(policy, examples) for examples in hand} == hand


def test_a_batch_that_overshoots_skips_a_short_segment() -> None:
    policy = Steps(((0, 100), (150, 7), (160, 50)), 128)
    assert updates(policy, 300, 10**6) == [(0, 100), (100, 100), (200, 50), (250, 50)]


def test_the_reason_says_what_changed_where() -> None:
    policy = Steps(((0, 64), (1000, 64), (2000, 256)), 64, coupling="square root")
    memory, first = policy.decide(policy.init(None), Progress(0))
    memory, same = policy.decide(memory, Progress(1000))
    _, grown = policy.decide(memory, Progress(2016))
    assert (first.reason, same.reason) == ("", "")
    assert grown.reason == "batch size 64 -> 256, learning rate x1 -> x2 at 2,016 examples (steps)"


@pytest.mark.parametrize(
    ("coupling", "factors"),
    [("none", [1, 1, 1]), ("linear", [1, 4, 0.5]), ("square root", [1, 2, math.sqrt(0.5)])],
)
def test_the_rate_follows_the_size_from_the_first_one(coupling: Any, factors: list[float]) -> None:
    policy = Steps(((0, 32), (10, 128), (20, 16)), 16, coupling=coupling)
    assert [policy.decide(None, Progress(n))[1].lr_factor for n in (0, 10, 20)] == pytest.approx(factors, abs=0)


def test_lists_are_as_good_as_tuples() -> None:
    pairs = ((0, 64), (10, 128))
    assert len({Steps([[0, 64], [10, 128]], 64), Steps(pairs, 64)}) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Steps((), 1), "segments must ascend"),
        (lambda: Steps("0:64", 1), "segments must be positions, one behind the other; got '0:64'"),  # type: ignore[arg-type]
        (lambda: Steps((0, 64), 1), "segments must be pairs of a position and a size"),  # type: ignore[arg-type]
        (lambda: Steps(((1, 64),), 1), "segments must ascend"),
        (lambda: Steps(((0, 64), (0, 32)), 1), "segments must ascend"),
        (lambda: Steps(((0, 64), (9, 32), (5, 1)), 1), "segments must ascend"),
        (lambda: Steps(((0, 64), (0.5, 32)), 1), "segments must ascend in whole numbers"),  # type: ignore[arg-type]
        (lambda: Steps(((0, 0),), 1), "size must be at least 1"),
        (lambda: Steps(((0, -5),), 1), "size must be at least 1"),
        (lambda: Steps(((0, 1.5),), 1), "size must be a whole number"),  # type: ignore[arg-type]
        (lambda: Steps(((0, 1),), 0), "micro_size must be at least 1"),
        (lambda: Steps(((0, 1),), 1, coupling="cubic"), "cubic"),  # type: ignore[arg-type]
    ],
)
def test_impossible_schedules_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
