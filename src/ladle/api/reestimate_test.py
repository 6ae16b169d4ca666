from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.assembly import assemble
from ladle.api.run import Run
from ladle.api.setup import Terms, set_up
from ladle.api.training_rows import training_rows
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError

RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, (90, 3)).astype(np.float32)
Y = (X[:, 0] > 1).astype(np.int32)
EVERY: dict[str, Any] = {"x": X, "y": Y}


@pytest.fixture(scope="module")
def run() -> Run:
    model = ladle.models.mlp(3, 8, 6, 2, norm="batch", dropout=0.5)
    task = ladle.Task(model, "cross_entropy", ladle.data.arrays(X, Y), frozen=("0.weight",), lr=0.05)
    return ladle.fit(task, 9, until="2 epochs")


def normalised(h: np.ndarray, statistics: Any) -> np.ndarray:
    mean, variance = (np.asarray(statistics[name]) for name in ("mean", "variance"))
    return (h - mean) / np.sqrt(variance + 1e-5)


def test_statistics_are_those_of_all_training_rows_at_once(run: Run) -> None:
    """Mean and variance of each layer before its norm, in NumPy, nothing dropped out; and the loss that follows."""
    anew, before = run.reestimated(), run.state.model_state
    h: np.ndarray = run.assembly.task.data.train["x"]
    for layer, found, running in zip(run.params[:-1], anew.state.model_state.inner, before.inner, strict=True):
        h = h @ np.asarray(layer["weight"])
        np.testing.assert_allclose(found["mean"], h.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["variance"], h.var(0), rtol=1e-3)
        assert (found["updates"], found["rows"]) == (running["updates"], running["rows"])
        assert np.abs(found["mean"] - running["mean"]).max() > 1e-3
        h = np.maximum(normalised(h, found) * np.asarray(layer["scale"]) + np.asarray(layer["bias"]), 0)
    weight, bias = (np.asarray(anew.params[-1][name]) for name in ("weight", "bias"))
    outputs = anew.outputs(run.assembly.task.data.train["x"])
    np.testing.assert_allclose(outputs, h @ weight + bias, rtol=1e-3, atol=1e-3)
    assert run.evaluate(EVERY, reestimate=True) == anew.evaluate(EVERY) != run.evaluate(EVERY)
    assert run.state.model_state is before, "the run itself stays as it was"


def test_a_sample_is_said_by_its_number(run: Run) -> None:
    assert run.evaluate(EVERY, reestimate=1000) == run.evaluate(EVERY, reestimate=True)
    assert run.evaluate(EVERY, reestimate=20) == run.evaluate(EVERY, reestimate=20) != run.evaluate(EVERY)
    with pytest.raises(ArgumentError, match="reestimate must be at least 1"):
        run.evaluate(EVERY, reestimate=0)


def test_rows_that_travel_are_the_first_of_their_order(run: Run) -> None:
    data = run.assembly.task.data

    def feed(seed: int) -> Any:
        return ladle.feed.HostFeed(ladle.feed.Arrays(dict(data.train)), ladle.feed.Sequential(data.rows))

    task = run.assembly.task.with_(feed=feed)
    rows, weight = training_rows(assemble(task), 20)
    np.testing.assert_array_equal(rows["x"], data.train["x"][:20])
    np.testing.assert_array_equal(weight, np.ones(20))


@pytest.mark.parametrize(
    ("how", "micro_size", "rows"),
    [({"norm": "batch"}, 8, 8), ({"norm": "batch", "ghost_size": 12}, 24, 12), ({"norm": "batch"}, 24, None)],
)
def test_few_rows_are_said_before_a_run(run: Run, how: Any, micro_size: int, rows: int | None) -> None:
    task = ladle.Task(ladle.models.mlp(3, 4, 2, **how), "cross_entropy", run.assembly.task.data)
    setup = set_up(assemble(task), Terms(Until.parse("1 epochs"), size=24, micro_size=micro_size))
    said = [sentence for sentence in setup.warnings if "Batch norm normalises" in sentence]
    assert len(said) == (rows is not None)
    assert all(f"{rows} rows together" in sentence for sentence in said)


@pytest.mark.long
def test_few_rows_are_said_in_a_plan(run: Run) -> None:
    task = ladle.Task(ladle.models.mlp(3, 4, 2, norm="batch", ghost_size=4), "cross_entropy", run.assembly.task.data)
    assert any("Batch norm normalises 4 rows together" in note for note in ladle.plan(task, lr="rule", budget=1).notes)
