"""The rate of a transformation of the user's: read, taken over by the task's own number, or refused beside it."""

from __future__ import annotations

import optax
import pytest
from optax import contrib

import ladle
from ladle.jax.transformation import own_rate

READ = {
    "sgd": (optax.sgd(0.01), 0.01),
    "momentum": (optax.sgd(0.02, momentum=0.9), 0.02),
    "rmsprop with momentum": (optax.rmsprop(0.003, momentum=0.9), 0.003),
    "adamw": (optax.adamw(1e-4), 1e-4),
    "lars": (optax.lars(0.5), 0.5),
    "clipped": (optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)), 1e-3),
}
HIDDEN = {
    "schedule": optax.adam(optax.linear_schedule(1e-3, 0.0, 10)),
    "two rates": optax.chain(optax.sgd(0.1), optax.sgd(0.1)),
    "clipped behind": optax.chain(optax.sgd(0.1), optax.clip(1.0)),
    "no rate": optax.scale_by_adam(),
    "a partition": contrib.muon(1e-2),
    "masked": optax.masked(optax.sgd(0.1), lambda params: params),
}


@pytest.mark.parametrize("name", READ)
def test_a_constant_rate_is_read(name: str):
    transformation, rate = READ[name]
    assert own_rate(transformation) == rate


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_no_single_constant_is_not_guessed(name: str):
    assert own_rate(HIDDEN[name]) is None


def task(optimizer, lr="auto") -> ladle.Task:
    x = [[float(i % 7), float(i % 3)] for i in range(60)]
    data = ladle.data.arrays(x, [i % 7 + 0.5 for i in range(60)], kind="regression")
    return ladle.Task(ladle.models.linear(2, 1), "mse", data, optimizer=optimizer, lr=lr)


def test_the_rate_in_force_is_recorded_and_there_is_one():
    by_name = ladle.fit(task("sgd", 0.05), size=10, until="2 epochs")
    for optimizer, lr in ((optax.sgd(0.05), "auto"), (optax.sgd(1e-4), 0.05)):
        run = ladle.fit(task(optimizer, lr), size=10, until="2 epochs")
        assert run.final["lr"] == pytest.approx(0.05)
        assert run.final["train_loss"] == pytest.approx(by_name.final["train_loss"], rel=1e-4)


def test_a_schedule_takes_the_place_of_a_rate_that_can_be_read():
    schedule = optax.linear_schedule(0.05, 0.01, 96)
    runs = [ladle.fit(task(optimizer, schedule), size=10, until="2 epochs") for optimizer in ("sgd", optax.sgd(3.0))]
    assert runs[0].final["train_loss"] == pytest.approx(runs[1].final["train_loss"], rel=1e-4)
    assert runs[1].final["lr"] == pytest.approx(runs[0].final["lr"])


@pytest.mark.parametrize("lr", [0.05, optax.linear_schedule(0.05, 0.01, 96)])
def test_a_rate_beside_one_that_cannot_be_read_is_refused(lr):
    with pytest.raises(ladle.ArgumentError, match="^lr must be left to the transformation"):
        ladle.fit(task(HIDDEN["schedule"], lr), size=10, until="1 epochs")
    assert ladle.fit(task(HIDDEN["schedule"]), size=10, until="1 epochs").final["lr"] is None
