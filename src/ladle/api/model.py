"""`Model`: a trained model without its training data: what it can be asked, and how it is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ladle.api.answers import answers, chances
from ladle.api.export import export
from ladle.api.form import Form
from ladle.api.model_files import save
from ladle.api.rows import as_inputs, as_rows
from ladle.core.backend import Engine
from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class Model:
    """A trained model. Made by `ladle.load(folder)`, or `run.model`.

    - `form`: what its rows look like and what its outputs mean. `description`: the model itself, as JSON.
    - `facts`: notes on the data, versions, how its run ended, what it was made by.

    >>> import ladle, tempfile
    >>> data = ladle.data.load("digits")
    >>> run = ladle.fit(ladle.Task(ladle.models.linear(64, 10), None, data), size=64, until="1 epochs")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = run.save(folder + "/model")
    ...     again = ladle.load(made)
    >>> bool((again.predict(data.valid["x"]) == run.predict(data.valid["x"])).all())
    True
    """

    form: Form
    description: Mapping[str, Any] = field(repr=False)
    engine: Engine = field(repr=False)
    state: Any = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    judges: bool = field(default=True, repr=False)

    @property
    def classes(self) -> np.ndarray:
        """Names of the classes by number, in the order of `predict_proba`'s columns."""
        return self.form.names

    def outputs(self, x: Any) -> np.ndarray:
        """The model's own outputs, logits or standardised amounts, for encoded inputs: `f32[rows, outputs]`.

        - `x`: arrays of whatever library in the form of the data that the model was trained on, such as
          `data.valid["x"]`. Bytes are divided by 255 where those of the data were. Raises `DataError` for what cannot
          be read so, and for a frame of a table's raw cells.
        """
        return self.engine.predict(self.state, as_inputs(x, self.form.like))

    def predict(self, rows: Any) -> np.ndarray:
        """What the model says of each row: `[rows]` names of classes, or amounts in their own unit.

        - `rows`: as the user has them. Of a table: a frame, a path, a mapping of columns, a list of rows; columns are
          found by name, others left alone, missing cells filled and unknown categories taken as unknown. Of arrays:
          arrays of whatever library, or the path of some.

        Classes whose names are all whole numbers come as whole numbers. Raises `DataError` for a cell that cannot be
        read, with row and column.
        """
        return answers(self.form, self._asked(rows)[0])

    def predict_proba(self, rows: Any) -> np.ndarray:
        """The chance of each class, `f64[rows, classes]`, in the order of `classes`. See `predict` for `rows`.

        Raises `ArgumentError` for amounts, and for a loss whose outputs are no log chances.
        """
        return chances(self.form, self._asked(rows)[0])

    def answered(self, rows: Any) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
        """Predictions, chances (None where there are none), and what is to be said of the rows."""
        outputs, remarks = self._asked(rows)
        known = self.form.kind == "classification" and self.form.loss in ("cross_entropy", "binary_cross_entropy")
        return answers(self.form, outputs), chances(self.form, outputs) if known else None, remarks

    def evaluate(self, rows: Any) -> dict[str, float]:
        """Mean loss and metrics on `rows`, each counted once: `{"loss": ..., "accuracy": ...}`.

        - `rows`: `{"x": ..., "y": ...}` such as `data.test`, in the form of the task's own data (targets of a
          regression standardised); arrays of whatever library, all of one length.

        Raises `ArgumentError` where the loss is a user's, which no folder holds; `DataError` as `predict` does.
        """
        if not self.judges:
            why = "the run's loss was a function of the user's, and a folder holds no code"
            raise ArgumentError(must("evaluate", "be asked of a loss of ladle's", "another", why, "run.evaluate"))
        return self.engine.evaluate(self.state, as_rows(rows, self.form.like), prefix="")

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the model into the new folder `folder`; see `ladle.api.model_files`. Returns its path.

        Raises `ArgumentError` where something is there already.
        """
        return save(self, Path(folder), overwrite=overwrite)

    def export(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the outputs as a program for others; see `ladle.api.export`. Returns the folder."""
        return export(self, Path(folder), overwrite=overwrite)

    def _asked(self, rows: Any) -> tuple[np.ndarray, tuple[str, ...]]:
        x, remarks = self.form.read(rows)
        return self.engine.predict(self.state, x), remarks
