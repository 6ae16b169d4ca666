from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.api.schedule import base_at, scheduled, warnings_of
from ladle.core import record
from ladle.jax.devices import on_host
from ladle.policy import Constant, Steps


@pytest.fixture(scope="module")
def adam() -> Assembly:
    data = ladle.data.arrays(np.arange(100.0)[:, None], np.arange(100) % 2)
    return assemble(ladle.Task(ladle.models.linear(1, 2), None, data, lr=0.01))


def test_the_processor_is_watched_where_it_trains(adam: Assembly) -> None:
    policy: Any = scheduled(adam, "utilisation 8..64", partial(base_at, adam, None))
    assert policy.cores == (record.hardware()["cores"] if on_host() else None)


def test_rate_and_constants_of_a_sitting_are_taken_from_where_they_belong(adam: Assembly) -> None:
    before = {"size": 64, "rate_size": 16, "optimizer": {"name": "adam", "lr": 0.01, "b2": 0.99}}
    lr, hyper = base_at(adam, before, 64, rule="half-life")
    assert (lr, hyper["b2"], hyper["b1"]) == (pytest.approx(0.02), pytest.approx(0.99**4), 0.9)
    assert base_at(adam, before, 64, lr=0.5)[0] == 0.5 and base_at(adam, None, 64)[0] == 0.01
    assert base_at(adam, {"size": 64, "optimizer": {}}, 16)[0] is None, "an optimiser that brings its own"


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Constant(64, 64), []),
        (Steps(((0, 8), (9, 64)), 64, coupling="square root"), []),
        (Steps(((0, 8), (9, 64)), 64, coupling="half-life"), []),
        (Steps(((0, 8), (9, 64)), 64, coupling="legw"), ["LEGW also asks for 8 times as many epochs of warmup"]),
        (Steps(((0, 1), (9, 64)), 64, coupling="square root"), ["The rate was carried over a factor of 64"]),
    ],
)
def test_what_is_said_of_a_rule_before_a_run(adam: Assembly, policy: Any, said: list[str]) -> None:
    found = warnings_of(policy, policy.decide(None, ladle.Progress())[1].spec.size, adam)
    assert len(found) == len(said) and all(one.startswith(words) for one, words in zip(found, said, strict=True))
