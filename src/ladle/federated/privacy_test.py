"""What is promised of privacy is what the accountant says, and numbers that promise nothing are refused."""

from __future__ import annotations

import math

import pytest

from ladle.core.errors import ArgumentError
from ladle.federated import Privacy
from ladle.federated.privacy import accountant_of


@pytest.mark.slow
def test_epsilon_is_that_of_the_accountants_own_steps():
    pytest.importorskip("opacus", reason="Opacus tells epsilon")
    for noise, rate, rounds, delta in ((1.0, 0.1, 30, 1e-5), (0.6, 0.25, 7, 1e-3), (2.0, 1.0, 3, 1e-5)):
        accountant = accountant_of()()
        for _ in range(rounds):
            accountant.step(noise_multiplier=noise, sample_rate=rate)
        assert Privacy(1.0, noise, delta).epsilon(rounds, rate) == accountant.get_epsilon(delta)


def test_without_noise_nothing_is_promised():
    assert Privacy(1.0, 0.0).epsilon(3, 0.5) == math.inf
    assert Privacy(1.0, 1.0).epsilon(0, 0.5) == 0.0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"clip": 0.0, "noise": 1.0}, "clip must be a number above 0"),
        ({"clip": math.inf, "noise": 1.0}, "clip must be a number above 0"),
        ({"clip": 1.0, "noise": -1.0}, "noise must be a number from 0"),
        ({"clip": 1.0, "noise": 1.0, "delta": 0.0}, "delta must lie between 0 and 1"),
    ],
)
def test_numbers_that_cannot_be_are_refused(given, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        Privacy(**given)
