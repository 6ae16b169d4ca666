from __future__ import annotations

import json
from typing import Any

import pytest

from ladle.core.carry import Carry
from ladle.core.decision import Progress
from ladle.core.memory import plain
from ladle.core.scaling.coupling import Coupling
from ladle.policy.adascale import AdaScale
from ladle.policy.cabs import CABS
from ladle.policy.goodput import Goodput
from ladle.policy.memory import named, noted, recalled
from ladle.policy.plateau import Plateau, Verdicts
from ladle.policy.range import Range
from ladle.policy.retreat import Retreating
from ladle.policy.steps import Steps

SIZES = Range(32, 1024, micro_size=256)
HALF_LIFE = Coupling("half-life", 60, {"b1": 0.9, "b2": 0.999})
SUMS = {
    "count": 108.112, "trace": 3210.2, "square": 13.6275, "trace_sq": 95446.8, "square_sq": 1.83258, "cross": 404.539,
    "examples": 13838.3, "projection": 1.91857, "projections": 108.112,
}  # fmt: skip
GOODPUT = {
    "first": 32, "updates": 2065, "seconds": 56.7795, "asked": 156032, "size": 128, "micro_size": 128, "lr_factor": 1.0,
    "at": 128, "sums": SUMS, "measured": 156032, "changed": 84032, "went": 1,
    "times": {"32": [375.0, 8.44415], "64": [369.5, 9.71372], "128": [185.062, 6.07182]},
}  # fmt: skip
ADASCALE = {
    "inner": GOODPUT, "first": 64, "clock": 147544.0, "clocked": 156032, "size": 128, "micro_size": 128,
    "lr_factor": 1.50821, "at": 128, "sums": SUMS, "measured": 156032,
}  # fmt: skip

WRITTEN: dict[str, tuple[Any, dict[str, Any], dict[str, float], str]] = {
    "steps": (
        Steps(((0, 60), (3001, 120), (150_001, 600)), 100, coupling=HALF_LIFE),
        {"size": 120, "micro_size": 100, "lr_factor": 1.4142135623730951, "hyper": {"b2": 0.998001}},
        {},
        "batch size 120 -> 600, learning rate x1.41421 -> x3.16228, b2 0.998001 -> 0.990045 "
        "at 168,000 examples (steps)",
    ),
    "cabs": (
        CABS(SIZES, lr=1.0),
        {
            "first": 32, "asked": 156032, "size": 128, "micro_size": 128, "lr_factor": 1.0, "changed": 84032, "went": 1,
            "at": 128, "sums": {**SUMS, "train_loss": 9.17}, "measured": 156032,
        },
        {},
        "batch size 128 -> 256: rate x variance / loss is 350 (348 to 353) at 168,000 examples (cabs)",
    ),
    "plateau": (
        Plateau(32, 1000, 256, 4, 2, min_delta=0.01, coupling="linear"),
        {
            "best": 1.30077, "worse": 1, "cool": 0, "seen": 144000, "first": 32, "asked": 156032, "size": 32,
            "micro_size": 32, "lr_factor": 1.0,
        },
        {"valid_loss": 1.3},
        "batch size 32 -> 128, learning rate x1 -> x4: no valid_loss better than 1.301 for 2 evaluations "
        "at 168,000 examples (plateau)",
    ),
    "retreating adascale of goodput": (
        Retreating(AdaScale(Goodput(SIZES), base=64), 0.7),
        {
            "inner": ADASCALE, "looked": 156032, "size": 128, "micro_size": 64, "lr_factor": 1.50821, "most": 64,
            "bytes": 328e6,
        },
        {"memory_bytes": 390e6, "memory_limit_bytes": 400e6},
        "batch size 128 -> 256, learning rate x1.50821 -> x2.43765: noise scale 236 (224 to 248) at 168,000 examples "
        "(adascale); micro-batch 64 -> 32: 98 % of the memory in use at 168,000 examples (retreat)",
    ),
}  # fmt: skip
"""Policy, what it had in a checkpoint when its memory was a dict, what it then reads, and the reason it had to give."""


@pytest.mark.parametrize("name", WRITTEN)
def test_a_checkpoint_of_before_goes_on_as_it_would_have(name: str) -> None:
    policy, memory, reading, reason = WRITTEN[name]
    progress = Progress(168_000, updates=2159, seconds=59.78, reading=reading, evaluated=168_000)
    after, decision = policy.decide(memory, progress)
    assert decision.reason == reason
    assert policy.decide(json.loads(json.dumps(plain(after))), progress)[1].reason == ""


def test_what_is_written_is_what_was_written_before() -> None:
    """Names and values alike, so that a run may go back, too."""
    policy, memory, _, _ = WRITTEN["retreating adascale of goodput"]
    again = plain(policy.decide(memory, Progress(156_032, updates=2065, seconds=56.7795))[0])
    assert again["inner"]["inner"] == GOODPUT
    assert {**again, "inner": None} == {**memory, "inner": None}
    assert {**again["inner"], "inner": None} == {**ADASCALE, "inner": None}


def test_a_carry_holds_a_value_and_its_facts_json() -> None:
    memory, _ = Retreating(CABS(SIZES, lr=1.0)).decide(None, Progress())
    facts = json.loads(json.dumps(Carry(None, memory=memory).facts()))
    assert facts["memory"] == plain(memory) and Carry.from_facts(None, facts).memory == plain(memory)
    for own in (None, {"asked": 3}, [1, 2], "text"):
        assert Carry(None, memory=own).facts()["memory"] is own


def test_a_part_takes_the_names_that_it_knows() -> None:
    verdicts = Verdicts(best=0.5, worse=2)
    assert noted(verdicts) == {"best": 0.5, "worse": 2, "cool": 0}
    assert recalled(Verdicts, {**noted(verdicts), "sums": {}, "first": 3}) == verdicts
    assert recalled(Verdicts, None) == Verdicts()
    assert named(7) == {} and named({"a": 1}) == {"a": 1}
