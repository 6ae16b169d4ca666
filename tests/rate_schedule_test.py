"""Learning-rate schedules, read once and computed by each backend: the same factors, worked out by hand."""

from __future__ import annotations

import math

import jax.numpy as jnp
import pytest

from ladle.core.errors import ArgumentError
from ladle.core.rate_schedule import RateSchedule
from ladle.jax import rate as of_jax
from ladle.torch import rate as of_torch

# Run of 1000 examples, epochs of 100. {text: {examples drawn: factor}}, worked out by hand.
TABLES = {
    "constant": {0: 1, 500: 1, 10**9: 1},
    "linear": {0: 1, 250: 0.75, 999: 0.001, 1000: 0, 2000: 0},
    "cosine": {0: 1, 500: 0.5, 250: (1 + math.cos(math.pi / 4)) / 2, 1000: 0, 5000: 0},
    "x0.1 at 300 examples, 3 epochs": {299: 1, 300: 0.1, 1000: 0.1},
    "x0.1 at 3 epochs, 600 examples": {0: 1, 299: 1, 300: 0.1, 599: 0.1, 600: 0.01, 1000: 0.01},
    "constant, warmup 2 epochs": {0: 0, 50: 0.25, 200: 1, 900: 1},
    "warmup 100 examples": {0: 0, 50: 0.5, 100: 1, 1000: 1},
    "linear, warmup 200 examples": {0: 0, 100: 0.5, 200: 1, 600: 0.5, 1000: 0},
    "cosine, warmup 2 epochs": {0: 0, 200: 1, 600: 0.5, 1000: 0},
    "x0.5 at 5 epochs, warmup 1 epoch": {0: 0, 50: 0.5, 100: 1, 499: 1, 500: 0.5},
}


@pytest.mark.parametrize("text", TABLES)
@pytest.mark.parametrize(("backend", "number"), [(of_jax, jnp.float32), (of_torch, float)], ids=["jax", "torch"])
def test_schedules_follow_their_tables(backend, number, text):
    rate = backend.rate_from_text(text, total=1000, epoch_size=100)
    for examples, factor in TABLES[text].items():
        assert float(rate(number(examples))) == pytest.approx(factor, abs=1e-6), examples


@pytest.mark.parametrize("backend", [of_jax, of_torch], ids=["jax", "torch"])
def test_constant_is_the_very_function_that_costs_nothing(backend):
    assert backend.rate_from_text("constant", total=10, epoch_size=10) is backend.constant_rate


@pytest.mark.parametrize(
    "text, message",
    [
        ("sawtooth", "lr schedule must be a known form; got 'sawtooth'"),
        ("x0.1", "known form"),
        ("x0.1 at 10", "'10' is neither"),
        ("x0.1 at 10 min", "'10 min' is neither"),
        ("x1-2 at 1 epoch", "'1-2' is none"),
        ("x-1 at 1 epoch", "multiply by a positive number"),
        ("x0 at 1 epoch", "multiply by a positive number"),
        ("cosine, warmup", "count in epochs or examples"),
        ("cosine, warmup soon", "'soon' is neither"),
        ("cosine, warmup 5 steps", "'5 steps' is neither"),
        ("x0.1 at 1 epochs, warmup 2 epochs", "drop after its warmup"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(ArgumentError, match=message):
        RateSchedule.read(text, total=1000, epoch_size=100)
