"""What is done about a drift, when it ends, what is said of it; and that a record replays it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError
from ladle.core.memory import plain
from ladle.core.spec import BatchSpec
from ladle.online.detector import Detector
from ladle.online.drift import DriftPolicy


@dataclass(frozen=True)
class Same:
    size: int = 64

    def init(self, plan: Any) -> Any:
        return None

    def decide(self, memory: Any, progress: Progress) -> Any:
        return memory, Decision(BatchSpec(self.size, self.size), lr_factor=0.5)


def decided(policy: DriftPolicy, errors: list[float], restored: bool = False) -> list[tuple[int, Decision]]:
    """Decisions, each with the position at which it was made."""
    memory, progress, found = policy.init(None), Progress(), []
    for error in [*errors, 0.0]:
        memory = json.loads(json.dumps(plain(memory))) if restored else memory
        memory, decision = policy.decide(memory, progress)
        found.append((progress.examples, decision))
        examples = progress.examples + decision.spec.size
        progress = Progress(examples, reading={"train_accuracy": 1 - error}, size=decision.spec.size)
    return found


RISES = [0.1] * 30 + [0.6] * 60


def test_batches_shrink_and_come_back_in_steps():
    policy = DriftPolicy(Same(), actions=("shrink",), factor=4, hold=1000)
    found = decided(policy, RISES)
    at = next(place for place, decision in found if decision.spec.size < 64)
    sizes = [decision.spec.size for place, decision in found]
    assert sorted(set(sizes)) == [16, 32, 64] and sizes[0] == sizes[-1] == 64
    assert all(decision.spec.size == 16 for place, decision in found if at <= place < at + 500)
    assert all(decision.spec.size == 32 for place, decision in found if at + 500 <= place < at + 1000)
    said = [decision.reason for _, decision in found if decision.reason]
    assert [text.partition(":")[0] for text in said] == [
        "batch size 16 of 64", "batch size 32 of 64", "batch size 64 of 64",
    ]  # fmt: skip
    assert f"drift 1, error 0.1 -> 0.6, at {at:,} examples (adwin)" in said[0]
    assert all(decision.lr_factor == 0.5 and not decision.reset for _, decision in found)


def test_rates_rise_and_averages_begin_anew_once():
    policy = DriftPolicy(Same(), actions=("raise", "reset"), factor=3, hold=1000)
    found = decided(policy, RISES)
    factors = list(dict.fromkeys(decision.lr_factor for _, decision in found))
    assert factors == pytest.approx([0.5, 1.5, 0.5 * 3**0.5])
    assert found[-1][1].lr_factor == 0.5
    resets = [decision for _, decision in found if decision.reset]
    assert len(resets) == 1 and resets[0].inputs["error_after"] > resets[0].inputs["error_before"]
    assert resets[0].reason.startswith("learning rate x3, averages of the optimiser begun anew: drift 1")


def test_a_metric_that_became_better_changes_nothing_and_is_said():
    found = decided(DriftPolicy(Same(), actions=("shrink",)), RISES[::-1])
    assert {decision.spec.size for _, decision in found} == {64}
    (said,) = [decision.reason for _, decision in found if decision.reason]
    assert said.startswith("nothing is changed: the error fell")


@pytest.mark.parametrize("kind", ["adwin", "page-hinkley"])
def test_decisions_are_the_same_from_json(kind: str):
    policy = DriftPolicy(Same(), Detector(kind), ("shrink", "raise"), hold=300)
    assert decided(policy, RISES, restored=True) == decided(policy, RISES)


def test_a_loss_is_told_once_for_each_batch():
    policy = DriftPolicy(Same(), Detector("kswin"), ("reset",), metric="train_loss")
    memory = policy.init(None)
    for place in range(6):
        memory, _ = policy.decide(memory, Progress(place * 64, reading={"train_loss": 2.0, "train_accuracy": 0.5}))
    assert memory.told.batches == ((2.0, 1),) * 5


def test_a_batch_is_never_smaller_than_the_smallest():
    policy = DriftPolicy(Same(12), actions=("shrink",), factor=64)
    assert min(decision.spec.size for _, decision in decided(policy, [0.1] * 90 + [0.6] * 90)) == 8


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"actions": ("shirk",)}, "try 'shrink'"),
        ({"actions": ()}, "on_drift must be known actions"),
        ({"factor": 1.0}, "factor must be above 1"),
        ({"hold": 0}, "hold must be at least 1"),
        ({"metric": "valid_loss"}, "metric must be train_accuracy or train_loss"),
    ],
)
def test_what_cannot_be_is_refused(how: dict[str, Any], says: str):
    with pytest.raises(ArgumentError, match=says):
        DriftPolicy(Same(), **how)
