"""Every policy x every law. A new policy joins with one line in `POLICIES`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from ladle.batch import batch_ends
from ladle.decision import Decision, Progress
from ladle.policy.constant import Constant
from ladle.policy.schedule import Geometric, GrowInsteadOfDecay, Steps, Warmup
from ladle.spec import rungs

EPOCH = 1000
END = 12_000

# policy, smallest size, largest size, most rows at once
POLICIES: dict[str, tuple[Any, int, int, int]] = {
    "constant": (Constant(64, 16), 64, 64, 16),
    "steps": (Steps(((0, 64), (1000, 128), (1010, 32), (9000, 512)), 128), 32, 512, 128),
    "steps, linear": (Steps(((0, 60), (3001, 120), (7777, 600)), 100, coupling="linear"), 60, 600, 100),
    "one step": (Steps(((0, 1),), 1), 1, 1, 1),
    "geometric": (Geometric(8, 100, growth=1.7, every=1100, micro_size=64, coupling="square root"), 8, 100, 64),
    "geometric, slow": (Geometric(1, 5, growth=1.2, every=300, micro_size=4), 1, 5, 4),
    "warmup": (Warmup(3, 100, over=5000, micro_size=32, coupling="square root"), 3, 100, 32),
    "warmup by example": (Warmup(8, 40, over=3333, micro_size=16, by="example"), 8, 40, 16),
    "warmup, steep": (Warmup(1, 500, over=20, micro_size=64, by="example"), 1, 500, 64),
    "warmup, flat": (Warmup(7, 7, over=20, micro_size=64), 7, 7, 64),
    "grow": (GrowInsteadOfDecay(64, 5, (2000, 4000, 6000), largest=1000, micro_size=256), 64, 1000, 256),
    "grow by root two": (GrowInsteadOfDecay(10, 2**0.5, tuple(range(500, 9000, 500)), 90, micro_size=64), 10, 90, 64),
}


@pytest.fixture(params=POLICIES)
def case(request: pytest.FixtureRequest) -> tuple[Any, int, int, int]:
    return POLICIES[request.param]


def run(policy: Any, memory: Any, examples: int, end: int) -> Iterator[tuple[int, Any, Decision]]:
    """As a loop does it: (position, memory before, decision) at every window, windows ending where decisions do."""
    while examples < end:
        after, decision = policy.decide(memory, Progress(examples, epoch=examples / EPOCH))
        yield examples, memory, decision
        memory = json.loads(json.dumps(after))
        stop = min(end, decision.stop or examples + 500)
        while examples < stop:
            examples = int(batch_ends(examples, decision.spec.size, 1, EPOCH)[0])


def test_sizes_stay_within_bounds_and_micro_sizes_are_rungs(case: tuple[Any, int, int, int]) -> None:
    policy, smallest, largest, rows = case
    for _, _, decision in run(policy, policy.init(None), 0, END):
        assert smallest <= decision.spec.size <= largest
        assert decision.spec.micro_size in rungs(rows)
        assert decision.spec.micro_size >= min(rows, decision.spec.size)
        assert decision.spec.micro_size < 2 * decision.spec.size
        assert decision.lr_factor > 0


def test_bounds_are_reached(case: tuple[Any, int, int, int]) -> None:
    policy, smallest, largest, _ = case
    sizes = {decision.spec.size for _, _, decision in run(policy, policy.init(None), 0, END)}
    assert largest in sizes
    assert smallest == min(sizes)


def test_the_same_question_has_the_same_answer(case: tuple[Any, int, int, int]) -> None:
    policy, *_ = case
    asked = [(memory, position) for position, memory, _ in run(policy, policy.init(None), 0, END)]
    first = [policy.decide(memory, Progress(position)) for memory, position in asked]
    order = random.Random(0).sample(range(len(asked)), len(asked))
    assert all(policy.decide(asked[i][0], Progress(asked[i][1])) == first[i] for i in order)


def test_memory_is_json(case: tuple[Any, int, int, int]) -> None:
    policy, *_ = case
    memory = policy.init(None)
    for position in range(0, END, 777):
        assert json.loads(json.dumps(memory)) == memory
        memory, _ = policy.decide(memory, Progress(position))


def test_a_resumed_run_decides_as_one_that_never_stopped(case: tuple[Any, int, int, int]) -> None:
    policy, *_ = case
    whole = list(run(policy, policy.init(None), 0, END))
    for index in random.Random(1).sample(range(len(whole)), min(10, len(whole))):
        position, memory, _ = whole[index]
        assert list(run(policy, json.loads(json.dumps(memory)), position, END)) == whole[index:]


def test_a_decision_ends_after_it_begins_and_nothing_changes_before(case: tuple[Any, int, int, int]) -> None:
    policy, *_ = case
    for position, memory, decision in run(policy, policy.init(None), 0, END):
        end = END if decision.stop is None else decision.stop
        assert decision.stop is None or decision.stop > position
        if decision.stop is None and not isinstance(policy, Constant):
            end = 10 * END
        for between in {position, (position + end) // 2, end - 1}:
            if between >= position:
                _, other = policy.decide(memory, Progress(between))
                assert (other.spec, other.lr_factor, other.stop) == (decision.spec, decision.lr_factor, decision.stop)


def test_a_reason_is_given_exactly_when_something_changed(case: tuple[Any, int, int, int]) -> None:
    policy, *_ = case
    before: Decision | None = None
    for _, _, decision in run(policy, policy.init(None), 0, END):
        changed = before is not None and (before.spec, before.lr_factor) != (decision.spec, decision.lr_factor)
        assert bool(decision.reason) == changed, decision
        assert "\n" not in decision.reason
        before = decision


def test_a_policy_is_a_frozen_value(case: tuple[Any, int, int, int]) -> None:
    policy, *_ = case
    assert policy == type(policy)(**{field.name: getattr(policy, field.name) for field in fields(policy)})
    assert isinstance(hash(policy), int)
    with pytest.raises(FrozenInstanceError):
        policy.micro_size = 3
