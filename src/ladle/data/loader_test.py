from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ladle.data
from ladle.core.errors import ArgumentError, DataError
from ladle.data.idx_test import encode
from ladle.data.loader import load

REAL = os.environ.get("LADLE_DATA")
real = pytest.mark.skipif(not REAL, reason="LADLE_DATA names no folder of real data")


def test_lazy_package_exports() -> None:
    assert ladle.data.load is load
    assert ladle.data.arrays([0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1]).kind == "classification"
    assert {"Data", "arrays", "as_data", "known", "load", "streamed"} == set(dir(ladle.data))
    with pytest.raises(AttributeError, match=r"no attribute 'lode'"):
        _ = ladle.data.lode


def test_digits_need_no_optional_library() -> None:
    code = (
        "import sys, ladle.data as d; d.load('digits'); d.arrays([0., 1., 2., 3.], [0, 0, 1, 1]); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"pyarrow", "pooch", "jax", "requests"} & set(done.stdout.split())


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(DataError, match=r"got 'digit'.* try 'digits' \(known: digits, fashion-mnist, mnist\)"):
        load("digit")


def test_missing_file_offers_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "housing.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"there is no such file; try '.*housing.csv'"):
        load(tmp_path / "hosing.csv")
    with pytest.raises(DataError, match=r"it is a folder; try .*housing.csv"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"no such file; try the path of a data file"):
        load(tmp_path / "none" / "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet", "a.npz", "a.npy", "a.idx", "a.idx.gz"])
def test_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"the file is empty"):
        load(tmp_path / name)


def test_unknown_ending(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"must end in .csv.* got 'a.xlsx'"):
        load(tmp_path / "a.xlsx")


X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2


@pytest.mark.parametrize(
    ("keys", "target"), [("x y", None), ("X y", None), ("x_train y_train", None), ("X t", "t"), ("inputs t", "t")]
)
def test_npz_keys(tmp_path: Path, keys: str, target: str | None) -> None:
    x_key, y_key = keys.split()
    np.savez(tmp_path / "a.npz", **{x_key: X, y_key: Y})
    data = load(tmp_path / "a.npz", target=target)
    assert (data.name, data.input_shape, data.classes, data.test) == ("a.npz", (3,), ("0", "1"), None)
    assert data.notes[0] == f"Read {x_key} (inputs) and {y_key} (target) from a.npz."


def test_npz_with_a_test_part(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y * 1.5, x_test=X[:4], y_test=Y[:4] * 1.5)
    data = load(tmp_path / "a.npz")
    assert data.test is not None
    np.testing.assert_array_equal(data.test["x"], X[:4].astype(np.float32))
    np.testing.assert_allclose(data.test["y"] * data.target_sd + data.target_mean, Y[:4] * 1.5, atol=1e-6)
    assert "4 rows to test come with the data" in " ".join(data.notes)


def test_npz_with_a_test_part_that_does_not_fit(tmp_path: Path) -> None:
    for x_test, y_test, message in (
        (X[:4, :2], Y[:4], r"test x must have rows of shape \(3,\); got \(2,\)"),
        (X[:4], Y[:3], "test x and y must have as many rows; got '4 and 3'"),
        (X[:4], Y[:4].astype(str), "y must be alike in all parts"),
    ):
        np.savez(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=x_test, y_test=y_test)
        with pytest.raises(DataError, match=message):
            load(tmp_path / "a.npz")


def test_npz_without_the_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=X, more=X, labels=Y)
    with pytest.raises(DataError, match=r"keys x and y; got 'a.npz with images, labels, more'"):
        load(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"got 'label'.* try 'labels'"):
        load(tmp_path / "a.npz", target="label")
    with pytest.raises(DataError, match=r"could be any of images, more"):
        load(tmp_path / "a.npz", target="labels")


def test_npy_matrix(tmp_path: Path) -> None:
    matrix = np.column_stack([X, Y])
    np.save(tmp_path / "a.npy", matrix)
    data = load(tmp_path / "a.npy")
    assert (data.kind, data.input_shape) == ("classification", (3,))
    assert data.notes[0].startswith("Target: column 3 of 4 (counted from 0), the last one;")
    assert load(tmp_path / "a.npy", target="0").kind == "regression"
    assert load(tmp_path / "a.npy", target="-4").digest == load(tmp_path / "a.npy", target="0").digest
    for wrong in ("4", "-5", "price"):
        with pytest.raises(DataError, match=r"target must be a column number from 0 to 3"):
            load(tmp_path / "a.npy", target=wrong)
    np.save(tmp_path / "a.npy", np.zeros((4, 2, 2)))
    with pytest.raises(DataError, match=r"matrix with two columns or more; got \(4, 2, 2\)"):
        load(tmp_path / "a.npy")


def test_idx_pair(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 5), np.uint8)
    images[0, 0, 0] = 255
    (tmp_path / "a-images-idx3-ubyte.gz").write_bytes(gzip.compress(encode(images)))
    with pytest.raises(DataError, match=r"labels beside it; got .*try adding a-labels-idx1-ubyte.gz"):
        load(tmp_path / "a-images-idx3-ubyte.gz")
    (tmp_path / "a-labels-idx1-ubyte.gz").write_bytes(gzip.compress(encode(Y.astype(np.uint8))))
    data = load(tmp_path / "a-images-idx3-ubyte.gz")
    assert data.input_shape == (4, 5) and data.train["x"].max() <= 1
    assert data.notes[0] == "Images from a-images-idx3-ubyte.gz, labels from a-labels-idx1-ubyte.gz beside it."
    (tmp_path / "a-labels-idx1-ubyte.gz").write_bytes(gzip.compress(encode(Y[:-1].astype(np.uint8))))
    with pytest.raises(DataError, match=r"as many rows; got '20 and 19'"):
        load(tmp_path / "a-images-idx3-ubyte.gz")


def test_npy_images_with_labels_beside(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.full((4, 2, 2), 255, np.uint8))
    np.save(tmp_path / "labels.npy", np.array([0, 0, 1, 1]))
    assert load(tmp_path / "images.npy").input_shape == (2, 2)


def test_options_that_do_not_apply_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"target must be left out here; got 'y'"):
        load("digits", target="y")
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    with pytest.raises(ArgumentError, match=r"drop must be left out here"):
        load(tmp_path / "a.npz", drop=["x"])


@real
@pytest.mark.parametrize(
    ("file", "target", "rows", "shape", "outputs"),
    [
        ("california_housing/housing.csv", "median_house_value", 20640, (14,), 1),
        ("california_housing/housing.csv", None, 20640, (10,), 5),
        ("wine_quality/winequality-red.csv", None, 1599, (11,), 6),
        ("wine_quality/winequality-white.csv", None, 4898, (11,), 7),
        ("electricity/elec.csv", None, 45312, (6,), 2),
        ("ett/ETTh1.csv", None, 17420, (7,), 1),
        ("cifar10_exact/train_images.npy", None, 4000, (32, 32, 3), 10),
        ("fashion_mnist/t10k-images-idx3-ubyte.gz", None, 10000, (28, 28), 10),
    ],
)
def test_real_files(file: str, target: str | None, rows: int, shape: tuple[int, ...], outputs: int) -> None:
    data = load(Path(REAL or "") / file, target=target)
    assert (data.rows + len(data.valid["y"]), data.input_shape, data.outputs) == (rows, shape, outputs)
    assert len(data.valid["y"]) == pytest.approx(0.2 * rows, abs=1)
    assert np.isfinite(data.train["x"]).all() and np.isfinite(data.valid["x"]).all()


@real
def test_published_facts_about_the_real_tables() -> None:
    folder = Path(REAL or "")
    housing = load(folder / "california_housing/housing.csv", target="median_house_value")
    assert any(note.startswith("total_bedrooms: 207 missing") for note in housing.notes)
    assert "ocean_proximity: 5 categories, one 0/1 column each." in housing.notes
    wine = load(folder / "wine_quality/winequality-white.csv")
    assert wine.notes[1].startswith("937 rows repeat an earlier row")
    power = load(folder / "electricity/elec.csv")
    assert (power.train["y"].sum() + power.valid["y"].sum()) == 19237


@real
def test_real_text_is_read_by_its_words() -> None:
    data = load(Path(REAL or "") / "sst2/dev.tsv")
    assert (data.kind, data.input_shape) == ("classification", (3642,))
    assert any(note.startswith("c0: text as 3,642 words") for note in data.notes)


def test_labels_in_a_file_are_classes_however_many(tmp_path: Path) -> None:
    y = np.repeat(np.arange(1, 27), 3)
    np.save(tmp_path / "train_images.npy", np.zeros((78, 2, 2)) + y[:, None, None])
    np.save(tmp_path / "train_labels.npy", y.astype(np.float64))
    data = load(tmp_path / "train_images.npy")
    assert (data.kind, data.outputs) == ("classification", 26)
    assert any("because train_labels.npy says so" in note for note in data.notes)
    assert load(tmp_path / "train_images.npy", kind="regression").kind == "regression"
    np.save(tmp_path / "train_labels.npy", np.arange(78) + 0.5)
    assert load(tmp_path / "train_images.npy").kind == "regression"


def test_a_target_beside_its_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.random.default_rng(0).normal(size=(40, 3)))
    np.save(tmp_path / "y.npy", np.arange(40) % 2 * 1.0)
    data = load(tmp_path / "X.npy")
    assert (data.kind, data.input_shape) == ("classification", (3,))
    assert data.notes[0] == "Inputs from X.npy, target from y.npy beside it."
    with pytest.raises(ArgumentError, match="target must be left out here"):
        load(tmp_path / "X.npy", target="0")


def test_options_of_tables_are_refused_elsewhere(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.zeros((4, 2)))
    with pytest.raises(ArgumentError, match="decimal must be left out here"):
        load(tmp_path / "m.npy", decimal=",")
    with pytest.raises(ArgumentError, match="na must be a list of words; got 'x'"):
        load(tmp_path / "m.npy", na="x")
