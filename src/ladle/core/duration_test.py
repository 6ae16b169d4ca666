from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.decision import Progress
from ladle.core.duration import Target, Until, better_is_higher, direction_of
from ladle.core.errors import ArgumentError

FORMS = {
    "30 epochs": Until(epochs=30),
    "0.5 epochs": Until(epochs=0.5),
    "1 pass": Until(epochs=1),
    "2e6 examples": Until(examples=2_000_000),
    "1.5E+2ex": Until(examples=150),
    "0.2 examples": Until(examples=1),
    "5000 steps": Until(updates=5000),
    "7 updates": Until(updates=7),
    "10 min": Until(seconds=600),
    "90s": Until(seconds=90),
    "1.5 hours": Until(seconds=5400),
    " 3 epochs ,10 s, 4 steps": Until(epochs=3, seconds=10, updates=4),
    "3 epochs, valid_loss < 0.1": Until(epochs=3, target=Target("valid_loss", False, 0.1)),
    "3 epochs, valid_r2>=-1e-2": Until(epochs=3, target=Target("valid_r2", True, -0.01)),
    "3 epochs, patience 5": Until(epochs=3, patience=5),
    "3 epochs, patience 5 on valid_accuracy": Until(epochs=3, patience=5, patience_metric="valid_accuracy"),
}


@pytest.mark.parametrize("text", FORMS)
def test_texts_are_read(text):
    assert Until.parse(text) == FORMS[text]


def test_one_that_is_read_already_stays_as_it_is():
    until = Until(epochs=2)
    assert Until.parse(until) is until


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "a bound, a target or a patience"),
        ("thirty epochs", "neither an amount"),
        ("30", "neither an amount"),
        ("30 fortnights", "neither an amount"),
        ("-3 epochs", "neither an amount"),
        ("0 epochs", "more than nothing"),
        ("1e999 examples", "finite"),
        ("1.2.3 epochs", "hold a number"),
        ("3 epochs,", "neither an amount"),
        ("3 epochs, valid_loss < e", "hold a number"),
        ("patience 5", "hold a bound"),
        ("valid_loss < 0.1", "hold a bound"),
        ("3 epochs, patience 0", "patience of at least 1"),
    ],
)
def test_other_texts_are_refused_in_one_line(text, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        Until.parse(text)
    assert "\n" not in str(caught.value)


@given(epochs=st.floats(1e-6, 1e4), epoch_size=st.integers(1, 10**9))
def test_a_run_of_epochs_ends_at_the_first_position_that_is_so_many(epochs, epoch_size):
    """Whatever the rounding: the position it is said to end at is one where it has ended, and the first such."""
    until = Until(epochs=epochs)
    stop = until.stop(epoch_size)
    assert stop is not None and stop >= 1
    assert until.ended(Progress(examples=stop, epoch=stop / epoch_size))
    assert until.ended(Progress(examples=stop - 1, epoch=(stop - 1) / epoch_size)) is None


def test_the_first_bound_counts():
    until = Until(epochs=3, examples=250, updates=10, seconds=5)
    assert until.stop(100) == 250
    assert Until(epochs=2, examples=250).stop(100) == 200
    assert Until(updates=4).stop(100) is None
    assert until.ended(Progress()) is None
    assert until.ended(Progress(examples=250, epoch=2.5)) == "250 examples"
    assert until.ended(Progress(epoch=3.0)) == "3 epochs"
    assert until.ended(Progress(updates=10)) == "10 steps"
    assert until.ended(Progress(seconds=5.0)) == "5 s"


def test_targets():
    at_least, at_most = Until.parse("9 epochs, valid_accuracy > 0.9"), Until.parse("9 epochs, valid_loss <= 0.1")
    assert at_least.ended(Progress(reading={"valid_accuracy": 0.89})) is None
    assert at_least.ended(Progress(reading={"valid_accuracy": 0.9})) == "target reached: valid_accuracy 0.9 >= 0.9"
    assert at_most.ended(Progress(reading={"valid_loss": 0.05})) == "target reached: valid_loss 0.05 <= 0.1"
    assert at_most.ended(Progress(reading={"valid_loss": math.nan})) is None
    assert at_most.ended(Progress()) is None


@pytest.mark.parametrize(
    "metric, history, ended",
    [
        ("valid_loss", [3, 2, 1], False),
        ("valid_loss", [1, 2], False),
        ("valid_loss", [1, 2, 3], True),
        ("valid_loss", [1, 1, 1], True),
        ("valid_loss", [2, 3, 1, 4], False),
        ("valid_accuracy", [0.1, 0.2, 0.3], False),
        ("valid_accuracy", [0.3, 0.2, 0.1], True),
        ("valid_loss", [math.nan, 3, 2], False),
        ("valid_loss", [1, math.nan, math.nan], True),
    ],
)
def test_patience_of_two(metric, history, ended):
    until = Until(epochs=99, patience=2, patience_metric=metric)
    assert (until.ended(Progress(), history) is not None) == ended


def test_for_which_metrics_more_is_better():
    assert all(map(better_is_higher, ("valid_accuracy", "valid_r2", "train_auc")))
    assert not any(map(better_is_higher, ("valid_loss", "valid_absolute_error")))


def test_a_name_says_its_direction_or_nothing():
    higher = ("accuracy", "train_accuracy/web", "top5", "valid_top1", "r2", "rocauc", "macro_f1", "Accuracy")
    assert [direction_of(name) for name in higher] == ["higher"] * len(higher)
    lower = ("loss", "valid_loss", "mse", "rmse", "squared_error", "absolute_error", "valid_loss/web")
    assert [direction_of(name) for name in lower] == ["lower"] * len(lower)
    unsaid = ("acc", "hits", "accuracy_cost", "loss_scale", "stop1", "chr2", "")
    assert [direction_of(name) for name in unsaid] == [None] * len(unsaid)
