"""A run's end is one that can come: metrics that are never measured are refused before any work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.critical_steps import measure_steps

X, Y = np.eye(20, dtype=np.float32), np.arange(20) % 2


def hits(outputs: Any, y: Any) -> Any:
    return (outputs.argmax(-1) == y).astype("float32")


def fit(until: str, valid: float = 0.2, **more: Any) -> ladle.Run:
    metrics = more.pop("metrics", None)
    task = ladle.Task(ladle.models.linear(20, 2), None, ladle.data.arrays(X, Y, valid=valid), metrics=metrics)
    return ladle.fit(task, size=4, until=until, **more)


@pytest.mark.parametrize(
    ("until", "valid", "said"),
    [
        ("2 epochs, valid_acc >= 0.6", 0.2, "a target that is measured; got 'valid_acc'.*try 'valid_accuracy'"),
        ("2 epochs, patience 3 on valid_f1", 0.2, "patience that is measured; got 'valid_f1'.*valid_loss"),
        ("2 epochs, patience 3", 0.0, "got 'valid_loss'; because no rows validate; try train_loss"),
        ("2 epochs, valid_accuracy >= 0.5", 0.0, "because no rows validate"),
    ],
)
def test_an_end_that_could_not_come_is_refused(until: str, valid: float, said: str):
    with pytest.raises(ladle.ArgumentError, match=said):
        fit(until, valid)


@pytest.mark.parametrize("until", ["2 epochs, patience 1 on train_loss", "2 epochs, train_accuracy >= 2"])
def test_training_metrics_serve_without_validation_rows(until: str):
    assert fit(until, valid=0.0).status in ("finished", "stopped")


def test_patience_follows_the_direction_that_a_metric_states():
    with pytest.raises(ladle.ArgumentError, match=r"hits does not say .* try ladle.metrics.higher\(hits\)"):
        fit("9 epochs, patience 2 on valid_hits", metrics={"hits": hits})
    # All rows are seen, so hits on training rows only rise: taken for an error, they would end the run at once.
    run = fit("9 epochs, patience 2 on train_hits", metrics={"hits": ladle.metrics.higher(hits)})
    wrong = fit("9 epochs, patience 2 on train_hits", metrics={"hits": ladle.metrics.lower(hits)})
    assert wrong.final["epoch"] <= run.final["epoch"] and wrong.why.startswith("patience")


def test_sizes_in_the_place_of_a_plan():
    for given in (4, "full", np.int64(4)):
        task = ladle.Task(ladle.models.linear(20, 2), None, (X, Y))
        assert ladle.fit(task, given, until="1 epochs").final["size"] == (16 if given == "full" else 4)
    for given in (4.5, True, [4]):
        with pytest.raises(ladle.ArgumentError, match="plan must be a ladle.Plan or a size"):
            ladle.fit(task, given, until="1 epochs")
    with pytest.raises(ladle.ArgumentError, match="beside a size"):
        ladle.fit(task, 4, size=8)


def test_a_policy_and_a_search_follow_the_direction_that_a_metric_states():
    task = ladle.Task(ladle.models.linear(20, 2), None, (X, Y), metrics={"hits": hits})
    policy = "plateau 2 x2 patience 1 max 8 on valid_hits"
    with pytest.raises(ladle.ArgumentError, match="policy must follow a metric with a direction; got 'valid_hits'"):
        ladle.fit(task, policy=policy, until="2 epochs")
    with pytest.raises(ladle.ArgumentError, match="metric must state its direction; got 'valid_hits'"):
        ladle.search(task, sizes=[4], lrs=[0.1], folds=2, metric="valid_hits", until="1 epochs")
    told = task.with_(metrics={"hits": ladle.metrics.higher(hits)})
    assert ladle.search(told, sizes=[4], lrs=[0.1], folds=2, metric="valid_hits", until="1 epochs").best.score.mean >= 0
    assert ladle.fit(told, policy=policy, until="2 epochs").status == "finished"


def test_steps_to_a_metric_without_a_direction_need_a_sign():
    task = ladle.Task(ladle.models.linear(20, 2), None, (X, Y), metrics={"hits": hits})
    with pytest.raises(ladle.ArgumentError, match="the target must say <= or >= for this metric; got 'valid_hits=0.5'"):
        measure_steps(task, "valid_hits=0.5", sizes=[1, 2, 4])
