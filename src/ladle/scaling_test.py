from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.errors import ArgumentError
from ladle.scaling import RULES, lr_factor, rescale, rule_for, surge

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
    assert [lr_factor(rule, 16) for rule in RULES] == [1, 16, 4, 4, 4]


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
    for rule in ("none", "linear", "square root"):
        assert rescale(rule, 4, hyper) == hyper


@pytest.mark.parametrize(
    ("hyper", "kappa"), [({"b2": 0.999}, 1000.5), ({"b1": 0.9}, 10.5), ({"b1": 0.9, "b2": 0.999}, 64)]
)
def test_sde_refuses_a_decay_rate_below_zero(hyper, kappa):
    with pytest.raises(ArgumentError, match="half-life"):
        rescale("sde", kappa, hyper)


@pytest.mark.parametrize(
    "call", [lambda: lr_factor("sqrt", 2), lambda: lr_factor("linear", 0.0), lambda: rescale("sde", -1, {})]
)  # type: ignore[arg-type]
def test_wrong_arguments_are_refused(call):
    with pytest.raises(ArgumentError):
        call()


def test_rules_by_optimiser():
    names = {"sgd": "linear", "lars": "linear", "Adam": "square root", "adamw": "square root", "lamb": "square root"}
    names |= {"rmsprop": "square root", "adagrad": "square root", "lion": "square root", "my own": "none", "": "none"}
    assert {name: rule_for(name) for name in names} == names


def best_sign_rate(size: float, hessian: np.ndarray, mu: float) -> float:
    """Best rate of a sign update with unit noise: mu sum(p) / E[s' H s], p = E[sign] = erf(mu sqrt(size/2))."""
    p = np.full(len(hessian), math.erf(mu * math.sqrt(size / 2)))
    diagonal = np.diag(hessian)
    return float(mu * p.sum() / (diagonal.sum() + p @ hessian @ p - (diagonal * p * p).sum()))


def test_surge_peak():
    """Sign updates, H = 0.1 I + 0.9 11', 50 coordinates, mu 0.01, sigma 1: exact optimum at 360.6, formula 356.2."""
    hessian, mu = np.eye(50) * 0.1 + 0.9, 0.01
    coupled = hessian.sum() - np.trace(hessian)
    peak = math.pi / 2 / mu**2 * np.trace(hessian) / coupled
    assert peak == pytest.approx(356.2, abs=0.05)
    sizes = np.geomspace(1, 1e5, 5001)
    exact = np.array([best_sign_rate(size, hessian, mu) for size in sizes])
    assert sizes[exact.argmax()] == pytest.approx(360.6, rel=0.003)
    near = (sizes > peak / 30) & (sizes < peak * 3)
    predicted = np.array([surge(size, peak) for size in sizes[near]])
    np.testing.assert_allclose(exact[near] / exact.max(), predicted, rtol=0.03)


def test_without_coupling_there_is_no_surge():
    rates = np.array([best_sign_rate(size, np.eye(50), 0.01) for size in np.geomspace(1, 1e5, 200)])
    assert (np.diff(rates) >= 0).all()
