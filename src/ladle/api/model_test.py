"""A model is the same in another process: tables, images, Equinox, NNX; from a saved folder and from a run's."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import ladle
from ladle.core.errors import ArgumentError, CheckpointError, DataError

AREA = [50.0, 71.5, None, 90.0]
TOWN = ["a", "nowhere", None, "b"]


def table(path: Path, kind: str = "amount") -> Path:
    """300 houses: a number and a category with cells missing, a date, truth values, a target."""
    rng = np.random.default_rng(0)
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["area", "town", "when", "new", "price"])
        for i in range(300):
            area, town = rng.uniform(30, 200), "abc"[rng.integers(3)]
            price: Any = round(3000 * area) if kind == "amount" else ("cheap" if area < 100 else "dear")
            when, new = f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}", str(i % 2 == 0).lower()
            rows.writerow([f"{area:.1f}" if i % 17 else "", town if i % 13 else "n/a", when, new, price])
    return path


def rows(**changes: Any) -> dict[str, Any]:
    more = {"beside": [1, 2, 3, 4], "new": [True, False, None, True], "when": ["2024-05-01"] * 4}
    return {**more, "town": TOWN, "area": AREA, **changes}


def fitted(data: ladle.data.Data, out: Path | None = None, **more: Any) -> ladle.Run:
    model = ladle.models.mlp(*data.input_shape, 8, data.outputs)
    return ladle.fit(ladle.Task(model, None, data, **more), size=64, until="2 epochs", out=out)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def amounts(place: Path) -> ladle.Run:
    run = fitted(ladle.data.load(table(place / "amounts.csv"), target="price"), place / "run")
    run.save(place / "amounts")
    return run


@pytest.fixture(scope="module")
def classes(place: Path) -> ladle.Run:
    run = fitted(ladle.data.load(table(place / "classes.csv", "class"), target="price"))
    run.save(place / "classes")
    return run


def asked_elsewhere(fresh_python: Callable[..., str], place: Path, ask: str, setup: str = "") -> Any:
    """What another process says, as numbers in hexadecimal: bit for bit."""
    code = (
        f"import json, sys, ladle, numpy as np\n{setup}\nsys.path.insert(0, {str(place)!r})\nprint(json.dumps({ask}))"
    )
    return json.loads(fresh_python(code).splitlines()[-1])


def test_a_table_in_another_process(amounts: ladle.Run, place: Path, fresh_python: Callable[..., str]) -> None:
    ask = f"[ladle.load({str(place)!r} + name).predict({rows()!r}).tobytes().hex() for name in ('/amounts', '/run')]"
    mine = amounts.predict(rows()).tobytes().hex()
    assert asked_elsewhere(fresh_python, place, ask) == [mine, mine]


def test_all_forms_of_rows_have_one_answer(amounts: ladle.Run, place: Path, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    model = ladle.load(place / "amounts")
    answer = amounts.predict(rows())
    frame = pd.DataFrame(rows())
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame[["when", "area", "new", "town"]].to_csv(tmp_path / "other.tsv", index=False, sep="\t")
    dated = rows(when=np.array(["2024-05-01"] * 4, "datetime64[D]"))
    forms: list[Any] = [
        frame,
        pa.table(rows()),
        dated,
        pd.DataFrame(dated),
        str(tmp_path / "other.tsv"),
    ]
    forms += [
        tmp_path / "rows.csv",
        [dict(zip(rows(), one, strict=True)) for one in zip(*rows().values(), strict=True)],
    ]
    for form in forms:
        np.testing.assert_array_equal(model.predict(form), answer)
    one = {name: column[0] for name, column in rows().items()}
    assert model.predict(one)[0] == pytest.approx(answer[0], rel=1e-6)


def test_frames_of_polars(amounts: ladle.Run) -> None:
    pl = pytest.importorskip("polars")
    np.testing.assert_array_equal(amounts.predict(pl.DataFrame(rows())), amounts.predict(rows()))


def test_new_rows_are_encoded_as_the_rows_of_the_data_were(amounts: ladle.Run, place: Path) -> None:
    data = amounts.assembly.task.data
    x, remarks = ladle.load(place / "amounts").form.read(place / "amounts.csv")
    every = np.concatenate([data.train["x"], data.valid["x"]])
    np.testing.assert_array_equal(np.unique(x, axis=0), np.unique(every, axis=0))
    assert remarks == ()
    _, remarks = amounts.model.form.read(rows())
    assert [one.split(":")[0] for one in remarks] == ["new", "town"]
    assert "1 cells hold categories that no training row has" in remarks[1] and "row 2" in remarks[1]


def test_amounts_are_in_their_own_unit(amounts: ladle.Run) -> None:
    data = amounts.assembly.task.data
    outputs = amounts.outputs(data.valid["x"])
    assert outputs.shape == (60, 1) and abs(outputs).max() < 10
    predicted = amounts.predict(rows())
    assert predicted.shape == (4,) and predicted.min() > 10_000
    with pytest.raises(ArgumentError, match="predict_proba must be asked of classes; got 'amounts'"):
        amounts.predict_proba(rows())


def test_classes_are_named(classes: ladle.Run, place: Path) -> None:
    model = ladle.load(place / "classes")
    assert set(model.predict(rows())) <= {"cheap", "dear"} and model.classes.tolist() == ["cheap", "dear"]
    chances = model.predict_proba(rows())
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-12)
    np.testing.assert_array_equal(model.classes[chances.argmax(1)], model.predict(rows()))
    np.testing.assert_array_equal(chances, classes.predict_proba(rows()))
    data = classes.assembly.task.data
    assert model.evaluate(data.valid) == classes.evaluate(data.valid)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (rows(area=[50, "wide", 3, 4]), "column area must hold a number in every row; got 'wide'.*row 2 "),
        (rows(area=[50, np.inf, 3, 4]), "column area must be finite; got inf; because row 2 "),
        (
            rows(when=["2024-05-01", "soon", None, None]),
            "column when must hold a date in every row; got 'soon'.*row 2 ",
        ),
        (rows(when=[1, 2, 3, 4]), "column when must hold dates; got 'int64'"),
        (rows(area=np.array(["2024-05-01"] * 4, "datetime64[D]")), "column area must hold numbers"),
        (rows(new=["true", "perhaps", "", ""]), "column new must hold a number in every row; got 'perhaps'"),
        ({"Area": [1], "town": ["a"], "when": [None], "new": [1]}, "rows must have the column area; .*try 'Area'"),
        (rows(area=[1, 2]), "must have as many rows; got .*area 2"),
        ({name: [] for name in rows()}, "rows must hold at least one row"),
        (np.zeros((3, 8), np.float32), r"rows must name their columns; .*outputs\(x\)"),
        ("nowhere.csv", "must be a file that exists"),
        (rows(town=[[1], [2], [3], [4]]), "column town must hold words"),
    ],
    ids="word infinite soon seconds moments perhaps absent ragged empty array file lists".split(),
)
def test_what_cannot_be_predicted_is_named(amounts: ladle.Run, asked: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        amounts.predict(asked)


def test_text_and_embedded_categories(tmp_path: Path) -> None:
    words = "red green blue good bad large small round square heavy light old new".split()
    rng = np.random.default_rng(1)
    with open(tmp_path / "t.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["note", "code", "y"])
        for i in range(200):
            out.writerow([" ".join(rng.choice(words, 5)) + f" {i}", f"k{i % 40}", "yes" if i % 3 else "no"])
    data = ladle.data.load(tmp_path / "t.csv", target="y", as_=["note=text"])
    assert data.cardinalities == (41,)
    numbers = data.input_shape[0]
    model = ladle.models.tabular(numbers, data.cardinalities, outputs=2, hidden=(4,))
    run = ladle.fit(ladle.Task(model, None, data), size=64, until="1 epochs")
    again = ladle.load(run.save(tmp_path / "model"))
    asked = {"code": ["k3", "other", None], "note": ["red old", None, "zebra"]}
    np.testing.assert_array_equal(again.predict_proba(asked), run.predict_proba(asked))
    assert again.form.read(asked)[0]["codes"][1:].tolist() == [[0], [0]]
    x, _ = again.form.read(tmp_path / "t.csv")
    held = np.concatenate([data.train["x"]["numbers"], data.valid["x"]["numbers"]])
    np.testing.assert_array_equal(np.unique(x["numbers"], axis=0), np.unique(held, axis=0))


def test_spelling_and_words_that_were_asked_for_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [
        f"{x:.2f}%;{x * 1000:.1f};{z:05d};{'NA' if z % 3 else 'XX'};{x > 50}"
        for x, z in zip(rng.uniform(1, 99, 90), rng.integers(0, 9, 90), strict=True)
    ]
    text = "share;amount;zip;land;y\n" + "\n".join(lines).replace(".", ",")
    (tmp_path / "t.csv").write_text(text)
    data = ladle.data.load(tmp_path / "t.csv", target="y", as_=["land=category"], na=["share=99,99%"])
    run = fitted(data)
    model = ladle.load(run.save(tmp_path / "model"))
    x, remarks = model.form.read(tmp_path / "t.csv")
    every = np.concatenate([data.train["x"], data.valid["x"]])
    np.testing.assert_array_equal(np.unique(x, axis=0), np.unique(every, axis=0))
    assert remarks == ()
    one = {"share": ["12,50%"], "amount": [12500.0], "zip": ["00003"], "land": ["NA"]}
    assert model.form.read(one)[1] == () and model.predict(one).shape == (1,)
    with pytest.raises(DataError, match="column share must hold a number in every row; got 'half'"):
        model.predict({**one, "share": ["half"]})


def test_a_streamed_table_is_kept_too(place: Path, tmp_path: Path, amounts: ladle.Run) -> None:
    from ladle.api.streamed import on_disk

    read = pa.csv.read_csv(place / "amounts.csv", convert_options=pa.csv.ConvertOptions(strings_can_be_null=True))
    pa.parquet.write_table(read, tmp_path / "amounts.parquet")
    data = on_disk(tmp_path / "amounts.parquet", target="price")
    run = fitted(data)
    model = ladle.load(run.save(tmp_path / "model"))
    x, _ = model.form.read(tmp_path / "amounts.parquet")
    held = np.concatenate([data.train.take(np.arange(data.rows))["x"], data.valid["x"]])
    np.testing.assert_array_equal(np.unique(x, axis=0), np.unique(held, axis=0))


def images() -> ladle.data.Data:
    pixels = np.random.default_rng(2).integers(0, 256, (60, 8, 8)).astype(np.uint8)
    return ladle.data.arrays(pixels, np.arange(60) % 3)


@pytest.mark.slow
def test_images_in_another_process(tmp_path: Path, fresh_python: Callable[..., str]) -> None:
    model = ladle.models.convnet((8, 8), 3, batch_norm=True, width=4)
    run = ladle.fit(ladle.Task(model, None, images()), size=20, until="2 epochs")
    run.save(tmp_path / "model")
    make = "x = np.random.default_rng(3).integers(0, 256, (5, 8, 8)).astype(np.uint8)"
    ask = f"ladle.load({str(tmp_path / 'model')!r}).outputs(x).tobytes().hex()"
    x = np.random.default_rng(3).integers(0, 256, (5, 8, 8)).astype(np.uint8)
    assert asked_elsewhere(fresh_python, tmp_path, ask, make) == run.outputs(x).tobytes().hex()
    assert run.predict(x).dtype == np.int64 and set(run.predict(x)) <= {0, 1, 2}
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(run.predict(tmp_path / "x.npy"), run.predict(x))
    with open(tmp_path / "x.csv", "w") as file:
        file.write(",".join(f"p{i}" for i in range(64)) + "\n")
        np.savetxt(file, x.reshape(5, 64), fmt="%d", delimiter=",")
    np.testing.assert_array_equal(run.predict(tmp_path / "x.csv"), run.predict(x))


OWN = """
import equinox as eqx, jax, ladle, numpy as np
from flax import nnx

class Tree(eqx.Module):
    one: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    two: eqx.nn.Linear
    def __init__(self, key):
        a, b = jax.random.split(key)
        self.one, self.two = eqx.nn.Linear(3, 8, key=a), eqx.nn.Linear(8, 2, key=b)
        self.norm = eqx.nn.BatchNorm(8, "batch", mode="ema")
    def __call__(self, x, state):
        h, state = self.norm(self.one(x), state)
        return self.two(jax.nn.relu(h)), state

class Net(nnx.Module):
    def __init__(self, rngs):
        self.one, self.norm = nnx.Linear(3, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
        self.drop, self.two = nnx.Dropout(0.1, rngs=rngs), nnx.Linear(8, 2, rngs=rngs)
    def __call__(self, x):
        return self.two(self.drop(nnx.relu(self.norm(self.one(x)))))

equinox = lambda key: eqx.nn.make_with_state(Tree)(key)
flax = lambda rngs: Net(rngs)
X = np.random.default_rng(4).normal(size=(40, 3)).astype(np.float32)
data = ladle.data.arrays(X, np.arange(40) % 2)
task = ladle.Task(equinox, None, data)
"""


@pytest.fixture(scope="module")
def own() -> dict[str, Any]:
    """The modules of `OWN`, made once: what is compiled for one test serves the next."""
    names: dict[str, Any] = {}
    exec(OWN, names)
    return names


def test_modules_of_ones_own_are_given_again(
    own: dict[str, Any], tmp_path: Path, fresh_python: Callable[..., str]
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    mine, asked = [], []
    for name in ("equinox", "flax"):
        run = ladle.fit(ladle.Task(own[name], None, own["data"]), size=20, until="2 epochs")
        folder = str(run.save(tmp_path / name))
        with pytest.raises(
            ArgumentError, match="model must be given; .*is a model of your own, and a folder holds no code"
        ):
            ladle.load(folder)
        mine.append(run.outputs(own["X"]).tobytes().hex())
        asked.append(f"ladle.load({folder!r}, model=own.{name}).outputs(own.X).tobytes().hex()")
    setup = f"sys.path.insert(0, {str(tmp_path)!r})\nimport own"
    assert asked_elsewhere(fresh_python, tmp_path, f"[{', '.join(asked)}]", setup) == mine


def test_a_task_file_says_the_model(own: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    run = ladle.fit(own["task"], size=20, until="1 epochs")
    run.save("model")
    model = ladle.load("model", model="mine.py:task")
    np.testing.assert_array_equal(model.predict(own["X"]), run.predict(own["X"]))
    with pytest.raises(ArgumentError, match="model must be file.py:task"):
        ladle.load("model", model="mine")
    with pytest.raises(
        CheckpointError, match=r"weight model_state.* must be|weight params.* must be|'.*' is missing|has not"
    ):
        ladle.load("model", model=lambda key: eqx.nn.MLP(3, 2, 4, 1, key=key))


def test_plain_functions_and_their_loss(tmp_path: Path) -> None:
    import jax.numpy as jnp

    def loss(w: Any, batch: Any) -> Any:
        return (batch["x"] @ w - batch["y"][:, None])[:, 0] ** 2

    X = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    data = ladle.data.arrays(X, X @ [1.0, 2.0], kind="regression")
    how: Any = {"optimizer": "sgd", "lr": 0.1}
    task = ladle.Task.functions(lambda key: jnp.zeros((2, 1)), loss, data, predict=lambda w, x: x @ w, **how)
    run = ladle.fit(task, size=10, until="3 epochs")
    model = ladle.load(run.save(tmp_path / "model"), model=task)
    np.testing.assert_array_equal(model.predict(X), run.predict(X))
    with pytest.raises(ArgumentError, match="evaluate must be asked of a loss of ladle's"):
        model.evaluate(data.valid)
    blind = ladle.Task.functions(lambda key: jnp.zeros((2, 1)), loss, data, **how)
    run = ladle.fit(blind, size=10, until="1 epochs")
    for ask in (lambda: run.predict(X), lambda: run.save(tmp_path / "other")):
        with pytest.raises(ArgumentError, match="task must have a predict function"):
            ask()


def test_frames_by_name_binary_odds_and_other_losses(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    frame = pd.DataFrame(X, columns=["a", "b"])
    data = ladle.data.arrays(frame, X[:, 0] > 0)
    task = ladle.Task(ladle.models.linear(2, 1), "binary_cross_entropy", data, lr=0.1, metrics={})
    run = ladle.fit(task, size=10, until="20 epochs")
    model = ladle.load(run.save(tmp_path / "model"))
    answer = model.predict(frame)
    assert np.mean((answer == "True") == (X[:, 0] > 0)) > 0.9
    np.testing.assert_array_equal(model.predict(frame.assign(c=1)[["c", "b", "a"]]), answer)
    chances = model.predict_proba(frame)
    np.testing.assert_allclose(chances[:, 1], 1 / (1 + np.exp(-run.outputs(X)[:, 0].astype(float))), rtol=1e-6)
    with pytest.raises(DataError, match="rows must have the column b"):
        model.predict(frame[["a"]])
    with pytest.raises(DataError, match=r"x must be finite; got nan; because row 1, column 0 \(counted from 0\)"):
        model.predict(np.array([[1, 2], [np.nan, 1]], np.float32))
    other = ladle.Task(ladle.models.linear(2, 2), lambda o, y: (o**2).sum(1), data)
    run = ladle.fit(other, size=10, until="1 epochs")
    assert run.predict(X).shape == (50,)
    with pytest.raises(ArgumentError, match="predict_proba must be asked under cross entropy"):
        run.predict_proba(X)


def test_a_folder_is_written_once(amounts: ladle.Run, tmp_path: Path) -> None:
    amounts.save(tmp_path / "model")
    with pytest.raises(ArgumentError, match="overwrite=True"):
        amounts.save(tmp_path / "model")
    amounts.save(tmp_path / "model", overwrite=True)
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="must be a new folder"):
        amounts.save(tmp_path / "model", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    with pytest.raises(ArgumentError, match="folder must be that of a model; .*model"):
        ladle.load(tmp_path / "modle")
