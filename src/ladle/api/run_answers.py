"""What a run's model says of its validation and test rows, kept in a small file of its folder for the report.

answers.npz     plain arrays, nothing pickled:
  classes       names, `U[classes]`; none for amounts
  PART_truth    i64[rows] numbers of classes, or f64[rows] amounts in the target's own unit; PART is valid or test
  PART_answers  i64[rows] or f64[rows], the same
  PART_chances  f32[rows, classes], where outputs are log chances
  PART_of       how many rows the part has; fewer than that were drawn at random where it has many
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ladle.api.answers import answers, chances, class_numbers
from ladle.api.assembly import Assembly
from ladle.api.form import Form
from ladle.api.run_model import model_of
from ladle.core import record

MOST_NUMBERS = 2**20
"""Outputs of a part that are kept, at most: 4 MB."""
MOST_ROWS = 100_000
"""Rows of a part that are kept, at most."""


def keep_answers(assembly: Assembly, state: Any, folder: Path) -> tuple[str, ...]:
    """Write `answers.npz` into a run's folder; a sentence where that was not possible.

    Nothing is written for tasks without a `predict`, and for targets of several numbers a row.
    """
    data = assembly.task.data
    parts = {name: getattr(data, name, None) for name in ("valid", "test")}
    asked = {name: dict(part) for name, part in parts.items() if part is not None and _single(part)}
    if not assembly.objective.predicts or not asked:
        return ()
    form = model_of(assembly, state, {}).form
    made: dict[str, np.ndarray] = {"classes": np.array(form.classes, str)}
    try:
        for name, part in asked.items():
            made |= {f"{name}_{key}": value for key, value in _judged(assembly, state, form, part).items()}
        _write(folder / record.ANSWERS_FILE, made)
    except Exception as error:  # A model may not take rows so, or the disk be full; the run is sound all the same.
        said = " ".join(str(error).split()) or type(error).__name__
        return (f"predictions are not in the report: {said}",)
    return ()


def _write(path: Path, made: dict[str, np.ndarray]) -> None:
    """All of the file, or none of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **made)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def forget_answers(folder: Path | None) -> None:
    """Remove what an earlier sitting kept: a run that goes on says something else soon."""
    if folder is not None:
        (folder / record.ANSWERS_FILE).unlink(missing_ok=True)


def _single(part: Any) -> bool:
    """Whether a part has inputs and one target a row, and any rows."""
    if not isinstance(part, Mapping) or not {"x", "y"} <= set(part):
        return False
    shape = np.shape(part["y"])
    return len(shape) == 1 and shape[0] > 0


def _judged(assembly: Assembly, state: Any, form: Form, part: Mapping[str, Any]) -> dict[str, np.ndarray]:
    of = len(part["y"])
    rows = _sampled(of, max(len(form.classes), 1))
    x = part["x"] if len(rows) == of else _taken(part["x"], rows)
    outputs = np.asarray(assembly.engine.predict(state, x))
    truth = np.asarray(part["y"])[rows]
    size = {"of": np.array(of)}
    if form.kind == "regression":
        own = truth.astype(np.float64) * form.target_sd + form.target_mean
        return {"truth": own, "answers": answers(form, outputs), **size}
    made = {"truth": truth.astype(np.int64), "answers": class_numbers(form, outputs), **size}
    if form.loss in ("cross_entropy", "binary_cross_entropy"):
        made["chances"] = chances(form, outputs).astype(np.float32)
    return made


def _sampled(rows: int, width: int) -> np.ndarray:
    """Which rows are kept: all of them, or as many drawn at random, always the same."""
    most = max(min(MOST_ROWS, MOST_NUMBERS // width), 1)
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _taken(x: Any, rows: np.ndarray) -> Any:
    if isinstance(x, Mapping):
        return {name: _taken(leaf, rows) for name, leaf in x.items()}
    if isinstance(x, tuple):
        return tuple(_taken(leaf, rows) for leaf in x)
    return x[rows]
