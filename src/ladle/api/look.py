"""`look`: what was understood of some data, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ladle.api.options import TaskOptions
from ladle.core.dialect import Spelling
from ladle.core.errors import DataError
from ladle.data.loader import TABLES

ROWS = 3
"""Rows that are shown as the model sees them."""
WIDTH = 12
"""Numbers of a row that are shown."""


class Seen(NamedTuple):
    """One column: what it is, in how many rows it is missing, how many different values it has, what becomes of it."""

    name: str
    kind: str
    missing: int
    levels: int
    becomes: str


@dataclass(frozen=True)
class Look:
    """What was understood of some data.

    - `describe`: the data in a line. `columns`: of a table, in their order. `target`: what is predicted, or None.
    - `notes`: what was inferred, filled in or left out; `warnings`: what may be wrong. `refused`: why it is no use.
    - `rows`: the first training rows as the model sees them.
    """

    describe: str
    columns: tuple[Seen, ...]
    target: str | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {**vars(self), "columns": [one._asdict() for one in self.columns]}

    def __str__(self) -> str:
        out = [self.describe, ""]
        if self.columns:
            cells = [("column", "kind", "missing", "levels", "becomes")]
            cells += [
                (c.name or "(no name)", c.kind, f"{c.missing:,}", f"{c.levels:,}", c.becomes) for c in self.columns
            ]
            wide = [min(32, max(len(row[at]) for row in cells)) for at in range(4)]
            for name, kind, missing, levels, becomes in cells:
                left = f"{name[:32]:{wide[0]}}  {kind:{wide[1]}}  {missing:>{wide[2]}}  {levels:>{wide[3]}}"
                out.append(f"{left}  {becomes}")
            out.append("")
        out += [*self.warnings, *self.notes]
        for number, row in enumerate(self.rows, 1):
            shown = ", ".join(f"{name} {_said(value)}" for name, value in row.items())
            out.append(f"row {number} as the model sees it: {shown}")
        return "\n".join(out if self.refused is None else [*out, f"refused: {self.refused}"])


def look(options: TaskOptions) -> Look:
    """What `ladle train` would understand of some data, its columns one by one where it is a table.

    Raises `ArgumentError` (or `DataError`) for data that cannot be read; a table that can be read but not trained on is
    shown, with the refusal.
    """
    if not options.stream and options.data.lower().endswith(TABLES) and Path(options.data).is_file():
        return _table(options)
    data = options.task().data
    notes = getattr(data, "notes", ())
    return Look(data.describe(), (), data.target, *_sorted(notes), _rows(data))


def _table(options: TaskOptions) -> Look:
    from ladle.data import columns, tables
    from ladle.data.loader import require_words

    words = {name: require_words(name, getattr(options, name)) for name in ("na", "categories", "drop")}
    given = {name: getattr(options, name) for name in ("delimiter", "quote", "encoding", "header", "decimal")}
    how = {"drop": words["drop"], "categories": words["categories"], "as_": options.as_}
    table = tables.read(Path(options.data), said=Spelling(na=words["na"], **given), **how)
    split = {"valid": options.valid, "kind": options.kind, "target": options.target}
    try:
        ready = columns.prepare(table, seed=0, embed=32, **split)  # type: ignore[arg-type]
        data = columns.to_data(table, **split)  # type: ignore[arg-type]
    except DataError as error:
        seen = tuple(_seen(name, column, "") for name, column in table.columns.items())
        return Look(f"{table.name}: {table.rows:,} rows", seen, options.target, *_sorted(table.notes), (), str(error))
    becomes = _becomes(ready)
    seen = tuple(
        _seen(name, column, becomes.get(name, "left out"), text=name in {one.name for one in ready.encoding.texts})
        for name, column in table.columns.items()
    )
    return Look(data.describe(), seen, data.target, *_sorted(data.notes), _rows(data))


def _becomes(ready: Any) -> dict[str, str]:
    encoding = ready.encoding
    found = {one.name: "1 number" + (" and a mark of missing" if one.missing else "") for one in encoding.numbers}
    for one in encoding.words:
        found[one.name] = f"{len(one.levels):,} columns of 0 and 1" if one.hot else "a code for an embedding"
    found |= {one.name: f"{one.width:,} weights of words" for one in encoding.texts}
    answer = f"{len(ready.goal.classes):,} classes" if ready.goal.classes else "an amount"
    return {**found, ready.target: f"the target: {answer}"}


def _seen(name: str, column: Any, becomes: str, *, text: bool = False) -> Seen:
    values = getattr(column, "values", None)
    if values is not None:
        return Seen(name, column.type, int(np.isnan(values).sum()), len(np.unique(values[~np.isnan(values)])), becomes)
    return Seen(name, "text" if text else "words", int((column.codes < 0).sum()), len(column.levels), becomes)


def _sorted(notes: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    warnings = tuple(note for note in notes if note.startswith("Warning: "))
    return tuple(note for note in notes if note not in warnings), warnings


def _rows(data: Any) -> tuple[dict[str, Any], ...]:
    count = min(ROWS, data.rows)
    rows = {k: v[:count] for k, v in data.train.items()} if data.resident else data.train.take(np.arange(count))
    return tuple({name: _row(leaf, at) for name, leaf in rows.items()} for at in range(count))


def _row(leaf: Any, at: int) -> Any:
    if isinstance(leaf, Mapping):
        return {name: _row(one, at) for name, one in leaf.items()}
    return (
        np.round(np.asarray(leaf[at], np.float64), 4).tolist()
        if np.asarray(leaf).dtype.kind == "f"
        else leaf[at].tolist()
    )


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(one)}" for name, one in value.items())
    flat = np.ravel(value).tolist()
    more = f", ... {len(flat):,} in all" if len(flat) > WIDTH else ""
    return f"[{', '.join(f'{one:g}' for one in flat[:WIDTH])}{more}]" if np.ndim(value) else f"{flat[0]:g}"
