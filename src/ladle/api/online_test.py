"""A stream learnt online: what the record says, exactly once through crashes, labels that are late, refusals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import ladle
from ladle.api.online import Online
from ladle.core.record import read_json, read_lines
from ladle.feed import DirectoryStream, IteratorStream, Numbers, StreamFeed
from ladle.feed.arrays import Arrays

TIMES = {"seconds", "examples_per_second", "data_wait_fraction", "cpu_seconds", "window_seconds"}
TIMES |= {"memory_bytes", "memory_limit_bytes"}
ROWS = 640
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 2)).round(4)
SIGN = np.where(np.arange(ROWS) < 400, 1, -1)  # The classes change sides: a drift.
Y = np.where(X[:, 0] * SIGN > 0, "up", "down")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"id": n, "a": X[n, 0], "b": X[n, 1], "y": Y[n]} for n in range(ROWS)]
    return write(tmp_path_factory.mktemp("table") / "events.csv", rows)


HOW: dict[str, Any] = {"target": "y", "drop": ("id",), "size": 16, "lr": 0.02, "model": "linear", "head": 100}


class Crash:
    """A sink that dies at certain lines, as a machine would: each is met once."""

    def __init__(self, *places: int) -> None:
        self.left = list(places)

    def append(self, line: Any) -> None:
        if self.left and line["examples"] >= self.left[0]:
            self.left.pop(0)
            raise RuntimeError("power cut")

    def message(self, text: str) -> None: ...

    def close(self) -> None: ...


def crashed(run: Callable[..., Online], sink: Crash) -> Online:
    """Restarted until it is through."""
    while True:
        try:
            return run(resume=True, show=sink, checkpoint_every_seconds=0.02)
        except RuntimeError as error:
            assert str(error) == "power cut"


def same_run(one: Online, other: Online) -> None:
    for a, b in zip(jax.tree.leaves(one.run.params), jax.tree.leaves(other.run.params), strict=True):
        np.testing.assert_array_equal(a, b)
    plain = [
        [{name: value for name, value in line.items() if name not in TIMES} for line in done.run.metrics]
        for done in (one, other)
    ]
    assert plain[0] == plain[1]


def test_events_are_judged_before_they_are_learnt_and_the_record_says_how(table: Path, tmp_path: Path):
    done = ladle.online(table, **HOW, recent=100, out=tmp_path / "run")
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert done.run.status == "finished" and done.run.why == f"the stream ended after {ROWS} examples"
    assert [line["examples"] for line in lines] == list(range(0, ROWS + 1, 16))
    judged = [line["train_accuracy"] for line in lines[1:]]
    assert lines[-1]["prequential_accuracy"] == pytest.approx(np.mean(judged))
    assert done.prequential["accuracy"] == lines[-1]["prequential_accuracy"]
    assert lines[25]["prequential_accuracy_window"] > 0.9 > 0.5 > lines[30]["prequential_accuracy_window"]
    assert done.run.model.form.classes == ("down", "up")
    loaded = ladle.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict(table), done.run.predict(table))
    assert read_json(tmp_path / "run" / "run.json")["data"]["notes"][0].startswith("Columns, mean, sd and classes")


def test_two_crashes_and_every_event_still_counts_once_with_drift_and_late_labels(tmp_path: Path):
    pytest.importorskip("river")
    order = sorted([(n, "x") for n in range(ROWS)] + [(n + 1 + n * 7 % 20, n) for n in range(ROWS)], key=lambda o: o[0])
    rows = [
        {"id": place, "a": X[place, 0], "b": X[place, 1], "y": ""}
        if what == "x"
        else {"id": what, "a": "", "b": "", "y": Y[int(what)]}
        for place, what in order
    ]
    file = write(tmp_path / "late.csv", rows)
    how = {**HOW, "drop": (), "id": "id", "keep": 50, "drift": "adwin", "on_drift": ("shrink", "reset"), "hold": 100}
    whole = ladle.online(file, **how)
    crash = Crash(150, 470)
    resumed = crashed(lambda **more: ladle.online(file, **how, out=tmp_path / "run", **more), crash)
    assert crash.left == [] and resumed.run.final["examples"] == ROWS
    assert whole.decisions and "drift 1" in whole.decisions[0][1] and "begun anew" in whole.decisions[0][1]
    assert resumed.decisions == whole.decisions and resumed.run_labels() == whole.run_labels() == ""
    same_run(whole, resumed)


N = 512


def counting(folder: Path) -> ladle.Task:
    """A task whose weights are how often each event was learnt: batches of 16, of which each adds one to its own."""
    first = ladle.data.streamed(Arrays({"id": np.arange(4, dtype=np.int32)}), valid=0)
    return ladle.Task.functions(
        lambda key: jax.numpy.zeros(N),
        lambda params, batch, key: -params[batch["id"]],
        first,
        optimizer="sgd",
        lr=16.0,
        feed=lambda seed: StreamFeed(DirectoryStream(folder, "*.jsonl"), Numbers({"id": np.int32(0)}), wait_seconds=0),
    )


def test_each_event_is_in_the_weights_once(tmp_path: Path):
    events = tmp_path / "events"
    events.mkdir()
    for part in range(4):
        ids = range(part * N // 4, (part + 1) * N // 4)
        (events / f"{part}.jsonl").write_text("".join(json.dumps({"id": id}) + "\n" for id in ids))
    crash = Crash(90, 200, 400)
    done = crashed(lambda **more: ladle.online(counting(events), size=16, out=tmp_path / "run", **more), crash)
    assert crash.left == []
    np.testing.assert_array_equal(np.asarray(done.run.params), np.ones(N))


def test_labels_that_are_late_or_lost_are_told(tmp_path: Path):
    events: list[dict[str, Any]] = [{"id": n, "a": X[n, 0], "y": Y[n]} for n in range(100)]
    events += [{"id": n, "a": X[n, 0]} for n in range(100, 130)]
    events += [{"id": n, "y": Y[n]} for n in range(115, 128)] + [{"id": 900, "y": "up"}]
    done = ladle.online(IteratorStream(events), target="y", id="id", keep=30, model="linear", size=16)
    assert done.run.final["examples"] == 113
    assert (done.expired, done.unknown, done.waiting) == (14, 1, (114, 128, 129))
    assert done.run_labels() == (
        "labels: 3 events still wait for a label (114, 128, 129); "
        "14 were left out, for no label came in time; 1 labels are of no event that waited"
    )
    assert done.outcome().splitlines()[-1] == done.run_labels()


def test_events_that_cannot_be_read_are_left_out_where_that_is_asked(table: Path, tmp_path: Path):
    lines = table.read_text().splitlines()
    lines[300], lines[310], lines[320] = "x", "299,1,word,up", "319,1,1,sideways"
    file = tmp_path / "bad.csv"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ladle.ExampleError, match="event must be readable") as refused:
        ladle.online(file, **HOW)
    assert refused.value.ids == (299,)
    done = ladle.online(file, **HOW, bad="skip")
    assert done.run.final["examples"] == ROWS
    assert [line["bad_ids"] for line in done.run.metrics if "bad_ids" in line] == [[299], [309, 319]]


def test_objects_with_types_and_amounts_are_learnt(tmp_path: Path):
    file = tmp_path / "events.jsonl"
    rows = [{"a": float(a), "town": "xy"[int(b > 0)], "price": 3 * float(a) + 10 * int(b > 0)} for a, b in X]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = ladle.online(file, target="price", kind="regression", model="linear", lr=0.05, size=8, head=200)
    assert done.prequential["loss_window"] < 0.5 and set(done.prequential) == {"loss", "loss_faded", "loss_window"}


def test_a_batch_closes_by_age(tmp_path: Path):
    pulled: list[int] = []
    stream = IteratorStream([{"a": float(a), "y": str(y)} for (a, _), y in zip(X[:40], Y[:40], strict=True)])

    class Slow:
        """Three events at a time, and then nothing within the wait."""

        def start(self) -> Any:
            return stream.start()

        def read(self, position: Any, count: int, wait_seconds: float) -> Any:
            pulled.append(count)
            return stream.read(position, min(count, 3), 0)

    done = ladle.online(Slow(), target="y", model="linear", size=16, age=0.0, idle=0.0, head=40)
    assert [line["examples"] for line in done.run.metrics][:3] == [0, 3, 6] and done.run.final["examples"] == 40


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"target": None}, "target must be the name of a column"),
    ({"target": "z"}, "target must name a column"),
    ({"size": 0}, "size must be at least 1"),
    ({"window": 0}, "window must be at least 1"),
    ({"age": -1}, "age must be at least 0"),
    ({"resume": True}, "out must be given with resume"),
    ({"fading": 0}, "fading must be above 0"),
    ({"drift": "ddm"}, "drift must be a known detector"),
    ({"drift": "adwin", "on_drift": "shirk"}, "try 'shrink'"),
    ({"classes": ("up",)}, "classes must name all classes of the first events"),
    ({"drop": "id"}, r"drop must be a list of words; got 'id'.*try drop=\['id'\]"),
    ({"head": -3}, "head must be at least 1"),
    ({"colour": 1}, "colour must be an argument of online"),
    ({"until": "valid_loss <= 1"}, "valid"),
]


@pytest.mark.parametrize(("how", "says"), REFUSED, ids=[str(how) for how, _ in REFUSED])
def test_what_cannot_be_is_refused_before_work(how: dict[str, Any], says: str, table: Path, tmp_path: Path):
    if "drift" in how:
        pytest.importorskip("river")
    with pytest.raises(ladle.ArgumentError, match=says) as refused:
        ladle.online(table, **{**HOW, **how})
    assert "\n" not in str(refused.value)


def test_sources_that_cannot_be_are_refused(table: Path, tmp_path: Path):
    (tmp_path / "empty.csv").write_text("a,y\n")
    (tmp_path / "mixed").mkdir()
    for name in ("mixed/a.csv", "mixed/b.jsonl", "table.parquet"):
        (tmp_path / name).write_text("")
    for source, says in (
        ("nowhere.csv", "source must be there"),
        ("empty.csv", "source must have an event"),
        ("mixed", "source must hold files of one of"),
        ("table.parquet", "source must end in .csv"),
    ):
        with pytest.raises(ladle.DataError, match=says):
            ladle.online(tmp_path / source, target="y")
    with pytest.raises(ladle.DataError, match="labels must come; got '640 events that wait and no label in y'"):
        rows = [{"id": n, "a": X[n, 0]} for n in range(ROWS)]
        ladle.online(IteratorStream(rows), target="y", id="id")
    with pytest.raises(ladle.ArgumentError, match="task must be a task, a file, a folder or a stream"):
        ladle.online(rows, target="y")  # type: ignore[arg-type]


def test_tasks_that_are_no_streams_are_refused(table: Path):
    data = ladle.data.arrays(X, Y)
    with pytest.raises(ladle.ArgumentError, match="task must have a StreamFeed for its feed"):
        ladle.online(ladle.Task(ladle.models.linear(2, 2), None, data))
    with pytest.raises(ladle.ArgumentError, match="target must be left out with a task"):
        ladle.online(ladle.Task(ladle.models.linear(2, 2), None, data), target="y")


def test_another_stream_is_not_gone_on_with(table: Path, tmp_path: Path):
    how = {**HOW, "out": tmp_path / "run"}
    ladle.online(table, **how, until="64 examples")
    with pytest.raises(ladle.ArgumentError, match="out must be a new folder"):
        ladle.online(table, **how)
    with pytest.raises(ladle.ArgumentError, match="model must be what the run began with"):
        ladle.online(table, **{**how, "model": "mlp"}, resume=True)
    done = ladle.online(table, **how, resume=True, until="128 examples")
    assert done.run.final["examples"] == 128
    assert replace(done).run.metrics[4]["examples"] == 64


def test_plain_numbers_are_read_as_a_table_is():
    from ladle.api.online_decode import Decode, Plain
    from ladle.api.online_source import OnlineSource

    rows = [
        {"a": f"{a}", "b": f" {b:.3e}", "c": str(n), "k": "7.5", "y": "u" if a > 0 else "v"}
        for n, (a, b) in enumerate(X)
    ]
    form = Decode(OnlineSource(IteratorStream(rows), "y").task(None, 0).feed(0).decode.form).form  # type: ignore[misc]
    plain = Plain.of(form)
    assert plain is not None and plain.names[-1] == "k", "a column that was constant is an input"
    np.testing.assert_array_equal(plain(rows), form.read(rows)[0])
    for cell in ("1_0", "", "word", "inf", "1e300", None):
        assert plain([{**rows[0], "a": cell}]) is None
    assert plain([{**rows[0], "k": "8.5"}])[0, -1] == 1.0  # type: ignore[index]
