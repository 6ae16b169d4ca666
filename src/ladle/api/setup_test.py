"""What a run may not go on with: options that make another state, or another run, than the one in the folder."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ladle

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
DATA = ladle.data.arrays(X, (X[:, 0] > 0).astype(int))
MODEL = ladle.models.mlp(4, 4, 2)
ASKED = {"clip": 1.0, "ema": 0.9, "frozen": "0.bias", "no_decay": "*bias", "precision": "bf16"}


def go(folder, until: str, options, resume: bool = False):
    task = ladle.Task(MODEL, "cross_entropy", DATA, optimizer="adamw", lr=0.01, **options)
    return ladle.fit(task, size=16, until=until, out=folder, resume=resume)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    folders = {name: tmp_path_factory.mktemp("runs") / name for name in ("plain", "asked")}
    go(folders["plain"], "1 steps", {})
    go(folders["asked"], "1 steps", ASKED)
    return folders


@pytest.mark.parametrize(
    ("name", "value", "was"),
    [
        ("clip", 1.0, "None"),
        ("clip_value", 1.0, "None"),
        ("ema", 0.9, "None"),
        ("frozen", "0", r"\[\]"),
        ("no_decay", "*bias", r"\[\]"),
        ("precision", "bf16", "'f32'"),
        ("precision", "fp16", "'f32'"),
    ],
)
def test_a_run_does_not_go_on_with_what_it_did_not_begin_with(begun, name: str, value, was: str):
    said = f"{name} must be what the run began with; got .*; because another run would follow .*; try {name}={was}"
    with pytest.raises(ladle.ArgumentError, match=said):
        go(begun["plain"], "2 steps", {name: value}, resume=True)


@pytest.mark.parametrize("name", list(ASKED))
def test_a_run_does_not_go_on_without_what_it_began_with(begun, name: str):
    rest = {other: value for other, value in ASKED.items() if other != name}
    with pytest.raises(ladle.ArgumentError, match=f"{name} must be what the run began with"):
        go(begun["asked"], "2 steps", rest, resume=True)


def test_bounds_and_decay_may_be_others_when_a_run_goes_on(begun):
    facts = json.loads((begun["asked"] / "run.json").read_text())
    assert {name: facts[name] for name in ("clip", "ema", "frozen", "no_decay")} == {
        "clip": 1.0, "ema": 0.9, "frozen": ["0.bias"], "no_decay": ["*bias"],
    }  # fmt: skip
    run = go(begun["asked"], "2 steps", {**ASKED, "clip": 0.5, "ema": 0.8}, resume=True)
    held = {name: float(run.state.hyper[name]) for name in ("clip", "ema")}
    assert held == pytest.approx({"clip": 0.5, "ema": 0.8})


def test_a_folder_of_an_earlier_ladle_goes_on(begun):
    path = begun["plain"] / "run.json"
    facts = json.loads(path.read_text())
    assert not {"clip", "ema", "frozen", "no_decay", "precision"} & set(facts)  # As every folder had it before.
    assert go(begun["plain"], "2 steps", {}, resume=True).status == "finished"


@pytest.mark.parametrize("name", ["window", "evaluate_every"])
@pytest.mark.parametrize(("value", "be"), [("1 epochs", "a whole number"), (0, "at least 1"), (2.5, "a whole number")])
def test_what_is_counted_in_examples_is_a_number_of_them(name: str, value: object, be: str):
    task = ladle.Task(MODEL, "cross_entropy", DATA, lr=0.01)
    with pytest.raises(ladle.ArgumentError, match=f"^{name} must be {be}; got {value!r}; because "):
        ladle.fit(task, size=16, until="1 epochs", **{name: value})
