from __future__ import annotations

import json

import pytest

from ladle.core.decision import Progress
from ladle.core.scaling.coupling import Coupling
from ladle.policy.change import coupled
from ladle.policy.steps import Steps


def test_a_coupling_may_be_a_rule_or_a_value() -> None:
    half_life = Coupling("half-life", 64, {"b2": 0.999})
    assert coupled("square root", 64, 256) == (2.0, {})
    factor, hyper = coupled(half_life, 1, 256)
    assert (factor, hyper["b2"]) == (2.0, pytest.approx(0.999**4))
    policy = Steps(((0, 64), (1000, 256)), 64, coupling=half_life)
    memory, first = policy.decide(None, Progress(0))
    _, second = policy.decide(json.loads(json.dumps(memory)), Progress(1000))
    assert (first.lr_factor, first.hyper["b2"]) == (1.0, pytest.approx(0.999))
    assert (second.lr_factor, second.hyper["b2"]) == (2.0, pytest.approx(0.999**4))
    assert (
        second.reason == "batch size 64 -> 256, learning rate x1 -> x2, b2 0.999 -> 0.996006 at 1,000 examples (steps)"
    )
