"""`Form`: what rows a model is asked about look like, and what its outputs mean. All that is kept of the data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ladle.api.answers import named_classes
from ladle.api.asked import file_rows, require_finite, with_columns
from ladle.api.rows import as_inputs
from ladle.data.dataset import PIXELS
from ladle.data.kept import Kept


@dataclass(frozen=True)
class Form:
    """How rows become inputs and outputs become answers. JSON there and back.

    - `name`: of the data. `kind`: "classification" or "regression". `classes`: their names by number.
    - `loss`: the name of a loss of ladle's own, None for a user's: whether outputs are logits.
    - `inputs`: type and shape of a row, `{"dtype": "float32", "shape": [64]}`, or `{"of": {...}}` of several arrays;
      None where they are not known.
    - `pixels`: bytes are divided by 255. `columns`: names of a frame's columns that inputs were made of.
    - `target`, `target_mean`, `target_sd`: as in `ladle.data.Data`. `kept`: of a table, see `ladle.data.kept`.
    """

    name: str
    kind: str
    classes: tuple[str, ...] = ()
    loss: str | None = None
    inputs: Mapping[str, Any] | None = None
    pixels: bool = False
    columns: tuple[str, ...] = ()
    target: str | None = None
    target_mean: float = 0.0
    target_sd: float = 1.0
    kept: Kept | None = None

    @classmethod
    def of(cls, data: Any, loss: str | None) -> Form:
        """Of the data that a model was trained on."""
        parts = (getattr(data, part, None) for part in ("train", "valid"))
        x = next((part["x"] for part in parts if isinstance(part, Mapping) and "x" in part), None)
        return cls(
            str(getattr(data, "name", "data")),
            data.kind,
            tuple(getattr(data, "classes", ())),
            loss,
            _described(x),
            PIXELS in getattr(data, "notes", ()),
            tuple(getattr(data, "columns", ())),
            getattr(data, "target", None),
            float(getattr(data, "target_mean", 0.0)),
            float(getattr(data, "target_sd", 1.0)),
            getattr(data, "kept", None),
        )

    @cached_property
    def like(self) -> Any:
        """What stands for the data where inputs are read: no rows, of the right type and shape."""
        train = {} if self.inputs is None else {"x": _empty(self.inputs)}
        notes = (PIXELS,) if self.pixels else ()
        return SimpleNamespace(name=self.name, train=train, notes=notes, target=self.target)

    @property
    def names(self) -> np.ndarray:
        """The classes as they are answered: whole numbers where all of them are, else words."""
        return named_classes(self.classes)

    def read(self, rows: Any) -> tuple[Any, tuple[str, ...]]:
        """Inputs of rows as the user has them, and what is to be said of them.

        Raises `DataError` for what cannot be read, with row and column.
        """
        if self.kept is not None:
            from ladle.data.new_rows import new_rows  # Needs pyarrow.

            columns, count = new_rows(rows, self.kept)
            return self.kept.encoding.apply(columns, count), self.kept.remarks(columns)
        if isinstance(rows, str | Path):
            rows = file_rows(Path(rows), self)
        if self.columns:
            rows = with_columns(rows, self.columns)
        x = as_inputs(rows, self.like)
        require_finite(x)
        return x, ()

    def to_json(self) -> dict[str, Any]:
        kept = None if self.kept is None else self.kept.to_json()
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {**plain, "classes": list(self.classes), "columns": list(self.columns), "kept": kept}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Form:
        """Raises `KeyError`, `TypeError` or `ValueError` for what `to_json` did not write."""
        kept = None if value["kept"] is None else Kept.from_json(value["kept"])
        lists = {name: tuple(map(str, value[name])) for name in ("classes", "columns")}
        known: dict[str, Any] = {**{name: value[name] for name in _PLAIN}, **lists}
        made = cls(**known, kept=kept)
        if made.kind not in ("classification", "regression") or not (made.loss is None or _WORD.match(made.loss)):
            raise ValueError(f"{made.kind} under {made.loss} is no task")
        if not np.isfinite([float(made.target_mean), float(made.target_sd)]).all() or made.like is None:
            raise ValueError("amounts have no scale")
        return made


_PLAIN = ("name", "kind", "loss", "inputs", "pixels", "target", "target_mean", "target_sd")
_WORD = re.compile(r"\w+\Z")


def _described(x: Any) -> dict[str, Any] | None:
    if isinstance(x, Mapping):
        made = {str(key): _described(leaf) for key, leaf in x.items()}
        return None if None in made.values() else {"of": made}
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        return None
    return {"dtype": str(x.dtype), "shape": [int(size) for size in x.shape[1:]]}


def _empty(inputs: Mapping[str, Any]) -> Any:
    """Arrays of no rows; nothing is allocated, whatever the shape says."""
    if "of" in inputs:
        return {key: _empty(leaf) for key, leaf in inputs["of"].items()}
    if not re.match(r"(u?int|b?float|bool|complex)\d*\Z", inputs["dtype"]):
        raise ValueError(f"inputs of {inputs['dtype']}")
    return np.broadcast_to(np.zeros((), np.dtype(inputs["dtype"])), (0, *map(int, inputs["shape"])))
