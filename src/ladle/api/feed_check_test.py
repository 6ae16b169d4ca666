"""Data that is read as it is needed, through whole runs; and `feed_check`, which says whether that is fast enough."""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ladle
from ladle.api.assembly import assemble
from ladle.api.feed_check import feed_check
from ladle.cli.main import run as main
from ladle.core.errors import ArgumentError
from ladle.feed import (
    ByTokens,
    HostFeed,
    IteratorStream,
    Joined,
    Mixture,
    Numbers,
    Pad,
    Permuted,
    PrefetchedFeed,
    Sequences,
    StreamFeed,
)

ROWS, FEATURES = 300, 4
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, FEATURES)).astype(np.float32)
Y = (X @ np.array([1.0, -1.0, 0.5, 2.0]) > 0).astype(np.int32)
LIKE = Numbers({"x": np.zeros(FEATURES, np.float32), "y": np.int32(0)})
VALID = {"x": X[:50], "y": Y[:50]}


class Rows:
    """A source of the rows above, as one that is read from a disk would be."""

    def __init__(self, x: np.ndarray = X, y: np.ndarray = Y) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": self.x[ids], "y": self.y[ids]}


def task(**changes: Any) -> ladle.Task:
    data = ladle.data.streamed(Rows(), valid=VALID)
    start = {"model": ladle.models.mlp(FEATURES, 8, 2), "loss": None, "data": data, "lr": 0.01}
    return ladle.Task(**{**start, **changes})


def same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture
def table(tmp_path):
    columns = {**{f"c{i}": X[:, i] for i in range(FEATURES)}, "label": Y}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=40)
    return tmp_path / "t.parquet"


def test_both_lanes_learn_the_same():
    """Rows that live on the device, and the same rows that travel: the same batches, so the same parameters."""
    data = ladle.data.arrays(X, Y)
    runs = [
        ladle.fit(task(data=data, lane=lane), size=32, micro_size=16, until="3 epochs", seed=4)
        for lane in ("device", "host")
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), *(run.params for run in runs))
    assert runs[1].final["valid_loss"] == pytest.approx(runs[0].final["valid_loss"], rel=1e-5)
    assert runs[1].final["updates"] == runs[0].final["updates"]


def test_a_source_is_trained_on_and_proved_and_its_lane_is_in_the_record(tmp_path):
    run = ladle.fit(task(), size=32, until="3 epochs", out=tmp_path / "a")
    facts = json.loads((tmp_path / "a" / "run.json").read_text())
    assert facts["data"]["lane"] == "host"
    assert facts["data"]["rows"] == ROWS
    assert run.final["valid_accuracy"] > 0.65
    assert all(0 <= line["data_wait_fraction"] <= 1 for line in run.metrics[1:])


def test_stopping_and_resuming_a_source_is_bit_identical(tmp_path):
    whole = ladle.fit(task(), size=32, until="4 epochs", out=tmp_path / "whole")
    ladle.fit(task(), size=32, until="500 examples", out=tmp_path / "half")
    resumed = ladle.fit(task(), size=32, until="4 epochs", out=tmp_path / "half", resume=True)
    same(resumed.params, whole.params)


def test_an_order_that_no_device_can_compute_travels_from_the_host():
    scores = np.abs(X).sum(1)
    data = ladle.data.arrays(X, Y)
    order = lambda seed: ladle.feed.Curriculum(scores[: data.rows], (ladle.feed.Stage(100, 50),), seed)  # noqa: E731
    assembly = assemble(task(data=data, order=order))
    assert isinstance(assembly.feed(0), PrefetchedFeed)
    first, _ = assembly.feed(0).draw(assembly.feed(0).start(), ladle.BatchSpec(100, 100))
    easiest = set(np.argsort(scores[: data.rows])[:50].tolist())
    assert set(first.ids()[0].tolist()) == easiest


def test_a_feed_of_ones_own_is_read_ahead_unless_it_says_otherwise():
    own = HostFeed(Rows(), Permuted(ROWS))
    assert isinstance(assemble(task(feed=lambda seed: own)).feed(0), PrefetchedFeed)
    ahead = PrefetchedFeed(own, workers=0)
    assert assemble(task(feed=lambda seed: ahead)).feed(0) is ahead


def test_budgets_of_tokens_train_to_the_same_parameters_for_any_micro_size():
    """Batches hold as many documents as fit; each rung has its own number of rows, and none is lost or cut."""
    lengths = np.arange(60) * 7 % 23 + 1
    documents = Sequences(np.arange(lengths.sum()) % 11, np.cumsum([0, *lengths]), y=np.arange(60) % 2)

    def init(key: Any) -> dict[str, Any]:
        return {"w": jax.numpy.zeros(11)}

    def loss(params: Any, batch: Any) -> Any:
        score = jax.numpy.sum(jax.numpy.where(batch["mask"], params["w"][batch["tokens"]], 0.0), axis=1)
        return jax.nn.softplus(score) - batch["y"].astype(score.dtype) * score

    def feed(seed: int) -> Any:
        cut = ByTokens(documents.lengths, length=24)
        return PrefetchedFeed(HostFeed(documents, Permuted(60, seed), collate=Pad(), cut=cut))

    rows = Pad()(documents, np.arange(60), np.arange(60), (24,), 60).data
    data = ladle.data.streamed(documents, valid={name: np.asarray(leaf) for name, leaf in rows.items()})
    made = ladle.Task.functions(init, loss, data, feed=feed, optimizer="sgd", lr=0.1)
    runs = [ladle.fit(made, size=8, micro_size=micro, until="2 epochs") for micro in (1, 8)]
    assert runs[0].final["examples"] == runs[1].final["examples"] == 120
    assert runs[0].final["updates"] == runs[1].final["updates"] > 4
    assert 0 < runs[0].final["padding_fraction"] < 1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *(run.params for run in runs))


def test_a_curriculum_goes_with_a_schedule_of_sizes():
    data = ladle.data.arrays(X, Y)
    scores = np.abs(X).sum(1)[: data.rows]
    order = lambda seed: ladle.feed.Curriculum(scores, ladle.feed.pacing("linear", data.rows, 400), seed)  # noqa: E731
    policy = ladle.policy.policy_from_text("0:16 200:64", size=16, micro_size=64, epoch_size=data.rows)
    run = ladle.fit(task(data=data, order=order), policy=policy, until="3 epochs", window=100)
    assert run.final["examples"] == 3 * data.rows
    assert {line["size"] for line in run.metrics[1:]} == {16, 64}


def test_a_stream_ends_the_run_when_it_ends():
    events = [{"x": x.tolist(), "y": int(y)} for x, y in zip(X, Y, strict=True)]
    feed = lambda seed: StreamFeed(IteratorStream(lambda: iter(events)), LIKE, wait_seconds=0)  # noqa: E731
    run = ladle.fit(task(feed=feed), size=32, until="5 epochs", evaluate_every=100)
    assert (run.status, run.final["examples"]) == ("finished", ROWS)
    assert run.why == f"the stream ended after {ROWS} examples"
    assert run.final["valid_loss"] < run.metrics[0]["valid_loss"]


def test_a_mixture_tells_the_loss_of_each_source():
    sources = {"even": Rows(X[::2], Y[::2]), "odd": Rows(X[1::2], 1 - Y[1::2])}
    joined = Joined(sources)

    def feed(seed: int) -> Any:
        return HostFeed(
            joined, Mixture({name: len(part) for name, part in sources.items()}, dict.fromkeys(sources, 1), seed=seed)
        )

    run = ladle.fit(task(feed=feed, sources=("even", "odd")), size=32, until="3 epochs")
    line = run.metrics[-1]
    assert line["train_loss"] == pytest.approx((line["train_loss/even"] + line["train_loss/odd"]) / 2, rel=0.02)
    assert "train_loss/even" in line


@pytest.mark.slow
@pytest.mark.long
def test_a_plan_for_a_source_says_that_it_saw_a_sample():
    made = ladle.plan(task())
    assert 1 <= made.size <= ROWS
    assert any("read beforehand" in note for note in made.notes)


def test_evaluations_do_not_wait_for_the_end_of_a_long_pass():
    run = ladle.fit(task(), size=20, until="1 epochs", evaluate_every=100)
    assert [line["examples"] for line in run.metrics if "valid_loss" in line] == [0, 100, 200, 300]


def test_evaluations_may_be_rarer_than_passes():
    run = ladle.fit(task(), size=100, until="4 epochs", evaluate_every=2 * ROWS)
    assert [line["examples"] for line in run.metrics if "valid_loss" in line] == [0, 2 * ROWS, 4 * ROWS]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lane": "device"}, "lane must be 'auto' or 'host' for this data"),
        ({"lane": "disk"}, "lane must be 'auto', 'device' or 'host'"),
        ({"order": "stratified"}, "labels must be given with order='stratified'"),
    ],
)
def test_lanes_and_orders_that_cannot_be_are_refused(change, says):
    with pytest.raises(ArgumentError, match=says):
        assemble(task(**change))


# --- feed-check ---------------------------------------------------------------------------------------------------


def test_sound_data_has_no_problem(table):
    check = feed_check(table, 32, seconds=0.02)
    assert (check.examples, check.scanned, check.problems) == (ROWS, ROWS, ())
    assert check.report.memory_bytes is not None
    assert "no problem" in str(check)


def test_what_is_not_finite_is_named_by_row_column_and_file(tmp_path):
    x = X.copy()
    x[17, 2] = np.nan
    pq.write_table(pa.table({f"c{i}": x[:, i] for i in range(FEATURES)}), tmp_path / "t.parquet")
    (problem,) = feed_check(tmp_path / "t.parquet", 32, seconds=0.02).problems
    assert "row 17" in problem
    assert "'c2'" in problem
    assert "t.parquet" in problem


def test_a_feed_of_ones_own_can_be_checked():
    check = feed_check(HostFeed(Rows(), Permuted(ROWS)), 32, seconds=0.02)
    assert check.examples == ROWS


def test_the_command_line_checks_and_trains_on_a_table_that_is_not_loaded(table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["feed-check", str(table), "--seconds", "0.02", "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["examples"] == ROWS
    assert checked["advice"]
    how = ["--target", "label", "--stream", "--size", "32", "--until", "2 epochs", "--quiet"]
    assert main(["train", str(table), *how]) == 0
    assert "finished: 2 epochs" in capsys.readouterr().out
    folder = tmp_path / "runs" / "train-t-1"
    assert main(["train", "--resume", str(folder), "--until", "3 epochs", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["feed-check", "nothing.parquet"], "nothing.parquet"),
        (["feed-check", "digits", "--seconds", "0"], "seconds must be above 0"),
        (["feed-check", "digits", "--order", "blocks"], "order must be of a source in blocks"),
        (["train", "t.parquet", "--stream", "--target", "lable"], "lable"),
    ],
    ids=str,
)
def test_mistakes_are_one_line_and_exit_2(args, says, table, monkeypatch, capsys):
    monkeypatch.chdir(table.parent)
    assert main(args) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_what_is_in_memory_is_looked_through_too():
    x = np.ones((40, 2))
    x[7, 1] = np.nan
    found = feed_check({"x": x, "y": np.arange(40) % 2}, 8, seconds=0.01)
    assert found.data == "dict" and "example 7, element [1] of 'x'" in found.problems[0]
