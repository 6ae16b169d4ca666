from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
import ladle.api.compare as compare_
from ladle.api.baselines import baselines_of_best, require_baselines
from ladle.cli.main import run as ladle_command
from ladle.core.errors import ArgumentError
from ladle.feed import Arrays
from ladle.report import write_report

linear_model = pytest.importorskip("sklearn.linear_model")


def classes(rows: int = 400) -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    return ladle.data.arrays(x, np.where(x @ [2.0, -1.0, 1.0, 0.0] + 0.3 * rng.normal(size=rows) > 0, "yes", "no"))


def test_a_linear_model_that_beats_the_network_is_said_to(tmp_path: Path):
    data = classes()
    task = ladle.Task(ladle.models.mlp(4, 16, 2), None, data, lr=1e-5)
    run = ladle.fit(task, 64, until="1 epochs", out=tmp_path / "run")
    found = run.baselines()
    row = found.table[0]
    assert found.value == pytest.approx(run.final["valid_accuracy"])
    assert found.also["log_loss"] == pytest.approx(run.final["valid_loss"], rel=1e-5)
    own = linear_model.LogisticRegression(max_iter=1000).fit(data.train["x"], data.train["y"])
    assert row["value"] == pytest.approx(own.score(data.valid["x"], data.valid["y"]))
    right = own.predict(data.valid["x"]) == data.valid["y"]
    apart = (run.predict(data.valid["x"]) == np.array(data.classes)[data.valid["y"]]).astype(float) - right
    assert row["difference"] == pytest.approx(apart.mean())
    assert row["error"] == pytest.approx(apart.std(ddof=1) / np.sqrt(len(apart)))
    assert row["verdict"] == "worse"
    assert row["sentence"].startswith("Logistic regression is better than the mlp 4-16-2: accuracy 0.9")
    assert f"over {len(apart)} validation rows" in str(found)
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["baselines"]
    assert kept["table"][0]["sentence"] == row["sentence"]
    assert "Logistic regression is better than" in write_report(tmp_path / "run").read_text()
    assert "&lt;" not in found._repr_html_() and found._repr_html_().count("<p>") == 2


def test_amounts_are_judged_in_their_own_unit():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (500, 1)).astype(np.float32)
    data = ladle.data.arrays(x, 1000 + 200 * x[:, 0] ** 2)
    run = ladle.fit(ladle.Task(ladle.models.linear(1, 1), None, data, optimizer="sgd"), 64, until="5 epochs")
    found = run.baselines()
    assert found.metric == "rmse"
    assert found.value == pytest.approx(np.sqrt(run.final["valid_squared_error"]) * data.target_sd, rel=1e-5)
    assert found.also["absolute_error"] == pytest.approx(run.final["valid_absolute_error"] * data.target_sd, rel=1e-5)
    ridge, boosting = found.table
    assert ridge["verdict"] == "not told apart" and "cannot be told apart" in ridge["sentence"]
    assert boosting["verdict"] == "worse" and "root mean squared error" in boosting["sentence"]


def test_the_best_size_is_held_against_them_seeds_together():
    task = ladle.Task(ladle.models.linear(4, 2), None, classes(200))
    runs = [[ladle.fit(task, size, until="1 epochs", seed=seed) for seed in (0, 1)] for size in (16, 64)]
    losses = [float(np.mean([run.final["valid_loss"] for run in of])) for of in runs]
    rows = [{"name": name, "valid_loss": loss} for name, loss in zip(("16", "64"), losses, strict=True)]
    found = baselines_of_best(rows, runs)
    assert found is not None
    best = int(np.argmin(losses))
    assert found.name == f"the {runs[0][0].assembly.objective.name} (size {rows[best]['name']}, mean of 2 seeds)"
    assert found.value == pytest.approx(np.mean([run.final["valid_accuracy"] for run in runs[best]]))
    assert found.note.startswith(f"Size {rows[best]['name']} is the best of 2")
    assert baselines_of_best([{"name": "16", "valid_loss": None}], runs[:1]) is None


@pytest.mark.long
def test_compare_holds_its_best_size_against_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    # Memory is measured in a process of its own, which has nothing to do with this and takes seconds.
    monkeypatch.setattr(compare_, "peaks_of", lambda assembly, entrants: [None] * len(entrants))
    data = classes(200)
    np.savez(tmp_path / "rows.npz", x=np.concatenate([data.train["x"], data.valid["x"]]), y=np.arange(200) % 2)
    said = ["compare", str(tmp_path / "rows.npz"), "--target", "y", "--sizes", "16,64", "--seeds", "2", "--epochs", "1"]
    code = ladle_command(
        [*said, "--lr", "rule", "--model", "linear", "--baselines", "--out", str(tmp_path / "c"), "--json"]
    )
    made = json.loads(capsys.readouterr().out)
    assert code == 0
    best = min(made["runs"], key=lambda row: row["valid_loss"])
    assert made["baselines"]["name"].endswith(f"(size {best['name']}, mean of 2 seeds)")
    assert made["baselines"]["value"] == pytest.approx(best["valid_metric"])
    assert (
        made["baselines"]["note"] == f"Size {best['name']} is the best of 2 on these rows, which favours it a little."
    )
    page = (tmp_path / "c" / "report.html").read_text()
    assert "Beside scikit-learn" in page and made["baselines"]["note"] in page


def test_train_says_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = classes(100)
    np.savez(tmp_path / "rows.npz", x=data.train["x"], y=data.train["y"])
    said = ["train", str(tmp_path / "rows.npz"), "--target", "y", "--size", "16", "--until", "1 epochs"]
    assert ladle_command([*said, "--model", "linear", "--baselines", "--out", str(tmp_path / "r")]) == 0
    assert "logistic regression" in capsys.readouterr().out.lower()
    again = ["train", "--resume", str(tmp_path / "r"), "--until", "2 epochs", "--json"]
    assert ladle_command(again) == 0
    assert len(json.loads(capsys.readouterr().out)["baselines"]["table"]) == 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"data": lambda: ladle.data.streamed(Arrays({"x": np.zeros((4, 1), np.float32), "y": np.arange(4) % 2}))},
         "be asked of data in memory"),
        ({"data": lambda: ladle.data.arrays(np.arange(12.0).reshape(6, 2), np.arange(12.0).reshape(6, 2))},
         "be asked of one target a row"),
        ({"feed": lambda: lambda seed: None}, "be asked of data in memory"),
    ],
)  # fmt: skip
def test_what_no_plain_model_can_be_fitted_to_is_refused_first(changed: dict[str, Any], says: str):
    given = {"data": classes(20), **{name: make() for name, make in changed.items()}}
    with pytest.raises(ArgumentError, match=says):
        require_baselines(ladle.Task(ladle.models.linear(1, 1), None, **given))
