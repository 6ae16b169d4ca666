"""Typed columns to `Data`: choose the target, look at each column, split, then encode with what the training rows say.

    numbers (true/false as 0/1, dates as seconds)   (value - mean) / sd; missing: median, and a 0/1 column that marks it
    words with at most `embed` levels               one 0/1 column a level
    words with more levels                          a code for an embedding, 0 = unknown
    text                                            weights of its most frequent words
    one value only, an index, ids                   left out

Mean, sd, median and levels come from the training rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ladle.core.dialect import Spelling
from ladle.core.errors import ArgumentError, DataError, must, nearest
from ladle.data.dataset import Data, assemble
from ladle.data.encoding import Encoding, number_codes, strange_rows, word_codes
from ladle.data.kept import Kept
from ladle.data.parts import describe_split, split
from ladle.data.refuse import listed
from ladle.data.screen import leaks, screen
from ladle.data.table import Column, Table, Texts
from ladle.data.target import TargetColumn, infer, whole
from ladle.data.text import TextCode

TARGET_NAMES = ("target", "label", "class", "y")


def to_data(
    table: Table,
    *,
    target: str | None = None,
    valid: float = 0.2,
    seed: int = 0,
    kind: str | None = None,
    embed: int = 32,
) -> Data:
    """`Data` from a table. See `ladle.data.load` for the arguments and this file's head for the encoding.

    Raises `DataError` for an unknown or ambiguous target, missing target values, a column that is all missing, not
    finite, or text, and for a table without a usable column beside the target.
    """
    ready = prepare(table, target=target, valid=valid, seed=seed, kind=kind, embed=embed)
    encoding, goal, parts = ready.encoding, ready.goal, ready.parts
    every = encoding.apply(ready.features, table.rows)
    inputs = {
        part: {key: value[ids] for key, value in every.items()} if isinstance(every, dict) else every[ids]
        for part, ids in parts.items()
    }
    notes = (
        *table.notes,
        f"Target: {ready.target}, {ready.why}.",
        goal.note,
        *encoding.notes(strange_rows(encoding.words, ready.features)),
        *ready.left_out,
        *ready.warnings,
        *describe_split(goal, parts, valid=valid, seed=seed),
    )
    made = assemble(table.name, goal, parts, inputs, cardinalities=encoding.cardinalities, notes=notes)
    text = {code.name for code in encoding.texts}
    levels = {
        key: column.levels for key, column in ready.features.items() if isinstance(column, Texts) and key not in text
    }
    kept = Kept.of(encoding, levels, table.kinds, table.said or Spelling(), table.asked)
    return replace(made, target=ready.target, kept=kept)


@dataclass(frozen=True)
class Prepared:
    """What is decided of a table before a row is encoded: the target and why, which columns are inputs, and how."""

    target: str
    why: str
    goal: TargetColumn
    parts: Mapping[str, np.ndarray]
    features: Mapping[str, Column]
    encoding: Encoding
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]


def prepare(table: Table, *, target: str | None, valid: float, seed: int, kind: str | None, embed: int) -> Prepared:
    """Decide what is predicted from what. Raises as `to_data` does."""
    require_embed(embed)
    name, why = choose_target(list(table.columns), target, table.name)
    goal = infer(target_values(name, table.columns[name]), kind=kind, name=name, counted_from=1)
    parts = split(goal, valid=valid, seed=seed)
    features, left_out, text = screen({key: column for key, column in table.columns.items() if key != name}, table)
    plain = {key: column for key, column in features.items() if key not in text}
    train = parts["train"]
    texts = [TextCode.of(key, texts_of(features[key], train), table.rows) for key in text]
    encoding = Encoding(number_codes(plain, train), word_codes(plain, train, embed), tuple(texts))
    return Prepared(name, why, goal, parts, features, encoding, left_out, leaks(plain, goal, name))


def choose_target(names: Sequence[str], target: str | None, table: str) -> tuple[str, str]:
    """The column to predict among the `names` of those of `table`, and why it is that one.

    >>> choose_target(["Label", "b"], None, "t.csv")
    ('Label', 'by its name; another one is given as target')
    """
    if target is not None:
        if target not in names:
            because = f"{table} has no such column"
            raise DataError(must("target", "name a column", target, because, nearest(target, names)))
        return target, "as asked"
    likely = [name for name in names if name.lower() in TARGET_NAMES]
    if len(likely) > 1:
        because = "each of them could be what is to be predicted"
        raise DataError(must("target", "be named", listed(likely), because, f"target={likely[0]!r}"))
    if likely:
        return likely[0], "by its name; another one is given as target"
    return names[-1], "the last column; another one is given as target"


def target_values(name: str, column: Column) -> np.ndarray:
    """The target as `infer` reads it; None or NaN where missing. Raises `DataError` for dates."""
    if isinstance(column, Texts):
        return np.array([*column.levels, None], object)[column.codes]
    if column.type == "date":
        because = "a date can be an input, but it is neither a class nor an amount"
        raise DataError(must(f"target {name}", "hold classes or amounts", "dates", because, "target=COLUMN"))
    if column.type == "real" or not whole(column.values).all():
        return column.values
    return column.values.astype(bool if column.type == "boolean" else np.int64)


def texts_of(column: Any, rows: np.ndarray) -> list[str]:
    """The texts of some rows; "" where missing."""
    return [column.levels[code] if code >= 0 else "" for code in column.codes[rows]]


def require_embed(embed: object) -> None:
    """Raise `ArgumentError` unless `embed` is a number of levels."""
    if isinstance(embed, bool) or not isinstance(embed, int) or embed < 0:
        raise ArgumentError(
            must("embed", "be a whole number >= 0", embed, "it counts levels of a category", "embed=32")
        )
