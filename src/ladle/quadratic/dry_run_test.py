from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.decision import Clock, Decision, Progress
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec, rung_for
from ladle.core.speed import Speed
from ladle.policy.constant import Constant
from ladle.policy.grow_instead_of_decay import GrowInsteadOfDecay
from ladle.policy.plateau import Plateau
from ladle.policy.seesaw import Seesaw
from ladle.policy.steps import Steps
from ladle.quadratic.dry_run import Rehearsal, rehearse
from ladle.quadratic.noisy_quadratic import NoisyQuadratic
from ladle.quadratic.readings import Instrument

LINE = Speed(0.02, 1e-4)
LAW = NoisyQuadratic.power_law(200)


def play(policy: Any, until: str, **how: Any) -> Rehearsal:
    given = {"quadratic": LAW, "lr": 0.2, "line": LINE, "window": 10_000, **how}
    return rehearse(policy, until=Until.parse(until), **given)


def slow(policy: Any, *, lr: float, window: int, end: int) -> tuple[float, int]:
    """Loss and updates of plain SGD on `LAW`, update by update, asking at every multiple of `window`."""
    v, h, c, examples, updates = LAW.start, LAW.curvature, LAW.noise, 0, 0
    memory, stop = policy.init(None), 0
    decision = Decision(BatchSpec(1, 1))
    while examples < end:
        if examples >= stop:
            memory, decision = policy.decide(memory, Progress(examples))
            stop = min(x for x in (decision.stop, (examples // window + 1) * window) if x is not None)
        rate = lr * decision.lr_factor
        v = (1 - rate * h) ** 2 * v + rate**2 * c / decision.spec.size
        examples, updates = examples + decision.spec.size, updates + 1
    return float(h @ v) / 2, updates


def phases(size: int) -> tuple[int, ...]:
    return tuple(size * k for k in (1, 2, 3))


# T15: h = c = 1/i, d = 200, rate .2, size 4, four phases of 40,000 examples.


def test_double_the_batch_where_the_rate_would_be_halved():
    done = play(GrowInsteadOfDecay(4, 2, phases(40_000), 32, 32), "160000 examples")
    assert done.loss == pytest.approx(0.00950071, abs=5e-9)
    assert (done.steps, done.examples, done.switches) == (18_750, 160_000, 3)


def test_halve_the_rate():
    done = play(GrowInsteadOfDecay(4, 2, phases(40_000), 4, 4), "160000 examples")
    assert [window.lr_factor for window in done.windows[::4]] == [1, 0.5, 0.25, 0.125]
    assert done.loss == pytest.approx(0.00925621, abs=5e-9)
    assert (done.steps, done.switches) == (40_000, 0)


def test_neither():
    done = play(Constant(4, 4), "160000 examples")
    assert done.loss == pytest.approx(0.0756905, abs=5e-8)
    assert done.seconds == pytest.approx(40_000 * (0.02 + 4e-4))


def test_root_two_of_each():
    """Sizes are whole: sqrt(2) is kept by counting in units of 1/1000 example (size, noise, positions x 1000)."""
    policy = Seesaw(4000, decay=2**0.75, boundaries=phases(40_000_000), largest=20_000, micro_size=4096, growth=2**0.5)
    many = replace(LAW, noise=1000 * LAW.noise)
    done = play(policy, "1.6e8 examples", quadratic=many, window=10**7)
    assert done.loss == pytest.approx(0.00931691, rel=5e-5)  # A phase of 3535.4 updates has 3536 here, 3535 there.
    assert done.steps == pytest.approx(10_000 + 7071 + 5000 + 3535, abs=2)
    spread = LAW.begin()
    for k in range(4):
        size = 4 * 2 ** (k / 2)
        spread = LAW.after(spread, size=size, rate=0.2 * 2 ** (-k / 2), steps=int(40_000 / size))
    assert LAW.loss(spread) == pytest.approx(0.00931691, abs=5e-9)


@pytest.mark.parametrize(
    "policy",
    [
        Constant(7, 7),
        Steps(((0, 8), (1000, 24), (2500, 5)), 64, coupling="square root"),
        GrowInsteadOfDecay(6, 3, (700, 1400), 20, 32),
    ],
    ids=["constant", "steps", "grow"],
)
@pytest.mark.parametrize("window", [97, 500, 10**6])
def test_a_dry_run_is_the_recursion_update_by_update(policy, window):
    loss, updates = slow(policy, lr=0.3, window=window, end=3000)
    done = play(policy, "3000 examples", lr=0.3, window=window)
    assert done.loss == pytest.approx(loss, rel=1e-10)
    assert done.steps == updates
    assert done.examples == sum(window.steps * window.size for window in done.windows)
    assert [w.start for w in done.windows[1:]] == [w.start + w.steps * w.size for w in done.windows[:-1]]


@given(window=st.integers(100, 5000), size=st.integers(1, 300), momentum=st.sampled_from([0.0, 0.8]))
@settings(max_examples=8, deadline=None)
def test_the_cut_into_windows_changes_nothing(window, size, momentum):
    small = NoisyQuadratic.power_law(5)
    how = {"lr": 0.1, "momentum": momentum, "quadratic": small}
    one, other = (play(Constant(size, size), "300 steps", window=each, **how) for each in (window, 10**9))
    assert one.loss == pytest.approx(other.loss, rel=1e-8)
    assert (one.steps, one.examples) == (other.steps, other.examples) == (300, 300 * size)


def test_a_target_ends_the_run_at_the_very_update():
    target = 0.2 * LAW.loss(LAW.begin())
    for window in (100, 5000, 10**6):
        done = play(Constant(32, 32), f"loss <= {target!r}, 1e6 steps", window=window)
        assert (done.status, done.steps) == ("reached", LAW.steps_to(target, size=32, rate=0.2))
        assert done.why.startswith("target reached: loss")
        assert done.loss <= target < done.first_loss
    assert play(Constant(32, 32), "loss <= 99, 1e6 steps").steps == 0


def test_a_target_reached_with_the_last_update_is_reached():
    target = 0.2 * LAW.loss(LAW.begin())
    steps = int(LAW.steps_to(target, size=32, rate=0.2))
    assert play(Constant(32, 32), f"loss <= {target!r}, {steps} steps").status == "reached"
    late = play(Constant(32, 32), f"loss <= {target!r}, {steps - 1} steps")
    assert (late.status, late.why, late.steps) == ("ended", f"{steps - 1:,} steps", steps - 1)


def test_bounds_of_every_unit():
    assert play(Constant(10, 16), "3 s", window=100).seconds == pytest.approx(3.15, abs=0.06)
    assert play(Constant(10, 16), "2 epochs", epoch_size=1000).examples == 2000
    assert play(Constant(10, 16), "77 steps").steps == 77
    done = play(Constant(4, 4), "patience 3, 1e6 steps", lr=0.02, window=20_000)
    assert done.why == "patience: valid_loss no better for 3 evaluations"


@dataclass(frozen=True)
class Listening:
    """A constant size; the reason is what is told of the loss."""

    def init(self, plan: Any) -> None:
        return None

    def decide(self, memory: None, progress: Progress) -> tuple[None, Decision]:
        return None, Decision(BatchSpec(64, 64), reason=" ".join(sorted({"loss", "valid_loss"} & {*progress.reading})))


def test_validation_is_told_where_a_real_run_evaluates():
    """Windows end at 10,048, 20,032, 25,024, ...; an epoch at 25,024 and 50,048."""
    told = [window.reason for window in play(Listening(), "60000 examples", epoch_size=25_000).windows]
    assert told == ["loss valid_loss", "loss", "loss", "loss valid_loss", "loss", "loss", "loss valid_loss"]
    assert {w.reason for w in play(Listening(), "60000 examples").windows} == {"loss valid_loss"}


def test_a_plateau_waits_for_its_evaluations():
    """The loss only rises: three evaluations without a better one than the first are three epochs."""
    rising = replace(LAW, start=0.5 * LAW.steady(64, 0.2).square)
    how = {"quadratic": rising, "epoch_size": 100_000, "window": 4096}
    run = play(Plateau(64, 1024, 1024, patience=3), "400000 examples", **how)
    assert next(window.start for window in run.windows if window.size > 64) == pytest.approx(300_000, rel=1e-3)


def test_patience_counts_evaluations():
    until = "patience 3, 1e6 steps"
    rising = replace(LAW, start=0.5 * LAW.steady(64, 0.2).square)
    run = play(Constant(64, 64), until, quadratic=rising, epoch_size=100_000)
    assert run.why == "patience: valid_loss no better for 3 evaluations"
    assert run.examples == pytest.approx(400_000, rel=1e-3), "as in a run, the first is that of the first epoch"


@pytest.mark.parametrize("rate", [2.5, 2.01, 40.0])
def test_a_rate_too_high_is_said_to_diverge(rate):
    done = play(Constant(64, 64), "1e6 steps", lr=rate)
    assert done.status == "diverged"
    assert f"at rate {rate:g}, size 64; rates of 2 and more have no bound there" in done.why
    assert done.steps < 1e6


def test_momentum_of_a_decision_is_in_force_from_then_on():
    @dataclass(frozen=True)
    class Switching:
        def init(self, plan: Any) -> None:
            return None

        def decide(self, memory: None, progress: Progress) -> tuple[None, Decision]:
            hyper = {"momentum": 0.9} if progress.examples == 1000 else {}
            return None, Decision(BatchSpec(10, 16), 1000 if progress.examples < 1000 else None, 1.0, hyper=hyper)

    done = play(Switching(), "3000 examples", lr=0.05, window=500)
    spread = LAW.after(LAW.begin(), size=10, rate=0.05, steps=100)
    spread = LAW.after(spread, size=10, rate=0.05, steps=200, momentum=0.9)
    assert done.loss == pytest.approx(LAW.loss(spread), rel=1e-10)


@dataclass(frozen=True)
class Follow:
    """The size is the measured noise scale over 10, as far as it is resolved."""

    def init(self, plan: Any) -> None:
        return None

    def decide(self, memory: Any, progress: Progress) -> tuple[Any, Decision]:
        scale = progress.reading.get("noise_scale", 0.0)
        size = max(8, min(4096, round(scale / 10))) if math.isfinite(scale) else 8
        return memory, Decision(BatchSpec(size, rung_for(size, 4096)), reason=f"noise scale {scale:.3g}")


def test_a_policy_is_told_the_noise_scale_of_its_window():
    quadratic = NoisyQuadratic.power_law(200, noise_scale=300)
    seen = play(Follow(), "40000 examples", quadratic=quadratic, window=1000)
    first = quadratic.at(quadratic.window(quadratic.begin(), size=8, rate=0.2, steps=125)[1])
    assert seen.windows[1].size == round(first.simple_noise_scale / 10)
    sizes = np.array([window.size for window in seen.windows])
    assert (np.diff(sizes) >= 0).all() and sizes[-1] > 8 * sizes[1]
    assert seen.windows[-1].reason.startswith("noise scale")


def test_a_noisy_instrument_makes_it_switch_more_often():
    quadratic = NoisyQuadratic.power_law(200, noise_scale=300)
    how = {"quadratic": quadratic, "window": 1000}
    exact = play(Constant(64, 64), "40000 examples", **how)
    same = play(Constant(64, 64), "40000 examples", instrument=Instrument(micro_steps=8), **how)
    assert exact.loss == same.loss
    noisy = play(Follow(), "40000 examples", instrument=Instrument(micro_steps=4, seed=1), **how)
    again = play(Follow(), "40000 examples", instrument=Instrument(micro_steps=4, seed=1), **how)
    assert noisy == again
    drops = np.diff([window.size for window in noisy.windows]) < 0
    assert drops.any()


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("3 epochs", "until must not count epochs"),
        ("valid_accuracy >= 0.9, 10 steps", "until must bound the loss from above; got 'valid_accuracy >= 0.9'"),
        ("loss >= 0.9, 10 steps", "until must bound the loss from above"),
    ],
)
def test_bounds_that_a_quadratic_does_not_have(until, message):
    with pytest.raises(ArgumentError, match=message):
        play(Constant(4, 4), until)


def test_bad_numbers():
    with pytest.raises(ArgumentError, match="rate must be positive"):
        play(Constant(4, 4), "10 steps", lr=0.0)
    with pytest.raises(ArgumentError, match="window must be at least 1"):
        play(Constant(4, 4), "10 steps", window=0)


@dataclass(frozen=True)
class HalfTime:
    """Batches of 100 that count half."""

    def init(self, plan: Any) -> Any:
        return None

    def decide(self, memory: Any, progress: Progress) -> Any:
        return None, Decision(BatchSpec(100, 100), clock=Clock(0.0, 0.5))


@pytest.mark.parametrize("until", ["20000 examples", "2 epochs"])
def test_bounds_are_held_against_the_clock_of_a_policy_that_has_one(until: str) -> None:
    run = play(HalfTime(), until, epoch_size=10_000)
    assert (run.status, run.examples, run.steps) == ("ended", 40_000, 400)
