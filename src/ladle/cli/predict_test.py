"""`ladle predict` and `ladle export` from a table to a file of answers, and each refusal in one line."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import ladle
from ladle.cli.main import run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of `ladle train`, on classes and on amounts, and new rows."""
    folder = tmp_path_factory.mktemp("predict")
    rng = np.random.default_rng(0)
    area, town = rng.uniform(30, 200, 200).round(1), rng.choice(["a", "b"], 200)
    for name, target in (("amounts", (3000 * area).round()), ("classes", np.where(area > 100, "dear", "cheap"))):
        lines = [f"{one},{where},{what}" for one, where, what in zip(area, town, target, strict=True)]
        (folder / f"{name}.csv").write_text("\n".join(["area,town,price", *lines]) + "\n")
        command = f"train {folder}/{name}.csv --target price --size 32 --until '2 epochs' --quiet --out {folder}/{name}"
        assert run(shlex.split(command)) == 0
    (folder / "rows.csv").write_text("town,extra,area\nb,1,50\nelsewhere,2,\na,3,150.5\n")
    (folder / "bad.csv").write_text("town,area\nb,50\na,large\n")
    return folder


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def table(path: str) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_classes_and_chances_of_a_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = f"{tmp_path}/out.csv"
    assert run(["predict", "classes", "rows.csv", "-o", out]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "3 rows predicted"
    assert (
        "town: 1 cells hold categories that no training row has" in said.err and "area: 1 cells are missing" in said.err
    )
    names, *rows = table(out)
    assert names == ["price", "chance of cheap", "chance of dear"]
    model = ladle.load("classes")
    chances = model.predict_proba("rows.csv")
    assert [row[0] for row in rows] == model.predict("rows.csv").tolist()
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], float), chances)
    assert run(["predict", "classes", "rows.csv", "-o", out]) == 2
    assert "output must be a new file" in capsys.readouterr().err
    assert run(["predict", "classes", "rows.csv", "-o", out, "--overwrite"]) == 0


def test_amounts_on_standard_output_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", "amounts", "rows.csv"]) == 0
    names, *rows = capsys.readouterr().out.splitlines()
    answer = ladle.load("amounts").predict("rows.csv")
    assert names == "price" and [float(row) for row in rows] == answer.tolist()
    assert run(["predict", "amounts", "rows.csv", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == 3 and said["price"] == answer.tolist() and len(said["remarks"]) == 2


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("predict classes bad.csv", "column area must hold a number in every row; got 'large'; because row 2 (counted"),
        ("predict classes rows.csv -o rows.csv --overwrite", "output must be another file than the rows"),
        ("predict classes nowhere.csv", "must be a file that exists"),
        ("predict clases rows.csv", "folder must be that of a model; got 'clases'"),
        ("predict classes classes/run.json", "rows must be a table"),
        ("predict classes classes.csv -o nowhere/out.csv", "output must be writable"),
        ("predict classes", "ROWS must be given"),
        ("predict classes rows.csv --model classes.csv", "model must be file.py:task"),
        ("export classes amounts", "must be a new folder"),
        ("export nowhere out", "folder must be that of a model"),
    ],
)
def test_refusals_are_one_line(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shlex.split(command)) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_the_best_evaluation_of_a_run_is_asked(tmp_path: Path) -> None:
    data = ladle.data.load("amounts.csv", target="price")
    task = ladle.Task(ladle.models.linear(*data.input_shape, 1), None, data, optimizer="sgd", lr=0.3)
    trained = ladle.fit(task, size=16, until="6 epochs", out=tmp_path / "run", restore="best")
    assert trained.best is not None and trained.best.checkpoint is not None
    np.testing.assert_array_equal(ladle.load(tmp_path / "run").predict("rows.csv"), trained.predict("rows.csv"))
    newest = tmp_path / "run" / trained.best.checkpoint / "facts.json"
    newest.write_text(newest.read_text() + " ")
    newer = ladle.load(tmp_path / "run")  # A damaged best one: then the newest good one.
    assert newer.predict("rows.csv").shape == (3,) and "facts.json has" in newer.facts["refused"][0]
    for path in (tmp_path / "run" / "checkpoints").glob("*/facts.json"):
        path.write_text(path.read_text() + " ")
    with pytest.raises(ladle.CheckpointError, match=r"facts.json has \d+ bytes instead of"):
        ladle.load(tmp_path / "run")


def test_a_run_of_a_task_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).normal(size=(5, 3)))
    (tmp_path / "mine.py").write_text(
        "import equinox as eqx, ladle, numpy as np\n"
        "X = np.random.default_rng(0).normal(size=(40, 3)).astype('float32')\n"
        "task = ladle.Task(lambda key: eqx.nn.MLP(3, 2, 4, 1, key=key), None, ladle.data.arrays(X, X[:, 0] > 0))\n"
    )
    assert run(shlex.split("train mine.py:task --size 20 --until '1 epochs' --quiet --out run")) == 0
    capsys.readouterr()
    assert run(["predict", "run", "x.npy"]) == 0
    answered = capsys.readouterr().out
    assert answered.startswith("prediction,chance of False,chance of True\n") and answered.count("\n") == 6
    ladle.load("run").save("model")
    assert run(["predict", "model", "x.npy"]) == 2
    told = capsys.readouterr().err
    assert "try --model file.py:task" in told and "mine.py:task)" in told and told.count("\n") == 1
    assert run(["predict", "model", "x.npy", "--model", "mine.py:task"]) == 0
    assert capsys.readouterr().out == answered


def test_an_exported_program_answers_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "classes", f"{tmp_path}/out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == f"{tmp_path}/out"
    import jax
    from safetensors.numpy import load_file

    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    program = jax.export.deserialize(bytearray((tmp_path / "out" / "program.bin").read_bytes()))
    held = load_file(tmp_path / "out" / "weights.safetensors")
    model = ladle.load("classes")
    x, _ = model.form.read("rows.csv")
    outputs = np.asarray(jax.jit(program.call)(*(held[one["name"]] for one in facts["weights"]), x))
    assert facts["rows"] == "any" and outputs.tobytes() == model.outputs(x).tobytes()
    assert run(["export", "classes", f"{tmp_path}/out"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["export", "classes", f"{tmp_path}/out", "--overwrite"]) == 0


@pytest.mark.slow
@pytest.mark.long
def test_images_and_modules_are_exported_too(tmp_path: Path) -> None:
    pytest.importorskip("flax")
    from flax import nnx

    x, y = np.random.default_rng(0).normal(size=(30, 8, 8)).astype(np.float32), np.arange(30) % 3
    convnet = ladle.models.convnet((8, 8), 3, width=4, batch_norm=True)
    ladle.fit(ladle.Task(convnet, None, ladle.data.arrays(x, y)), size=10, until="1 epochs").model.export(
        tmp_path / "a"
    )
    made = lambda rngs: nnx.Linear(8, 3, rngs=rngs)  # noqa: E731
    run_ = ladle.fit(ladle.Task(made, None, ladle.data.arrays(x[:, 0], y)), size=10, until="1 epochs")
    run_.model.export(tmp_path / "b")
    rows = [json.loads((tmp_path / name / "export.json").read_text())["rows"] for name in "ab"]
    assert rows == ["any", "any"]
