from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
import ladle.api.run_answers as run_answers
from ladle.core.record import ANSWERS_FILE
from ladle.report.judged import load_judged


def classes(**more: Any) -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3)).astype(np.float32)
    return replace(ladle.data.arrays(x, np.where(x[:, 0] > 0, "yes", "no")), **more)


def run_of(data: Any, out: Path | None, **more: Any) -> Any:
    task = ladle.Task(ladle.models.linear(3, data.outputs), None, data, **more)
    return ladle.fit(task, 32, until="2 epochs", out=out)


def test_what_is_kept_is_what_the_run_predicts_of_both_parts(tmp_path: Path):
    data = classes()
    data = replace(data, test={"x": data.train["x"][:10], "y": data.train["y"][:10]})
    run = run_of(data, tmp_path / "r")
    valid, test = load_judged(tmp_path / "r")
    names = np.array(valid.classes)
    assert (valid.part, valid.of, test.part, test.of) == ("validation", 24, "test", 10)
    for part, rows in ((valid, data.valid), (test, data.test)):
        assert part.chances is not None
        np.testing.assert_array_equal(names[part.answers], run.predict(rows["x"]))
        np.testing.assert_allclose(part.chances, run.predict_proba(rows["x"]), rtol=1e-6)
        np.testing.assert_array_equal(part.truth, rows["y"])


def test_amounts_are_in_their_own_unit(tmp_path: Path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3)).astype(np.float32)
    data = ladle.data.arrays(x, 5000 + 100 * x[:, 0])
    run = run_of(data, tmp_path / "r")
    (valid,) = load_judged(tmp_path / "r")
    np.testing.assert_allclose(valid.answers, run.predict(data.valid["x"]))
    np.testing.assert_allclose(valid.truth, 5000 + 100 * data.valid["x"][:, 0], rtol=1e-6)


def test_of_many_rows_a_sample_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_answers, "MOST_NUMBERS", 20)
    data = classes()
    run = run_of(data, tmp_path / "r")
    (valid,) = load_judged(tmp_path / "r")
    assert (len(valid.truth), valid.of) == (10, 24)
    every = run.predict_proba(data.valid["x"])
    assert valid.chances is not None
    assert all(np.isclose(every, row, rtol=1e-6).all(1).any() for row in valid.chances)


def test_a_run_that_goes_on_forgets_what_it_kept_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run_of(classes(), tmp_path / "r")
    assert (tmp_path / "r" / ANSWERS_FILE).exists()
    # As in a sitting that is interrupted, nothing is kept at its end.
    monkeypatch.setattr("ladle.api.sitting.keep_answers", lambda *_: ())
    task = ladle.Task(ladle.models.linear(3, 2), None, classes())
    ladle.fit(task, 32, until="3 epochs", out=tmp_path / "r", resume=True)
    assert not (tmp_path / "r" / ANSWERS_FILE).exists()


def test_a_run_in_memory_predicts_nothing(monkeypatch: pytest.MonkeyPatch):
    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("ladle.api.sitting.keep_answers", never)
    run_of(classes(), None)


def test_targets_of_several_numbers_and_tasks_without_predict_keep_nothing(tmp_path: Path):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    run_of(ladle.data.arrays(x, x[:, :2] * 2.0), tmp_path / "many")
    assert not (tmp_path / "many" / ANSWERS_FILE).exists()
    task = ladle.Task.functions(
        lambda key: {"w": np.zeros(3, np.float32)},
        lambda params, batch, key: (batch["x"] @ params["w"]) ** 2,
        classes(),
    )
    ladle.fit(task, 32, until="1 epochs", out=tmp_path / "none")
    assert not (tmp_path / "none" / ANSWERS_FILE).exists()


def test_a_model_that_cannot_be_asked_so_ends_no_run(tmp_path: Path):
    def predict(params: Any, x: Any) -> Any:
        if len(x) > 1:
            raise KeyError("neighbours")
        return x

    task = ladle.Task.functions(
        lambda key: {"w": np.zeros(3, np.float32)},
        lambda params, batch, key: (batch["x"] @ params["w"]) ** 2,
        classes(),
        predict=predict,
    )
    said: list[str] = []

    class Heard:
        def append(self, line: Any) -> None: ...

        def message(self, text: str) -> None:
            said.append(text)

        def close(self) -> None: ...

    run = ladle.fit(task, 32, until="1 epochs", out=tmp_path / "r", sinks=[Heard()])
    assert run.status == "finished"
    assert [one for one in said if "predictions are not in the report" in one]


def test_a_disk_that_is_full_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(file: Any, **_: Any) -> None:
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_answers.np, "savez", full)
    assert run_of(classes(), tmp_path / "r").status == "finished"
    assert not [path.name for path in (tmp_path / "r").iterdir() if ANSWERS_FILE in path.name]
