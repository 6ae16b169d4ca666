"""The three means against their definitions, event by event."""

from __future__ import annotations

import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.online.prequential import Prequential, Tally


def read(judge: Prequential, counts: list[int], means: list[float], name: str = "accuracy") -> list[dict[str, float]]:
    tally, examples, readings = Tally(), 0, []
    for count, mean in zip(counts, means, strict=True):
        examples += count
        tally, reading = judge.add(tally, {"examples": examples, f"train_{name}": mean, "train_loss": mean})
        readings.append(reading)
    return readings


def slow(judge: Prequential, counts: list[int], means: list[float]) -> dict[str, float]:
    """By definition: every event has the mean of its line."""
    x = np.repeat(means, counts)
    weights = judge.fading ** np.arange(len(x))[::-1]
    return {
        "prequential_accuracy": x.mean(),
        "prequential_accuracy_faded": (weights * x).sum() / weights.sum(),
        "prequential_accuracy_window": x[-judge.window :].mean(),
    }


@pytest.mark.parametrize("fading", [1.0, 0.999, 0.9, 0.5])
@pytest.mark.parametrize("window", [1, 7, 1000])
def test_the_means_are_their_definitions(fading: float, window: int):
    rng, judge = np.random.default_rng(0), Prequential(fading, window)
    counts, means = rng.integers(1, 9, 30).tolist(), rng.random(30).tolist()
    for end, reading in enumerate(read(judge, counts, means), start=1):
        assert reading == pytest.approx(slow(judge, counts[:end], means[:end]), rel=1e-12)


def test_what_is_no_event_that_was_judged_leaves_the_sums_alone():
    judge = Prequential()
    tally, reading = judge.add(Tally(), {"examples": 0})
    assert reading == {} and tally == Tally()
    tally, _ = judge.add(tally, {"examples": 10, "train_accuracy": 0.5, "bad": 2.0})
    assert (tally.judged, tally.total) == (8, 4)
    after, reading = judge.add(tally, {"examples": 12})
    assert reading == {} and (after.events, after.judged) == (12, 8)


def test_the_loss_stands_in_where_there_is_no_accuracy():
    reading = read(Prequential(), [3], [2.0], "loss")[0]
    assert reading["prequential_loss"] == 2.0 and "prequential_accuracy" not in reading


@pytest.mark.parametrize("how", [{"fading": 0}, {"fading": 1.5}, {"fading": True}, {"window": 0}])
def test_what_cannot_be_is_refused(how: dict[str, float]):
    with pytest.raises(ArgumentError, match=f"{next(iter(how))} must be"):
        Prequential(**how)  # type: ignore[arg-type]
