"""A torch task from Python: found by itself, trained, asked, saved and loaded; and from a task file."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import ladle
from ladle.api.backend import backend_of
from ladle.api.options import TaskOptions
from ladle.api.request import Request, begin, resume
from ladle.api.serve import ServedModel
from ladle.cli.main import run as main
from ladle.torch.objective import known_loss, objective

X = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)
DATA = ladle.data.arrays(X, Y)


def make() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def own(model: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")


@pytest.mark.parametrize(
    ("model", "loss", "name"),
    [
        (make, None, "torch"),
        (make(), "cross_entropy", "torch"),
        (nn.Identity, None, "torch"),
        (make, nn.CrossEntropyLoss(), "torch"),
        (ladle.models.linear(4, 3), "cross_entropy", "jax"),
        (lambda key: None, None, "jax"),
    ],
)
def test_the_backend_is_found_by_the_model(model: Any, loss: Any, name: str):
    assert backend_of(ladle.Task(model, loss, DATA)).name == name


@pytest.mark.parametrize("loss", [None, nn.CrossEntropyLoss(), own])
def test_a_model_is_saved_and_loaded(loss: Any, tmp_path: Path):
    optimizer = lambda p: torch.optim.AdamW(p, lr=1e-2)  # noqa: E731
    task = ladle.torch.task(make, loss, DATA, optimizer=optimizer)
    assert task.optimizer_name == "adamw"
    run = ladle.fit(task, size=16, until="3 epochs", out=tmp_path / "run")
    assert run.final["train_loss"] < run.metrics[1]["train_loss"] and run.assembly.lr(64) == 1e-2
    model = make()
    model.load_state_dict(run.params)
    for again in (
        ladle.load(run.save(tmp_path / "model"), model=make),
        ladle.load(tmp_path / "run", model=make()),
        ladle.load(tmp_path / "model", model=task),
    ):
        assert (again.outputs(X) == run.outputs(X)).all() and (again.predict(X) == run.predict(X)).all()
        assert (again.outputs(X) == model.eval()(torch.from_numpy(X)).detach().numpy()).all()
    if loss is None:
        assert again.evaluate({"x": X, "y": Y}) == run.evaluate({"x": X, "y": Y})
    with pytest.raises(ladle.ArgumentError, match="torch module of your own"):
        ladle.load(tmp_path / "model")


def houses(path: Path) -> Path:
    """A number and two categories, one of them of many levels, with cells missing."""
    rng = np.random.default_rng(0)
    lines = ["area,town,code,price"]
    for i in range(240):
        area, town = f"{rng.uniform(30, 200):.1f}" if i % 17 else "", "abc"[i % 3] if i % 13 else ""
        lines.append(f"{area},{town},k{i % 40},{'dear' if rng.random() < 0.5 else 'cheap'}")
    path.write_text("\n".join(lines) + "\n")
    return path


ROWS = {"town": ["b", "elsewhere", None], "beside": [1, 2, 3], "area": [50.0, None, 90.5], "code": ["k3", None, "z"]}
PIXELS = np.random.default_rng(2).integers(0, 256, (60, 8, 8)).astype(np.uint8)
OWN = """
import numpy as np, torch, ladle
from torch import nn

class Net(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 3)
        self.drop = nn.Dropout(0.3)
        self.register_buffer("scale", torch.arange(1, 5) / 4)
    def forward(self, x):
        return self.two(self.drop(torch.relu(self.norm(self.one(x * self.scale)))))

X = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
task = ladle.torch.task(Net, nn.CrossEntropyLoss(), ladle.data.arrays(X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models table, images and own, and the run of table."""
    return tmp_path_factory.mktemp("torch")


@pytest.fixture(scope="module")
def table(place: Path) -> ladle.Run:
    data = ladle.data.load(houses(place / "houses.csv"), target="price")
    assert data.cardinalities == (41,)
    model = ladle.torch.tabular(*data.input_shape, data.cardinalities, outputs=2, hidden=(8,), dropout=0.1)
    run = ladle.fit(ladle.Task(model, None, data), size=32, until="2 epochs", out=place / "run")
    run.save(place / "table")
    return run


@pytest.fixture(scope="module")
def images(place: Path) -> ladle.Run:
    task = ladle.torch.task(ladle.torch.convnet((8, 8), 3, width=4), nn.CrossEntropyLoss(), (PIXELS, np.arange(60) % 3))
    run = ladle.fit(task, size=20, until="2 epochs")
    run.save(place / "images")
    return run


@pytest.fixture(scope="module")
def ones_own(place: Path) -> ladle.Run:
    (place / "own_net.py").write_text(OWN)
    made: dict[str, Any] = {}
    exec(OWN, made)
    run = ladle.fit(made["task"], size=20, until="2 epochs")
    run.save(place / "own")
    return run


def test_all_of_them_in_another_process_without_jax(
    table: ladle.Run, images: ladle.Run, ones_own: ladle.Run, place: Path, fresh_python: Callable[..., str]
) -> None:
    np.save(place / "x.npy", PIXELS[:7])
    code = f"""
import json, os, sys, ladle
os.chdir({str(place)!r})
sys.path.insert(0, ".")
import own_net
asked = [("table", None, {ROWS!r}), ("run", None, {ROWS!r}), ("images", None, "x.npy")]
asked += [("own", model, own_net.X) for model in (own_net.Net, own_net.Net(), "own_net.py:task")]
print(json.dumps([ladle.load(f, model=m).predict_proba(x).tobytes().hex() for f, m, x in asked]))
assert "jax" not in sys.modules
"""
    mine = [table.predict_proba(ROWS)] * 2 + [images.predict_proba(PIXELS[:7])] + [ones_own.predict_proba(X)] * 3
    assert json.loads(fresh_python(code).splitlines()[-1]) == [one.tobytes().hex() for one in mine]


def test_judged_again(table: ladle.Run, images: ladle.Run, place: Path) -> None:
    for run, folder in ((table, "table"), (table, "run"), (images, "images")):
        valid = run.assembly.task.data.valid
        assert ladle.load(place / folder).evaluate(valid) == run.evaluate(valid)


def test_refused_rows_and_modules(images: ladle.Run, ones_own: ladle.Run, place: Path) -> None:
    with pytest.raises(ladle.ArgumentError, match="x must be images of shape"):
        images.outputs(PIXELS[:, :7])
    with pytest.raises(ladle.ArgumentError, match="x must be rows that the model takes"):
        ones_own.outputs(X[:, :3])
    with pytest.raises(ladle.CheckpointError, match="has shape .* and the model"):
        ladle.load(place / "own", model=lambda: type(ones_own.assembly.task.model())(7))


def test_the_command_line_and_a_program_alone(
    table: ladle.Run, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "new.csv").write_text("code,area,town\nk3,50,b\nz,,nowhere\n")
    for verb in ("predict {0}/table {0}/new.csv -o {0}/out.csv", "export {0}/table {0}/program"):
        assert main(shlex.split(verb.format(place))) == 0
    assert (place / "out.csv").read_text().startswith("price,chance of cheap,chance of dear\n")
    facts = json.loads((place / "program" / "export.json").read_text())
    assert facts["rows"] == "any" and facts["weights"] == [] and facts["program"]["file"] == "program.pt2"
    x = {name: leaf[:5] for name, leaf in table.assembly.task.data.valid["x"].items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of torch's own, about its own parts.
        program = torch.export.load(place / "program" / "program.pt2").module()
    alone = program({name: torch.from_numpy(leaf) for name, leaf in x.items()}).detach().numpy()
    assert alone.tobytes() == table.outputs(x).tobytes()


def test_a_served_model_answers_as_it_does_by_itself(table: ladle.Run, place: Path) -> None:
    served = ServedModel(ladle.load(place / "table"), "m")
    inputs, count, _ = served.read({name: ROWS[name] for name in ("area", "town", "code")})
    answer = served.answer(served.compute(inputs))
    assert count == 3 and (answer.predictions == table.predict(ROWS)).all()
    assert answer.chances is not None and (answer.chances == table.predict_proba(ROWS)).all()


@pytest.mark.long
def test_images_and_modules_are_exported_too(images: ladle.Run, ones_own: ladle.Run, tmp_path: Path) -> None:
    for run in (images, ones_own):
        folder = run.model.export(tmp_path / run.model.description["model"]["kind"])
        assert json.loads((folder / "export.json").read_text())["rows"] == "any"


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (nn.CrossEntropyLoss(), "cross_entropy"),
        (functional.cross_entropy, "cross_entropy"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), None),
        (nn.CrossEntropyLoss(weight=torch.ones(3)), None),
        (nn.CrossEntropyLoss(ignore_index=0), None),
        (nn.BCEWithLogitsLoss(), "binary_cross_entropy"),
        (nn.BCEWithLogitsLoss(pos_weight=torch.ones(1)), None),
        (nn.HuberLoss(), "huber"),
        (nn.HuberLoss(delta=2.0), None),
        (nn.MSELoss(), "mse"),
        (nn.L1Loss(), None),
        (own, None),
    ],
)
def test_losses_of_torch_that_are_ladles_own_are_kept(loss: Any, name: str | None) -> None:
    assert known_loss(objective(make, loss, None, "classification").function) == name


def test_statistics_of_batch_norm_are_not_counted_anew(images: ladle.Run) -> None:
    with pytest.raises(ladle.ArgumentError, match="reestimate must be left out with PyTorch"):
        images.reestimated()


def test_a_module_with_branches_on_values_is_not_exported(tmp_path: Path) -> None:
    class Branching(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if float(x.sum()) > 0 else -super().forward(x)

    run = ladle.fit(ladle.Task(lambda: Branching(4, 3), None, DATA), size=40, until="1 epochs")
    with pytest.raises(ladle.ArgumentError, match="model must be one that torch can export"):
        run.model.export(tmp_path / "program")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: ladle.torch.mlp(3), "widths must be 2 or more whole numbers"),
        (lambda: ladle.torch.mlp(3, 0, 2), "each at least 1"),
        (lambda: ladle.torch.mlp(3, 2, activation="rel"), "'relu'"),
        (lambda: ladle.torch.mlp(3, 2, dropout=1.0), "dropout must be in"),
        (lambda: ladle.torch.mlp(4, 8, 2, norm="bach"), "norm must be a known name or None"),
        (lambda: ladle.torch.mlp(4, 2, norm="layer"), "norm must be None for two widths"),
        (lambda: ladle.torch.mlp(4, 12, 2, norm="group"), "groups must divide 12; got 8"),
        (lambda: ladle.torch.convnet((8, 8), 2, norm="rms"), "norm must be a known name or None; got 'rms'"),
        (lambda: ladle.torch.convnet((3, 8), 2), "sides of 4 or more"),
        (lambda: ladle.torch.tabular(3, (), outputs=2), "cardinalities must be 1 or more"),
        (lambda: ladle.torch.mlp(10**13, 10**13, 2).shapes(), "whole numbers"),
    ],
)
def test_built_in_models_that_cannot_be(made: Callable[[], Any], why: str) -> None:
    with pytest.raises(ladle.ArgumentError, match=why):
        made()


def test_amounts_and_tables_are_learnt(tmp_path: Path):
    data = ladle.data.arrays(X, X[:, 0] * 2 + X[:, 1])
    task = ladle.Task(lambda: nn.Linear(4, 1), None, data, optimizer="adam", lr=0.05)
    run = ladle.fit(task, size=16, until="20 epochs")
    assert run.final["valid_squared_error"] < 0.05 and run.predict(X[:3]).shape == (3,)


def test_a_task_file_is_trained_and_resumed(tmp_path: Path):
    text = "import torch, ladle\nfrom torch import nn\n"
    text += "task = ladle.torch.task(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), None, 'digits', lr=0.01)\n"
    (tmp_path / "mine.py").write_text(text)
    request = Request(TaskOptions(f"{tmp_path / 'mine.py'}:task"), size="64", until="1 epochs")
    begin(request, tmp_path / "run", show=False, every_seconds=30.0)
    run = resume(request.changed(None, None, None, "2 epochs"), tmp_path / "run", show=False, every_seconds=30.0)
    assert run.status == "finished" and run.final["epoch"] == 2.0


@pytest.mark.parametrize(
    ("task", "how", "why"),
    [
        (lambda: ladle.Task(lambda: nn.Linear(5, 3), None, DATA), {}, "model must take the data's rows"),
        (lambda: ladle.Task(lambda: nn.Linear(4, 1), None, DATA), {}, "have 3 outputs or more"),
        (
            lambda: ladle.Task(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), None, DATA),
            {"policy": "noise 8..64"},
            "not a sum over rows",
        ),
        (
            lambda: ladle.Task(make, lambda outputs, y: functional.cross_entropy(outputs, y.long()), DATA),
            {},
            "per_row",
        ),
        (lambda: ladle.Task(make, None, DATA, optimizer="lion"), {}, "torch.optim has no equal rule"),
        (lambda: ladle.Task(make, None, DATA), {"rebase": True}, "torch backend has none"),
    ],
)
def test_refusals(task: Any, how: Any, why: str):
    with pytest.raises(ladle.ArgumentError, match=why):
        ladle.fit(task(), **{"size": 8 if "policy" not in how else None, "until": "1 epochs", **how})
