"""What a run's model said of its validation and test rows, read from the answers.npz of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.record import ANSWERS_FILE

PARTS = {"valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Judged:
    """Answers beside the truth for the rows of one part.

    - `part`: "validation" or "test". `of`: how many rows it has, of which these are all or a random sample.
    - `truth`, `answers`: `i64[rows]` numbers of `classes`, or `f64[rows]` amounts. `chances`: `f32[rows, classes]`.
    """

    part: str
    classes: tuple[str, ...]
    truth: np.ndarray
    answers: np.ndarray
    of: int
    chances: np.ndarray | None = None

    @property
    def rows_said(self) -> str:
        """How many rows these are, in words."""
        rows = len(self.truth)
        sampled = "" if rows == self.of else f", drawn at random from {self.of:,}"
        return f"{rows:,} {self.part} rows{sampled}"


def load_judged(folder: Path) -> tuple[Judged, ...]:
    """Of the run in `folder`, one for each part; none where it kept no answers.

    Raises `ArgumentError` for a file that is damaged, or holds something else. Nothing in it is ever run.
    """
    path = folder / ANSWERS_FILE
    if not path.is_file():
        return ()
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        return tuple(_part(held, name) for name in PARTS if f"{name}_truth" in held)
    except (OSError, ValueError, TypeError, KeyError, BadZipFile, EOFError, MemoryError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        remedy = f"removing {ANSWERS_FILE}, which holds predictions alone"
        raise ArgumentError(must("folder", f"hold a sound {ANSWERS_FILE}", str(folder), said, remedy)) from None


def _part(held: Mapping[str, Any], name: str) -> Judged:
    classes = tuple(str(one) for one in held["classes"])
    truth, answers = held[f"{name}_truth"], held[f"{name}_answers"]
    chances = held.get(f"{name}_chances")
    rows = len(truth)
    kind = "iu" if classes else "f"
    sound = truth.shape == answers.shape == (rows,) and rows > 0 and {truth.dtype.kind, answers.dtype.kind} <= set(kind)
    if sound and classes:
        sound = all(of.min() >= 0 and of.max() < len(classes) for of in (truth, answers))
        sound = sound and (chances is None or chances.shape == (rows, len(classes)))
        sound = sound and (chances is None or bool(((chances >= 0) & (chances <= 1)).all()))
    if not sound or not np.isfinite(truth).all() or not np.isfinite(answers).all():
        raise ValueError(f"{name} rows and answers do not belong together")
    return Judged(PARTS[name], classes, truth, answers, int(held[f"{name}_of"]), chances)
