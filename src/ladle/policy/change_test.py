from __future__ import annotations

import json
from typing import Any

import pytest

from ladle.core.decision import Progress
from ladle.core.scaling.coupling import Coupling
from ladle.core.spec import BatchSpec
from ladle.policy.change import Last, Reason, decided, rescaled
from ladle.policy.coupling import Rate, coupled
from ladle.policy.steps import Steps


def test_a_coupling_may_be_a_rule_or_a_value() -> None:
    half_life = Coupling("half-life", 64, {"b2": 0.999})
    assert coupled("square root", 64, 256) == (2.0, {})
    factor, hyper = coupled(half_life, 1, 256)
    assert (factor, hyper["b2"]) == (2.0, pytest.approx(0.999**4))
    policy = Steps(((0, 64), (1000, 256)), 64, coupling=half_life)
    memory, first = policy.decide(None, Progress(0))
    _, second = policy.decide(json.loads(json.dumps(memory.to_json())), Progress(1000))
    assert (first.lr_factor, first.hyper["b2"]) == (1.0, pytest.approx(0.999))
    assert (second.lr_factor, second.hyper["b2"]) == (2.0, pytest.approx(0.999**4))
    assert (
        second.reason == "batch size 64 -> 256, learning rate x1 -> x2, b2 0.999 -> 0.996006 at 1,000 examples (steps)"
    )


def test_constants_stay_in_force_until_others_are_named() -> None:
    last, _ = decided(None, BatchSpec(8, 8), Rate(1.0, {"b2": 0.9}), examples=0, reason=Reason("k"))
    kept, decision = decided(last, BatchSpec(8, 8), examples=10, reason=Reason("k"))
    assert (kept, decision.reason, decision.hyper) == (last, "", {})
    _, back = decided(kept, BatchSpec(8, 8), Rate(1.0, {"b2": 0.5}), examples=20, reason=Reason("k"))
    assert back.reason == "b2 0.9 -> 0.5 at 20 examples (k)"


@pytest.mark.parametrize("memory", [None, {}, {"first": 64}, {"size": 3}, [1, 2], "text", 7])
def test_a_memory_without_a_decision_has_no_last_one(memory: Any) -> None:
    assert Last.recall(memory) is None


def test_the_last_factor_is_counted_from_the_base_rate_of_the_sitting() -> None:
    """Rate 0.1 x 4 was in force; at a base of 0.4 the same rate is x 1, and a decision for x 1 is no change."""
    memory, _ = decided(None, BatchSpec(64, 64), Rate(4.0, {}), examples=0, reason=Reason("k"))
    for held in (memory, memory.to_json()):
        last = Last.recall(rescaled(held, was=0.1, now=0.4))
        assert last == Last(64, 64, 1.0)
        assert decided(last, BatchSpec(64, 64), examples=9, reason=Reason("k"))[1].reason == ""
        assert rescaled(held, was=0.1, now=0.1) is held


@pytest.mark.parametrize("memory", [None, {"asked": 3}, [4.0], 7])
def test_a_memory_without_a_factor_is_left_alone(memory: Any) -> None:
    assert rescaled(memory, was=0.1, now=0.4) is memory
