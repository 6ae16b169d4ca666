from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.api.schedule import base_at, require_runnable, scheduled, warnings_of
from ladle.core import record
from ladle.core.errors import ArgumentError
from ladle.core.traits import Traits
from ladle.jax.devices import on_host
from ladle.policy import Constant, Plateau, Steps


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


# --- a policy of the user's own


@dataclass(frozen=True)
class Count:
    """How often a policy was asked."""

    asked: int = 0

    def to_json(self) -> dict[str, int]:
        return {"asked": self.asked}


@dataclass(frozen=True)
class Typed:
    """Batches of 2 and 5 in turns, told from a memory of its own kind, or the JSON of one."""

    def init(self, plan: Any) -> Any:
        return Count()

    def decide(self, memory: Any, progress: ladle.Progress) -> tuple[Any, ladle.Decision]:
        count = memory if isinstance(memory, Count) else Count(**memory)
        return Count(count.asked + 1), ladle.Decision(ladle.BatchSpec(5 if count.asked % 2 else 2, 8))


@dataclass(frozen=True)
class Plain:
    """The same with a dict."""

    def init(self, plan: Any) -> Any:
        return {"asked": 0}

    def decide(self, memory: Any, progress: ladle.Progress) -> tuple[Any, ladle.Decision]:
        asked = memory["asked"]
        return {"asked": asked + 1}, ladle.Decision(ladle.BatchSpec(5 if asked % 2 else 2, 8))


@dataclass(frozen=True)
class Declaring:
    """One size, and whatever it declares."""

    traits: Traits

    def init(self, plan: Any) -> None:
        return None

    def decide(self, memory: Any, progress: ladle.Progress) -> tuple[None, ladle.Decision]:
        return None, ladle.Decision(ladle.BatchSpec(8, 8))


@pytest.mark.parametrize("policy", [Typed(), Plain()])
def test_an_own_memory_goes_through_a_checkpoint(adam: Assembly, policy: Any, tmp_path: Path) -> None:
    whole = ladle.fit(adam, policy=policy, until="5 epochs")
    ladle.fit(adam, policy=policy, until="3 epochs", out=tmp_path / "run")
    resumed = ladle.fit(adam, policy=policy, until="5 epochs", out=tmp_path / "run", resume=True)
    sizes = [line.get("size") for line in whole.metrics]
    assert sizes == [None, 2, 5, 2, 5, 2] == [line.get("size") for line in resumed.metrics]
    assert [line["train_loss"] for line in whole.metrics[1:]] == [line["train_loss"] for line in resumed.metrics[1:]]


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        (Traits(needs=("valid_acuracy",)), "metric must be measured; got 'valid_acuracy'"),
        (Traits(largest=1000), "policy must go no further than the 80 training examples; got 1000"),
        (Traits(lr=0.5), "lr of the policy must be the run's, 0.01; got 0.5"),
    ],
)
def test_what_an_own_policy_declares_is_refused_before_a_run(adam: Assembly, traits: Traits, message: str) -> None:
    policy: Any = Declaring(traits)
    with pytest.raises(ArgumentError, match=message):
        require_runnable(policy, policy.decide(None, ladle.Progress())[1], adam, lr=0.01)


def test_what_an_own_policy_declares_is_measured_and_warned_of(adam: Assembly) -> None:
    policies = [Declaring(Traits()), Declaring(Traits(needs=("noise",), made_for=("sgd",)))]
    warned = [warnings_of(policy, 8, adam) for policy in policies]
    assert warned == [(), ("This policy was made for sgd, not for adam.",)]
    measured = ["noise/count" in ladle.fit(adam, policy=policy, until="1 epoch").final for policy in policies]
    assert measured == [False, True], "in one micro-batch nothing is measured unless it is asked for"


def test_a_plateau_judges_each_evaluation_of_a_run_at_once(adam: Assembly) -> None:
    run = ladle.fit(adam, policy=Plateau(8, 64, 64, patience=3), until="5 epochs")
    losses = [line["valid_loss"] for line in run.metrics]
    best = [line["inputs"]["best"] for line in run.metrics[1:]]
    assert best == [min(losses[: n + 1]) for n in range(5)]
