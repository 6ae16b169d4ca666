"""`Decode`: events as arrays, in the form that the first events gave."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ladle.api.form import Form
from ladle.core.dialect import Spelling
from ladle.core.errors import DataError, ExampleError, must

LARGEST = float(np.finfo(np.float32).max)


def row_of(event: Any) -> Mapping[str, Any] | str:
    """An event as a row; or what is wrong with it."""
    if isinstance(event, bytes | str):
        try:
            event = json.loads(event)
        except (ValueError, RecursionError):
            return f"no JSON: {event[:60]!r}"
    if not isinstance(event, Mapping) or not event:
        return f"no object with names: {repr(event)[:60]}"
    if None in event:
        return f"more cells than columns: {repr(event[None])[:60]}"
    return {str(name): value for name, value in event.items()}


@dataclass(frozen=True)
class Decode:
    """Makes arrays of events as `form` says: `{"x": ..., "y": ...}`. Raises `ExampleError` for those it cannot read."""

    form: Form

    @cached_property
    def _classes(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.form.classes)}

    @cached_property
    def _plain(self) -> Plain | None:
        return Plain.of(self.form)

    def __call__(self, events: list[Any]) -> dict[str, Any]:
        rows, y, bad = [], [], {}
        for place, event in enumerate(events):
            row = row_of(event)
            label = None if isinstance(row, str) else self._label(row)
            if isinstance(row, str) or label is None or isinstance(label, str):
                bad[place] = row if isinstance(row, str) else label
            else:
                rows.append(row)
                y.append(label)
        if not bad:
            try:
                x = None if self._plain is None else self._plain(rows)
                x = self.form.read(rows)[0] if x is None else x
            except DataError as error:
                bad = self._unread(rows) or {0: str(error)}
            else:
                return {"x": x, "y": np.array(y, np.int32 if self.form.classes else np.float32)}
        raise ExampleError(must("event", "be readable", *_first(bad)), bad)

    def _label(self, row: Mapping[str, Any]) -> float | str:
        """The class or standardised amount of a row; or what is wrong with it."""
        form, cell = self.form, row.get(self.form.target or "")
        if cell is None or cell == "":
            return f"no {form.target}"
        text = str(cell).strip()
        if form.classes and text in self._classes:
            return self._classes[text]
        try:
            amount = float(text)
        except ValueError:
            amount = math.nan
        if form.classes:
            known = next((number for name, number in self._classes.items() if _is_number(name, amount)), None)
            return f"{form.target} {text[:40]!r}, which no first event has" if known is None else known
        return (amount - form.target_mean) / form.target_sd if math.isfinite(amount) else f"{form.target} {text[:40]!r}"

    def _unread(self, rows: list[Mapping[str, Any]]) -> dict[int, str]:
        """Which rows cannot be read, each asked for by itself."""
        bad = {}
        for place, row in enumerate(rows):
            try:
                self.form.read([row])
            except DataError as error:
                bad[place] = str(error)
        return bad


@dataclass(frozen=True)
class Plain:
    """Rows that are numbers in plain spelling, at once: what `Form.read` makes of them, at a fraction of the time.

    A batch of few rows costs a table's reading mostly what a table costs. A row that is not so plain is left to that.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, form: Form) -> Plain | None:
        """None where columns are more than plain numbers."""
        kept = form.kept
        if kept is None or kept.said != Spelling() or kept.encoding.words or kept.encoding.texts:
            return None
        numbers = kept.encoding.numbers
        kinds = [kept.kinds.get(one.name) for one in numbers]
        odd = any(one is not None and (one.type not in ("whole", "real") or one.reading != "plain") for one in kinds)
        if odd or any(one.date or one.missing for one in numbers):
            return None
        mean, sd = (np.array([getattr(one, name) for one in numbers]) for name in ("mean", "sd"))
        return cls(tuple(one.name for one in numbers), mean, sd)

    def __call__(self, rows: list[Mapping[str, Any]]) -> np.ndarray | None:
        """`f32[rows, columns]`, or None where a cell is not a plain number."""
        cells = [[row.get(name) for name in self.names] for row in rows]
        if any(type(cell) is str and "_" in cell for row in cells for cell in row):  # Python reads 1_0 as ten.
            return None
        try:
            values = np.array([[float(cell) for cell in row] for row in cells])  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None
        return ((values - self.mean) / self.sd).astype(np.float32) if (np.abs(values) < LARGEST).all() else None


def _first(bad: Mapping[int, Any]) -> tuple[str, str, str]:
    why = "every event becomes a row of the columns that the first ones have"
    return str(next(iter(bad.values()))), why, "bad='skip' to leave such out; classes=... where only a name is new"


def _is_number(name: str, amount: float) -> bool:
    try:
        return float(name) == amount
    except ValueError:
        return False
