"""Every policy x every law. A new policy joins with one line in `SCHEDULES` or `ADAPTIVE`."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass, replace
from itertools import pairwise
from typing import Any

import pytest

from ladle.core.decision import Decision, Progress
from ladle.core.memory import plain
from ladle.core.scaling.coupling import Coupling
from ladle.core.spec import rungs
from ladle.policy.adadagrad import AdAdaGrad
from ladle.policy.adascale import AdaScale
from ladle.policy.cabs import CABS
from ladle.policy.constant import Constant
from ladle.policy.divebatch import DiveBatch
from ladle.policy.geometric import Geometric
from ladle.policy.goodput import Goodput
from ladle.policy.grow_instead_of_decay import GrowInsteadOfDecay
from ladle.policy.inner_product import InnerProduct
from ladle.policy.late_switch import LateSwitch
from ladle.policy.measured_warmup import MeasuredWarmup
from ladle.policy.noise_follow import NoiseFollow
from ladle.policy.normtest import NormTest
from ladle.policy.plateau import Plateau
from ladle.policy.range import Range
from ladle.policy.retreat import Retreating
from ladle.policy.seesaw import Seesaw
from ladle.policy.steps import Steps
from ladle.policy.utilisation import Utilisation
from ladle.policy.warmup import Warmup
from ladle.policy.world_test import World, changes, constant, rising, sizes_of


def constants(reference: int) -> Coupling:
    """A coupling that moves optimiser constants too."""
    return Coupling("half-life", reference, {"b1": 0.9, "b2": 0.999})


SIZES = Range(32, 1024, micro_size=256)

# policy, smallest size, largest size, most rows at once
SCHEDULES: dict[str, tuple[Any, int, int, int]] = {
    "constant": (Constant(64, 16), 64, 64, 16),
    "steps": (Steps(((0, 64), (1000, 128), (1010, 32), (9000, 512)), 128), 32, 512, 128),
    "steps, linear": (Steps(((0, 60), (3001, 120), (7777, 600)), 100, coupling="linear"), 60, 600, 100),
    "steps, constants": (Steps(((0, 60), (3001, 120), (7777, 600)), 100, coupling=constants(60)), 60, 600, 100),
    "one step": (Steps(((0, 1),), 1), 1, 1, 1),
    "geometric": (Geometric(8, 100, growth=1.7, every=1100, micro_size=64, coupling="square root"), 8, 100, 64),
    "geometric, slow": (Geometric(1, 5, growth=1.2, every=300, micro_size=4), 1, 5, 4),
    "warmup": (Warmup(3, 100, over=5000, micro_size=32, coupling="square root"), 3, 100, 32),
    "warmup by example": (Warmup(8, 40, over=3333, micro_size=16, by="example"), 8, 40, 16),
    "warmup, steep": (Warmup(1, 500, over=20, micro_size=64, by="example"), 1, 500, 64),
    "warmup, flat": (Warmup(7, 7, over=20, micro_size=64), 7, 7, 64),
    "grow": (GrowInsteadOfDecay(64, 5, (2000, 4000, 6000), largest=1000, micro_size=256), 64, 1000, 256),
    "grow by root two": (GrowInsteadOfDecay(10, 2**0.5, tuple(range(500, 9000, 500)), 90, micro_size=64), 10, 90, 64),
    "seesaw": (Seesaw(64, 4, (2000, 4000, 6000), largest=1000, micro_size=256), 64, 1000, 256),
    "seesaw, less growth": (Seesaw(10, 4, (2000, 4000), 40, micro_size=64, growth=2), 10, 40, 64),
    "late": (LateSwitch(64, 1000, (9000, 10_000, 11_000), micro_size=256), 64, 1000, 256),
    "measured": (MeasuredWarmup(48, 400, ((0, 60), (1000, 110), (9000, 600)), micro_size=128), 48, 384, 128),
}

ADAPTIVE: dict[str, tuple[Any, int, int, int]] = {
    "noise": (NoiseFollow(SIZES, coupling="square root"), 32, 1024, 256),
    "noise, constants": (NoiseFollow(Range(48, 1000, 300, first=48), coupling=constants(48)), 48, 1000, 300),
    "noise, fast": (NoiseFollow(Range(16, 2048, 4096, most=16, every=20_000), 0.5), 16, 2048, 4096),
    "norm test": (NormTest(SIZES, 0.5), 32, 1024, 256),
    "norm test, 0.9": (NormTest(SIZES, 0.9), 32, 1024, 256),
    "norm test, unbiased": (NormTest(SIZES, 1.0, "unbiased", coupling="linear"), 32, 1024, 256),
    "inner product": (InnerProduct(SIZES, nu=1.0), 32, 1024, 256),
    "cabs": (CABS(SIZES, lr=1.0), 32, 1024, 256),
    "adascale": (AdaScale(Constant(256, 128), base=32), 256, 256, 128),
    "adascale of noise": (AdaScale(NoiseFollow(SIZES), base=32), 32, 1024, 256),
    "goodput": (Goodput(SIZES, coupling="square root"), 32, 1024, 256),
    "goodput, given": (Goodput(SIZES, 0.02, 1e-4), 32, 1024, 256),
    "divebatch": (DiveBatch(SIZES), 32, 1024, 256),
    "adadagrad": (AdAdaGrad(SIZES), 32, 1024, 256),
    "adadagrad, inner product": (AdAdaGrad(SIZES, 0.5, "inner product"), 32, 1024, 256),
    "plateau": (Plateau(32, 1000, 256, 4, 2, min_delta=0.01, coupling="linear"), 32, 1000, 256),
    "plateau of training": (Plateau(8, 20, 256, 2, 2, "train_loss", cooldown=1), 8, 20, 256),
    "utilisation": (Utilisation(SIZES, cores=2), 32, 1024, 256),
    "retreating": (Retreating(NoiseFollow(SIZES, coupling="linear")), 32, 1024, 256),
    "retreating steps": (Retreating(Steps(((0, 60), (100_001, 600)), 300), smallest=16), 60, 600, 300),
}

POLICIES = {**SCHEDULES, **ADAPTIVE}


@dataclass(frozen=True)
class Case:
    policy: Any
    smallest: int
    largest: int
    rows: int
    world: World


def case_of(name: str) -> Case:
    if name in SCHEDULES:
        return Case(*SCHEDULES[name], World(12_000, 1000, 500, rising, measures=False))
    return Case(*ADAPTIVE[name], World(480_000, 24_000, 12_000, rising))


@pytest.fixture(params=POLICIES)
def case(request: pytest.FixtureRequest) -> Case:
    return case_of(request.param)


def effect(decision: Decision) -> tuple[Any, float, Mapping[str, float]]:
    return decision.spec, decision.lr_factor, decision.hyper


def test_sizes_stay_within_bounds_and_micro_sizes_are_rungs(case: Case) -> None:
    for phi in (rising, constant(3.0), constant(1e6)):
        for _, _, decision in replace(case.world, phi=phi).whole(case.policy):
            assert case.smallest <= decision.spec.size <= case.largest
            assert decision.spec.micro_size in rungs(case.rows)
            assert decision.spec.micro_size < 2 * decision.spec.size
            assert isinstance(case.policy, Retreating) or decision.spec.micro_size >= min(case.rows, decision.spec.size)
            assert decision.lr_factor > 0
            assert all(math.isfinite(value) for value in (*decision.inputs.values(), *decision.hyper.values()))


def test_bounds_are_reached(case: Case) -> None:
    sizes = sizes_of(case.world.whole(case.policy))
    assert max(sizes) == case.largest
    assert min(sizes) == case.smallest


def test_the_same_question_has_the_same_answer(case: Case) -> None:
    asked = [(memory, progress) for progress, memory, _ in case.world.whole(case.policy)]
    first = [case.policy.decide(memory, progress) for memory, progress in asked]
    order = random.Random(0).sample(range(len(asked)), len(asked))
    assert all(case.policy.decide(*asked[i]) == first[i] for i in order)


def through_json(memory: Any) -> Any:
    """What a checkpoint makes of a memory."""
    return json.loads(json.dumps(plain(memory), allow_nan=False))


def test_memory_is_a_frozen_value_and_its_json_as_good(case: Case) -> None:
    memory, progress = case.policy.init(None), Progress()
    while progress.examples < case.world.end:
        assert memory is None or (is_dataclass(memory) and not isinstance(memory, type))
        assert through_json(memory) == plain(memory)
        after, decision = case.policy.decide(memory, progress)
        assert case.policy.decide(through_json(memory), progress) == (after, decision)
        memory, progress = after, case.world.after(progress, decision)


def test_asking_twice_at_one_place_changes_nothing(case: Case) -> None:
    for progress, memory, decision in case.world.whole(case.policy):
        after, _ = case.policy.decide(memory, progress)
        again, second = case.policy.decide(after, progress)
        assert (effect(second), second.stop, second.reason, again) == (effect(decision), decision.stop, "", after)


def test_a_resumed_run_decides_as_one_that_never_stopped(case: Case) -> None:
    whole = case.world.whole(case.policy)
    for index in random.Random(1).sample(range(len(whole)), 3):
        progress, memory, _ = whole[index]
        assert list(case.world.run(case.policy, json.loads(json.dumps(memory)), progress)) == whole[index:]


def test_decisions_are_replayed_from_the_record_alone(case: Case) -> None:
    whole = case.world.whole(case.policy)
    lines = [case.world.line(after, decision) for (after, *_), (*_, decision) in zip(whole[1:], whole, strict=False)]
    memory, progress = case.policy.init(None), Progress()
    for line, (_, _, decision) in zip([*lines, None], whole, strict=True):
        memory, again = case.policy.decide(memory, progress)
        assert again == decision
        progress = Progress.from_line(line, progress) if line else progress


def test_a_decision_ends_after_it_begins_and_nothing_changes_before(case: Case) -> None:
    for progress, memory, decision in case.world.whole(case.policy):
        assert decision.stop is None or decision.stop > progress.examples
        if case.world.measures:  # It may think again at every window.
            continue
        end = 10 * case.world.end if decision.stop is None else decision.stop
        for between in {progress.examples, (progress.examples + end) // 2, end - 1}:
            if between >= progress.examples:
                _, other = case.policy.decide(memory, Progress(between))
                assert (effect(other), other.stop) == (effect(decision), decision.stop)


def test_a_reason_is_given_exactly_when_something_changed(case: Case) -> None:
    before: Decision | None = None
    for _, _, decision in case.world.whole(case.policy):
        changed = before is not None and effect(before) != effect(decision)
        assert bool(decision.reason) == changed, decision
        assert "\n" not in decision.reason
        before = decision


def test_a_run_may_go_on_with_another_policy(case: Case) -> None:
    for other in ("steps, linear", "noise, constants", "cabs", "adascale of noise", "goodput", "plateau", "retreating"):
        before = case_of(other)
        progress, memory, _ = before.world.whole(before.policy)[-10]
        left, _ = before.policy.decide(memory, progress)  # as a value, not as JSON
        assert case.policy.decide(left, progress) == case.policy.decide(through_json(left), progress)
        for _ in range(3):
            memory, decision = case.policy.decide(memory, progress)
            memory = through_json(memory)
            assert case.smallest <= decision.spec.size <= case.largest
            progress = before.world.after(progress, decision)


def test_a_policy_is_a_frozen_value(case: Case) -> None:
    policy = case.policy
    assert policy == type(policy)(**{field.name: getattr(policy, field.name) for field in fields(policy)})
    assert isinstance(hash(policy), int)
    with pytest.raises(FrozenInstanceError):
        setattr(policy, fields(policy)[0].name, 3)


# --- What measuring policies owe beyond that: sizes that do not flap.


@pytest.fixture(params=ADAPTIVE)
def measuring(request: pytest.FixtureRequest) -> Case:
    return case_of(request.param)


def turns(moves: list[tuple[float, float]]) -> int:
    """How often a move goes against the one before it."""
    return sum((a[1] > a[0]) != (b[1] > b[0]) for a, b in pairwise(moves))


@pytest.mark.parametrize("phi", [90.5, 362.0, 2500.0])
def test_a_constant_signal_moves_size_and_rate_a_few_times_and_never_back(measuring: Case, phi: float) -> None:
    # The first two lie half way between two sizes of the grid.
    most = math.log2(measuring.largest / measuring.smallest) + 1
    for seed, dimension in ((0, 8), (1, 400)):
        whole = replace(measuring.world, phi=constant(phi), seed=seed, dimension=dimension).whole(measuring.policy)
        moves, rates = changes(sizes_of(whole)), changes([decision.lr_factor for _, _, decision in whole])
        assert not turns(moves), moves
        assert len(moves) <= max(most, 4), moves
        # A gain that was measured while the batch still grew may be too large, and is put right once.
        turned = 1 if isinstance(measuring.policy, AdaScale) else 0
        assert turns(rates) <= turned, rates


def test_a_rising_signal_never_makes_it_smaller(measuring: Case) -> None:
    for seed in range(3):
        sizes = sizes_of(replace(measuring.world, seed=seed).whole(measuring.policy))
        assert sizes == sorted(sizes)


@pytest.mark.parametrize("name", ["noise", "cabs", "divebatch", "goodput, given"])
def test_a_falling_signal_makes_it_smaller(name: str) -> None:
    case = case_of(name)
    policy = replace(case.policy, sizes=replace(case.policy.sizes, first=1024))
    sizes = sizes_of(replace(case.world, phi=lambda done: rising(1 - done)).whole(policy))
    assert sizes[0] == 1024
    assert sizes[-1] <= 128
    assert sizes == sorted(sizes, reverse=True)


def test_a_run_without_measurements_stays_at_its_first_size() -> None:
    for name in ADAPTIVE:
        if name in ("retreating steps", "plateau of training"):
            continue
        policy, memory = ADAPTIVE[name][0], ADAPTIVE[name][0].init(None)
        for position in range(0, 10_000, 1000):
            memory, decision = policy.decide(memory, Progress(position))
            assert decision.spec.size == policy.decide(policy.init(None), Progress())[1].spec.size
