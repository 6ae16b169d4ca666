from __future__ import annotations

from typing import Any

import pytest

from ladle.core.decision import Clock, Decision, Progress
from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec
from ladle.policy.adascale import AdaScale
from ladle.policy.constant import Constant
from ladle.policy.range import Range
from ladle.policy.retreat import Retreating
from ladle.policy.steps import Steps
from ladle.policy.utilisation import Utilisation


def micro_sizes(policy: Any, used: list[float]) -> list[int]:
    """The micro-batch after each window that ended with so much of 100 bytes in use."""
    memory, decision = policy.decide(policy.init(None), Progress())
    seen = []
    for index, bytes_ in enumerate(used, 1):
        reading = {"memory_bytes": bytes_, "memory_limit_bytes": 100.0}
        memory, decision = policy.decide(memory, Progress(index * 1000, reading=reading))
        assert decision.spec.size == 100
        seen.append(decision.spec.micro_size)
    return seen


@pytest.mark.parametrize(
    ("used", "micro"),
    [
        ([50, 90, 80], [100, 100, 100]),
        ([95, 85, 85], [64, 64, 64]),
        ([99, 93, 91, 85], [64, 32, 16, 16]),
        ([95, 95, 96, 94], [64, 64, 64, 64]),  # What was freed is nothing: it is not the micro-batch.
        ([95, 80, 99], [64, 64, 64]),
        ([91, 80, 101], [64, 64, 32]),  # Grown by a tenth since.
    ],
)
def test_micro_batches_are_cut_as_memory_fills_and_the_batch_stays(used: list[float], micro: list[int]) -> None:
    assert micro_sizes(Retreating(Constant(100, 100)), used) == micro


def test_it_stops_at_the_smallest() -> None:
    assert micro_sizes(Retreating(Constant(100, 100), smallest=48), [99, 95, 92, 91]) == [64, 48, 48, 48]


def test_both_reasons_are_given() -> None:
    policy = Retreating(Steps(((0, 64), (1000, 128)), 128))
    memory, first = policy.decide(policy.init(None), Progress())
    full = {"memory_bytes": 95.0, "memory_limit_bytes": 100.0}
    memory, second = policy.decide(memory, Progress(1000, reading=full))
    assert (first.stop, second.spec.size, second.spec.micro_size) == (1000, 128, 32)
    told = "batch size 64 -> 128 at 1,000 examples (steps)"
    assert second.reason == f"{told}; micro-batch 64 -> 32: 95 % of the memory in use at 1,000 examples (retreat)"


def test_what_it_wraps_goes_on_from_the_last_size() -> None:
    policy = Retreating(Utilisation(Range(32, 4096, 64)))
    assert policy.decide(None, Progress(1000, size=256))[1].spec.size == 256


def test_without_a_limit_nothing_is_done() -> None:
    policy = Retreating(Constant(64, 64))
    memory, _ = policy.decide(policy.init(None), Progress())
    assert policy.decide(memory, Progress(100, reading={"memory_bytes": 1e12}))[1].spec.micro_size == 64


def test_what_is_wrapped_is_a_policy() -> None:
    with pytest.raises(ArgumentError, match="policy must have methods init and decide; got 'noise 32..64'"):
        Retreating("noise 32..64")  # type: ignore[arg-type]


def test_impossible_shares_are_one_line() -> None:
    with pytest.raises(ArgumentError, match="share must be above 0 and at most 1; got 1.5"):
        Retreating(Constant(64, 64), share=1.5)


def test_a_retreat_leaves_the_clock_of_its_policy_alone() -> None:
    policy = AdaScale(Constant(256, 256), base=32)
    assert Retreating(policy).decide(None, Progress())[1].clock == policy.decide(None, Progress())[1].clock != Clock()


class Anew:
    """Begins the optimiser's averages anew, every time."""

    def init(self, plan: Any) -> Any:
        return None

    def decide(self, memory: Any, progress: Progress) -> Any:
        return memory, Decision(BatchSpec(100, 100), reset=True)


@pytest.mark.parametrize("around", [Retreating, lambda inner: AdaScale(inner, base=100)], ids=["retreat", "adascale"])
def test_averages_that_begin_anew_do_so_through_a_wrapper(around: Any) -> None:
    policy = around(Anew())
    assert policy.decide(policy.init(None), Progress())[1].reset
