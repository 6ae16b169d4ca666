from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.scaling.coupling import (
    RULES,
    AddedNoise,
    Coupling,
    Level,
    decay_factor,
    lr_factor,
    noisy_rate,
    rescale,
    rule_for,
    rule_spread,
    surge,
    warmup_epochs,
)

KAPPA = st.floats(1e-4, 1e4)


@given(st.sampled_from(RULES), KAPPA)
def test_there_and_back_again(rule, kappa):
    assert lr_factor(rule, kappa) * lr_factor(rule, 1 / kappa) == pytest.approx(1)


@given(st.sampled_from(RULES), KAPPA, KAPPA)
def test_two_changes_are_one(rule, first, second):
    assert lr_factor(rule, first) * lr_factor(rule, second) == pytest.approx(lr_factor(rule, first * second))


@given(st.floats(1e-3, 0.99), st.floats(0.5, 0.9999))
def test_sde_constants_there_and_back_again(share, decay):
    kappa, hyper = share / (1 - decay), {"b1": decay, "b2": 1 - (1 - decay) / 7, "eps": 1e-8, "wd": 0.1}
    assert rescale("sde", 1 / kappa, rescale("sde", kappa, hyper)) == pytest.approx(hyper, rel=1e-9)


@given(st.floats(1e-3, 1e2), st.floats(0.9, 0.9999))
def test_half_life_constants_there_and_back_again(kappa, decay):
    hyper = {"b1": decay, "b2": decay, "eps": 1e-8}
    assert rescale("half-life", 1 / kappa, rescale("half-life", kappa, hyper)) == pytest.approx(hyper, rel=1e-9)


def test_values():
    assert [lr_factor(rule, 16) for rule in RULES] == [1, 16, 4, 4, 4, 4, 4, 4]


def test_the_linear_rule_is_exact_for_a_linear_loss():
    """k steps of SGD at (rate, size B) are one at (k rate, size k B) where gradients do not depend on the place."""
    gradients = np.array([0.25, 1.0, -0.5, 2.0])
    many = 3.0
    for gradient in gradients:
        many -= 0.125 * gradient
    assert many == 3.0 - 0.125 * lr_factor("linear", 4) * gradients.mean()


def test_half_life_against_published_values():
    """Marek et al. 2025 keep the half-life in examples: 0.95 at 512 becomes this at 1; the linear form differs."""
    assert rescale("half-life", 1 / 512, {"b2": 0.95})["b2"] == pytest.approx(0.99989982, abs=5e-9)
    assert rescale("sde", 1 / 512, {"b2": 0.95})["b2"] == pytest.approx(0.99990234, abs=5e-9)
    assert rescale("half-life", 512, {"b2": 0.999})["b2"] == pytest.approx(0.599142, abs=5e-7)
    assert rescale("sde", 512, {"b2": 0.999})["b2"] == pytest.approx(0.488, abs=1e-12)


def test_half_life_along_the_published_table():
    """b2 at sizes 1 to 4096, half-life 10 million tokens of sequences of 512: each row follows from the first."""
    table = {1: 0.99996451, 4: 0.99985805, 16: 0.99943234, 64: 0.99773127, 256: 0.99095593, 1024: 0.96431153}
    exact = 0.5 ** (512 / 1e7)
    for size, b2 in {**table, 4096: 0.86470791}.items():
        assert rescale("half-life", size, {"b2": exact})["b2"] == pytest.approx(b2, abs=5e-9)


def test_half_life_leaves_b1_and_sde_moves_all():
    hyper = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "momentum": 0.9}
    assert rescale("half-life", 4, hyper) == {**hyper, "b2": 0.999**4}
    moved = rescale("sde", 4, hyper)
    assert moved == pytest.approx({"b1": 0.6, "b2": 0.996, "eps": 5e-9, "momentum": 0.9})
    for rule in ("none", "linear", "square root", "legw"):
        assert rescale(rule, 4, hyper) == hyper


@pytest.mark.parametrize(("hyper", "kappa"), [({"b2": 0.999}, 1000), ({"b1": 0.9}, 10), ({"b1": 0.9, "b2": 0.999}, 64)])
def test_sde_refuses_a_decay_rate_below_zero(hyper, kappa):
    with pytest.raises(ArgumentError, match="half-life"):
        rescale("sde", kappa, hyper)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: lr_factor("sqrt", 2), "rule must be one of none, linear.*surge; got 'sqrt'"),  # type: ignore[arg-type]
        (lambda: lr_factor("squareroot", 2), "try 'square root'"),  # type: ignore[arg-type]
        (lambda: lr_factor("linear", 0.0), "kappa must be positive"),
        (lambda: rescale("sde", -1, {}), "kappa must be positive"),
        (lambda: lr_factor("surge", 2), "surge also needs a measured peak; try Coupling"),
        (lambda: lr_factor("mccandlish", 2), "mccandlish also needs a measured noise; try Coupling"),
        (lambda: rescale("adamw timescale", 2, {"b1": 0.9}), "weight_decay must be above 0.*got 'none'"),
        (lambda: rescale("adamw timescale", 2, {"weight_decay": 0.0}), "weight_decay must be above 0.*got 0.0"),
    ],
)
def test_wrong_arguments_are_refused(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()


def test_rules_by_optimiser():
    names = {"sgd": "linear", "lars": "linear", "Adam": "square root", "adamw": "square root", "lamb": "square root"}
    names |= {"rmsprop": "square root", "adagrad": "square root", "lion": "square root", "my own": "none", "": "none"}
    assert {name: rule_for(name) for name in names} == names


def test_the_exponent_of_measured_rates():
    """Tuned rates of Adam by size, 0.0017 at 1 and 0.005 at 1024 (Marek et al. 2025): the low end of the spread."""
    exponent = math.log(0.005 / 0.0017) / math.log(1024)
    assert exponent == pytest.approx(0.156, abs=5e-4)
    low, middle, high = rule_spread(1024)
    assert low == pytest.approx(0.005 / 0.0017, rel=0.04) and (middle, high) == (32, 1024)


@given(KAPPA, st.floats(0.1, 10), st.floats(1e-4, 1))
def test_the_time_scale_of_adamw_is_kept(kappa, duration, decay):
    """tau = B / (lr weight_decay D), by the rule, and with the rate kept as Bergsma et al. keep it."""
    factor, hyper = Coupling("adamw timescale", 64, {"weight_decay": decay}, duration=duration).at(64 * kappa)
    assert kappa / (factor * hyper["weight_decay"] * duration) == pytest.approx(1 / decay)
    assert kappa / decay_factor(kappa, lr_factor=1.0, duration=duration) == pytest.approx(duration)


@given(st.floats(0.1, 6), st.floats(0.8, 4))
def test_completed_keeps_the_constants_of_the_sde(kappa, duration):
    """Time = updates lr^2, (1-b)/lr^2, eps lr and decay over the run are kept; the noise lr / sqrt(B) at duration 1."""
    base = {"b1": 0.9, "b2": 0.99, "eps": 1e-8, "weight_decay": 0.1}
    factor, hyper = Coupling("completed", 64, base, duration=duration).at(64 * kappa)
    updates = duration / kappa
    assert updates * factor**2 == pytest.approx(1)
    for name in ("b1", "b2"):
        assert (1 - hyper[name]) / factor**2 == pytest.approx(1 - base[name])
    assert hyper["eps"] * factor == pytest.approx(base["eps"])
    assert updates * factor * hyper["weight_decay"] == pytest.approx(base["weight_decay"])
    assert factor / math.sqrt(kappa) == pytest.approx(1 / math.sqrt(duration))


def test_legw():
    """Square root of the rate, and a warmup of the same number of updates."""
    assert lr_factor("legw", 16) == 4 and warmup_epochs("legw", 16, 0.5) == 8
    assert rescale("legw", 16, {"b1": 0.9}) == {"b1": 0.9}


@given(KAPPA, st.integers(1, 1000), st.floats(1, 1e5))
def test_measured_rules_follow_their_optimum(kappa, reference, measured):
    size = reference * kappa
    noisy = Coupling("mccandlish", reference, noise=measured).at(size)[0]
    assert noisy == pytest.approx(noisy_rate(size, noise=measured) / noisy_rate(reference, noise=measured))
    peaked = Coupling("surge", reference, peak=measured).at(size)[0]
    assert peaked == pytest.approx(surge(size, measured) / surge(reference, measured))


BASE = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.01}
COUPLINGS = [Coupling(rule, 64, BASE, (Level("dropout", 0.1, 0.5), AddedNoise(3.0, 10))) for rule in RULES] + [
    Coupling("surge", 64, peak=500.0),
    Coupling("mccandlish", 64, noise=500.0),
    Coupling("completed", 8, BASE, optimizer="adamw", duration=2.0),
]


@pytest.mark.parametrize("coupling", COUPLINGS, ids=lambda c: c.rule)
def test_a_coupling_is_a_value(coupling):
    again = Coupling.from_json(json.loads(json.dumps(coupling.to_json(), allow_nan=False)))
    assert again == coupling and hash(again) == hash(coupling)
    assert again.at(128) == coupling.at(128)
    assert replace(coupling, hyper=dict(reversed(coupling.hyper))) == coupling


@pytest.mark.parametrize("coupling", COUPLINGS[:-1], ids=lambda c: c.rule)
def test_at_the_reference_nothing_changes(coupling):
    factor, hyper = coupling.at(64)
    assert factor == 1 and coupling.warnings(64, 1.0) == ()
    for name, value in hyper.items():
        assert value == pytest.approx({**BASE, "dropout": 0.1, "gradient_noise": 0.0}[name])


def test_only_what_moves_is_returned():
    assert set(Coupling("half-life", 64, BASE).at(128)[1]) == {"b2"}
    assert set(Coupling("sde", 64, BASE).at(128)[1]) == {"b1", "b2", "eps"}
    assert Coupling("sde", 64, {"momentum": 0.9}, optimizer="momentum").at(128) == (2.0, {})
    levels = (Level("dropout", 0.1, 0.5, 0.15), AddedNoise(640.0, 100))
    assert Coupling("linear", 64, BASE, levels).at(256)[1] == pytest.approx({"dropout": 0.15, "gradient_noise": 0.075})


def said(coupling: Coupling, size: int, noise: float | None = None) -> str:
    return " ".join(coupling.warnings(size, noise))


def test_what_a_rule_warns_of():
    assert "x1.33 in place of x2" in said(Coupling("linear", 64), 128, 64.0)
    assert "warmup of about 5 epochs" in said(Coupling("linear", 64), 512)
    assert "made for SGD; steps of adam" in said(Coupling("linear", 64, optimizer="adam"), 128)
    assert "made for Adam and its kin; sgd wants 'linear'" in said(Coupling("half-life", 64, optimizer="sgd"), 128)
    assert said(Coupling("sde", 64, optimizer="sgd"), 128) == "", "the SDE rule of SGD is the linear one"
    assert "b1 moves far" in said(Coupling("sde", 64, BASE), 384)
    assert "supposes that noise dominates" in said(Coupling("square root", 64, optimizer="adam"), 128, 100.0)
    assert "8 times as many epochs of warmup" in said(Coupling("legw", 64), 512)
    assert "Beyond 100 examples the rate falls" in said(Coupling("surge", 64, peak=100.0), 128)
    assert "1.41 times less of it" in said(Coupling("completed", 64, BASE, duration=2.0), 128)
    assert "from x1.87 through x8 to x64" in said(Coupling("square root", 1), 64)
    assert "factor of 64 in size, where measurements and rules range from x0.0156" in said(
        Coupling("square root", 64), 1
    )


@pytest.mark.parametrize("rule", RULES)
def test_where_a_rule_was_made_for_it_is_silent(rule):
    optimizer = "sgd" if rule == "linear" else "adamw"
    assert Coupling(rule, 64, BASE, optimizer=optimizer).warnings(80, 1e6) == () or rule == "legw"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Coupling("surge", 64), "peak must be a size in examples"),
        (lambda: Coupling("mccandlish", 64, noise=math.inf), "noise must be a size in examples"),
        (lambda: Coupling("linear", 64, noise=3.0), "noise must be left out"),
        (lambda: Coupling("linear", 64, duration=2.0), "duration must be positive, and 1 for other rules"),
        (lambda: Coupling("linear", 0), "reference_size must be at least 1"),
        (lambda: Coupling("lin", 64), "rule must be one of"),  # type: ignore[arg-type]
        (lambda: Coupling("adamw timescale", 64, {"b1": 0.9}), "weight_decay must be above 0"),
        (lambda: Coupling("completed", 1, BASE, (Level("weight_decay", 0.1, 0.5),)), "weight_decay"),
        (lambda: Coupling("none", 1, {}, (Level("dropout", 0.1, 0.5), Level("dropout", 0.2, 0.5))), "dropout"),
        (lambda: Coupling("sde", 64, BASE).at(640), "half-life"),
    ],
)
def test_impossible_couplings_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
