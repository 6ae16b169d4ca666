from __future__ import annotations

import json
import math

import pytest

from ladle.core.errors import ArgumentError
from ladle.planner.laws import KNOWN, batch_size_spread, power_of_two_size, power_rate

TABLE = {
    "Step Law": ((0.297e6, 1.32e-3), (1.11e6, 5.2e-4)),
    "DeepSeek": ((0.686e6, 1.15e-3), (3.09e6, 6.5e-4)),
    "Moonlight": ((0.746e6, None), (5.01e6, None)),
    "Zhang B_20%": ((0.876e6, None), (2.58e6, None)),
    "Kaplan": ((1.08e6, None), (2.58e6, None)),
    "Merrill plateau": ((16.8e6, None), (16.8e6, None)),
}
"""Sizes in tokens and rates at 10 and 100 billion tokens, 20 tokens a parameter, losses 3.0 and 2.5."""


@pytest.mark.parametrize("law", TABLE)
@pytest.mark.parametrize(("column", "tokens", "loss"), [(0, 1e10, 3.0), (1, 1e11, 2.5)])
def test_the_table_of_laws(law, column, tokens, loss):
    size, lr = TABLE[law][column]
    found = batch_size_spread(tokens / 20, tokens, loss).law(law)
    assert found.size_tokens == pytest.approx(size, rel=0.005)
    if lr is not None:
        assert found.lr == pytest.approx(lr, rel=0.009)


def test_rates_that_laws_do_not_give_are_not_invented():
    found = {law.name: law.lr for law in batch_size_spread(5e8, 1e10).laws if law.lr is not None}
    assert set(found) == {"Step Law", "DeepSeek", "Moonlight"}
    assert found["Moonlight"] == pytest.approx(0.0127 * 3e19**-0.057)


def test_a_spread_is_no_single_number():
    found = batch_size_spread(5e8, 1e10, loss=3.0, length=1024)
    assert found.high / found.low == pytest.approx(56.5, abs=0.1)
    text = str(found)
    assert "0.297M" in text and "16.8M" in text and "a factor of 56" in text and "290" in text
    assert len(text.splitlines()) == 2 * len(found.laws) + 4
    assert all(law.source and law.definition and law.formula and law.optimizer for law in found.laws)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["laws"][0]["name"] == "Step Law"


def test_what_is_not_known_has_no_number():
    found = batch_size_spread(5e8, 1e10)
    assert found.law("Power Lines").size_tokens is None and "not verified" in found.law("Power Lines").note
    assert found.law("Kaplan").size_tokens is None and "was not given" in str(found)


@pytest.mark.parametrize("end", [0, 1])
def test_every_law_is_a_number_wherever_it_may_be_asked(end):
    found = batch_size_spread(KNOWN["parameters"][end], KNOWN["tokens"][end], KNOWN["loss"][end])
    assert 0 < found.low < found.high < math.inf and "inf" not in str(found)


def test_powers_of_two_by_depth():
    """nanochat: depth, tokens (10.5 for each weight of matrices and head) and size; its log prints these four rows."""
    exponents = {}
    for depth in (8, *range(10, 17), *range(18, 27), *range(32, 51)):
        width = 64 * depth
        weights = 12 * depth * width**2 + 32_768 * width
        exponents[depth] = power_of_two_size(10.5 * weights).bit_length() - 1
    assert exponents[8] == 18
    assert {exponents[depth] for depth in range(10, 17)} == {19}
    assert {exponents[depth] for depth in range(18, 27)} == {20}
    assert {exponents[depth] for depth in range(32, 51)} == {21}


def test_the_power_scheduler():
    """Shen et al. 2024: 0.0011 for 10 trillion tokens at 1024; not above 0.02; proportional to the size."""
    assert power_rate(1e13, 1024, amplitude=4.6) == pytest.approx(0.0011, abs=5e-5)
    assert power_rate(1e9, 1024) == 0.02
    assert power_rate(1e12, 512) == pytest.approx(power_rate(1e12, 256) * 2)
    assert power_rate(4e12, 256) == pytest.approx(power_rate(1e12, 256) * 4**-0.51)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: batch_size_spread(0, 1e10), "parameters must be a positive number"),
        (lambda: batch_size_spread(5e8, -1), "tokens must be a positive number"),
        (lambda: batch_size_spread(5e8, 1e10, loss=0.0), "loss must be a positive number"),
        (lambda: batch_size_spread(5e8, 1e10, loss=1e-100), "loss must be a positive number, 0.01 to 100"),
        (lambda: batch_size_spread(1e300, 1e300), "parameters must be a positive number, 1 to 1e.20"),
        (lambda: batch_size_spread(5e8, 1e10, length=0), "length must be at least 1"),
        (lambda: power_of_two_size(0), "tokens must be"),
        (lambda: power_rate(0, 1), "tokens and size must be positive"),
    ],
)
def test_impossible_numbers_are_refused(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
