from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ladle
from ladle.api.backend import backend_named
from ladle.api.streamed import on_disk
from ladle.core.errors import ArgumentError, DataError
from ladle.data import lane, load
from ladle.data.dataset import Data

SHAPES = ("input_shape", "outputs", "cardinalities")
WORDS = ["red", "green", "blue", "none", "  red "]
pytestmark = pytest.mark.usefixtures("own_cache")


def both(path: Path, **options: Any) -> tuple[Data, Data]:
    """The same file loaded and read from the disk: the same in everything but where its rows are."""
    loaded, read = load(path, **options), on_disk(path, **options)
    rows = read.train.take(np.arange(read.rows))  # type: ignore[union-attr]
    for part, there in (("train", rows), ("valid", read.valid)):
        here = getattr(loaded, part)
        np.testing.assert_array_equal(there["y"], here["y"])
        if isinstance(here["x"], dict):
            np.testing.assert_array_equal(there["x"]["numbers"], here["x"]["numbers"])
            np.testing.assert_array_equal(there["x"]["codes"], here["x"]["codes"])
        else:
            np.testing.assert_array_equal(there["x"], here["x"])
    for name in ("kind", "classes", "input_shape", "outputs", "cardinalities", "target_mean", "target_sd", "target"):
        assert getattr(read, name) == getattr(loaded, name), name
    return loaded, read


def table(rows: int, seed: int = 0) -> dict[str, list[Any]]:
    rng = np.random.default_rng(seed)
    return {
        "id": [int(n) for n in rng.permutation(10 * rows)[:rows]],
        "a": [None if rng.random() < 0.1 else round(float(v), 3) for v in rng.normal(5, 2, rows)],
        "flag": [bool(v) for v in rng.random(rows) < 0.5],
        "color": [WORDS[n] for n in rng.integers(0, len(WORDS), rows)],
        "city": [f"c{n:02d}" for n in rng.integers(0, 50, rows)],
        "same": [7] * rows,
        "when": [f"2020-01-{1 + n:02d}" for n in rng.integers(0, 28, rows)],
        "said": [f"{WORDS[n]} and then {WORDS[m]} {k}" for k, (n, m) in enumerate(rng.integers(0, 3, (rows, 2)))],
        "y": [int(v) for v in rng.integers(0, 3, rows)],
    }


def write_csv(path: Path, columns: dict[str, list[Any]], mark: str = ",") -> Path:
    rows = [["" if cell is None else str(cell) for cell in row] for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(mark.join(row) for row in [list(columns), *rows]) + "\n")
    return path


@given(st.integers(120, 300), st.integers(0, 99), st.sampled_from(["y", "a0", "color"]), st.sampled_from(",;\t"))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_lanes_say_the_same(tmp_path: Path, rows: int, seed: int, target: str, mark: str) -> None:
    columns = table(rows, seed) | {"a0": [n * 0.5 + (n % 7) for n in range(rows)]}
    columns["color"] = [one if one != "none" else "blue" for one in columns["color"]]
    loaded, read = both(write_csv(tmp_path / f"t{seed}{ord(mark)}.csv", columns, mark), target=target, valid=0.25)
    assert "city" not in target and loaded.cardinalities == read.cardinalities
    assert any("identifiers" in note for note in read.notes)
    assert {note for note in loaded.notes if "missing" in note} <= set(read.notes)


def test_parquet_of_every_kind(tmp_path: Path) -> None:
    columns = table(120)
    arrow = pa.table(columns)
    moment = pa.array(np.arange(120) * 86_400_000, pa.timestamp("ms"))
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(np.random.default_rng(0).normal(size=480)), 4)
    grade = pa.array(["u", None, "v"] * 40).dictionary_encode()
    arrow = arrow.append_column("moment", moment).append_column("e", embedding).append_column("grade", grade)
    arrow = arrow.append_column("price", arrow["a"].cast(pa.decimal128(8, 3)))
    path = tmp_path / "t.parquet"
    pq.write_table(arrow, path, row_group_size=50)
    loaded, read = both(path, target="y", as_=["id=category"], drop=["said"])
    assert loaded.cardinalities == read.cardinalities == (97, 41)
    pq.write_table(arrow.select(["e", "y"]), path)
    whole = both(path, target="y")[1]
    assert whole.input_shape == (4,)
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as file, pa.ipc.new_file(file, arrow.schema) as writer:
        writer.write_table(arrow)
    read = on_disk(tmp_path / "t.arrow", target="y", drop=["said"])
    assert read.cardinalities == (41,) and "grade: 3 categories (one of them (missing), 40 rows)" in " ".join(
        read.notes
    )


def test_losses_of_both_lanes_agree(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", table(200))
    losses = []
    for data in (load(path, target="y"), on_disk(path, target="y")):
        model = backend_named().model("mlp", **{name: getattr(data, name) for name in SHAPES})
        run = ladle.fit(
            ladle.Task(model, None, data, lr=0.01), size=32, until="2 epochs", out=tmp_path / str(len(losses))
        )
        losses.append([line["valid_loss"] for line in run.metrics if "valid_loss" in line])
    assert len(losses[0]) > 1
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_a_large_table_is_looked_at_in_a_stated_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SAMPLE_BYTES", 8 * 8 * 100)
    monkeypatch.setattr(lane, "AT_ONCE", 64)
    columns = table(400)
    columns["a"] = [None if n == 399 else v or 0.0 for n, v in enumerate(columns["a"])]
    data = on_disk(write_csv(tmp_path / "t.csv", columns), target="y", valid=0.1)
    assert any(note.startswith("Mean, sd and median are those of ") for note in data.notes)
    assert any(note.startswith("a: 1 missing") for note in data.notes)
    assert data.cardinalities[-1] > 40


def test_a_folder_and_a_pattern_are_one_table(tmp_path: Path) -> None:
    columns = table(90)
    whole = on_disk(write_csv(tmp_path / "whole.csv", columns), target="y")
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in range(3):
        part = {name: cells[30 * number : 30 * number + 30] for name, cells in columns.items()}
        write_csv(parts / f"{number}.csv", part)
    for path in (parts, parts / "*.csv"):
        data = on_disk(str(path), target="y")
        ids = np.arange(data.rows)
        np.testing.assert_array_equal(data.train.take(ids)["x"]["numbers"], whole.train.take(ids)["x"]["numbers"])
    write_csv(parts / "3.csv", {"other": [1], "y": [0]})
    with pytest.raises(DataError, match=r"one header in all files; got 'other in one of 0\.csv and 3\.csv"):
        on_disk(parts, target="y")
    (parts / "4.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="files of one kind"):
        on_disk(parts, target="y")


def test_kind_and_classes_over_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": np.arange(50.0) % 7, "y": [0.0] * 49 + [3.0]}), path)
    assert on_disk(path, target="y").kind == "regression"
    data = on_disk(path, target="y", kind="classification", valid=0.0)
    assert data.classes == ("0", "3") and not len(data.valid["y"])


@pytest.mark.parametrize(
    ("a", "options", "message"),
    [
        ([1.0, np.inf] * 20, {}, r"column a must be finite in float32; got inf; because row 2 \(counted from 1"),
        ([1.0, 2.0] * 20, {"target": "z"}, "target must name a column; got 'z'"),
        ([1.0, 2.0] * 20, {"drop": ["b"]}, "drop must name columns of the table; got 'b'"),
        ([1.0, 2.0] * 20, {"drop": ["a"]}, "it is the only column"),
        ([[1], [1, 2]] * 20, {}, "column a must be of a usable type; got 'list"),
        ([1.0, 2.0] * 20, {"decimal": ","}, "options of text tables must be left out here"),
    ],
)
def test_what_a_loaded_table_is_refused_for(tmp_path: Path, a: list[Any], options: dict, message: str) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": a, "y": [0, 1] * 20}), path)
    with pytest.raises(ArgumentError, match=message) as caught:
        on_disk(path, **{"target": "y", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("drop", [("city",), ("city", "y", "said", "when", "same", "color")])
def test_where_no_target_is_named_both_lanes_take_the_same_one(tmp_path: Path, drop: tuple[str, ...]) -> None:
    loaded, read = both(write_csv(tmp_path / "t.csv", table(150)), drop=list(drop))
    said = [note for note in read.notes if note.startswith("Target: ")]
    assert said and said[0] in loaded.notes


def test_a_dropped_column_may_hold_anything(tmp_path: Path) -> None:
    columns = table(150)
    columns["a"] = [*range(148), "fifty", "12 kg"]
    path = write_csv(tmp_path / "t.csv", columns)
    with pytest.raises(DataError, match="column a must hold numbers only; got 'fifty'; because row 149"):
        on_disk(path, target="y")
    for options in (
        {"drop": ["a"]},
        {"na": ["fifty", "12 kg"]},
        {"as_": ["a=category"]},
        {"as_": ["city=id"], "drop": ["a"]},
    ):
        both(path, target="y", **options, **({} if "as_" in options else {"as_": ["city=category"]}))


def test_lists_with_gaps(tmp_path: Path) -> None:
    lists = pa.array([[1.0, 2.0], [None, 5.0], [3.0, None]] * 20, pa.list_(pa.float64(), 2))
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"e": lists, "y": [0, 1, 1] * 20}), path)
    loaded, _ = both(path, target="y")
    assert loaded.input_shape == (4,)
