"""Typed columns to `Data`: choose the target, look at each column, split, then encode with what the training rows say.

    numbers (true/false as 0/1, dates as seconds)   (value - mean) / sd; missing: median, and a 0/1 column that marks it
    words with at most `embed` levels               one 0/1 column a level
    words with more levels                          a code for an embedding, 0 = unknown
    one value only                                  left out
    nearly all different words                      refused: text or identifiers, which would have to be dropped

Mean, sd, median and levels come from the training rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must, nearest
from ladle.data.dataset import Data, assemble, moments
from ladle.data.parts import describe_split, split
from ladle.data.refuse import listed, place
from ladle.data.target import infer, representable, whole

TARGET_NAMES = ("target", "label", "class", "y")
MISSING_LEVEL = "(missing)"
FEW_LEVELS = 20
"""With no more levels than this, words are categories even where most rows differ."""


@dataclass(frozen=True)
class Numbers:
    """`values`: `f64[rows]`, NaN where missing."""

    values: np.ndarray
    type: Literal["whole", "real", "boolean", "date"]


@dataclass(frozen=True)
class Texts:
    """`codes`: `i64[rows]` numbers of `levels`, -1 where missing."""

    codes: np.ndarray
    levels: tuple[str, ...]


Column = Numbers | Texts


@dataclass(frozen=True)
class Table:
    """A file's columns in their order, with what the reader has to say about them."""

    name: str
    columns: Mapping[str, Column]
    rows: int
    notes: tuple[str, ...]
    asked: Mapping[str, str] = field(default_factory=dict)
    """What the user said that columns are, see `ladle.data.kinds`."""


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
    _require_embed(embed)
    name, why = choose_target(table, target)
    _refuse_date(name, table.columns[name])
    goal = infer(_target_values(table.columns[name]), kind=kind, name=name, counted_from=1)
    parts = split(goal, valid=valid, seed=seed)
    features, constant = _screen({key: column for key, column in table.columns.items() if key != name}, table.name)
    numbers, number_notes = encode_numbers(features, parts["train"])
    hot, codes, cardinalities, word_notes = encode_words(features, parts["train"], embed)
    wide = np.concatenate([*numbers, *hot, np.zeros((table.rows, 0), np.float32)], axis=1)
    inputs = {
        part: {"numbers": wide[ids], "codes": codes[ids]} if cardinalities else wide[ids] for part, ids in parts.items()
    }
    left_out = (f"Left out: {listed(constant)}, the same in every row.",) if constant else ()
    notes = (
        *table.notes,
        f"Target: {name}, {why}.",
        goal.note,
        *number_notes,
        *word_notes,
        *left_out,
        *describe_split(goal, parts, valid=valid, seed=seed),
    )
    made = assemble(table.name, goal, parts, inputs, cardinalities=cardinalities, notes=notes)
    return replace(made, target=name)


def choose_target(table: Table, target: str | None) -> tuple[str, str]:
    """The column to predict, and why it is that one.

    >>> column = Numbers(np.zeros(2), "whole")
    >>> choose_target(Table("t.csv", {"Label": column, "b": column}, 2, ()), None)
    ('Label', 'by its name; another one is given as target')
    """
    names = list(table.columns)
    if target is not None:
        if target not in table.columns:
            because = f"{table.name} has no such column"
            raise DataError(must("target", "name a column", target, because, nearest(target, names)))
        return target, "as asked"
    likely = [name for name in names if name.lower() in TARGET_NAMES]
    if len(likely) > 1:
        because = "each of them could be what is to be predicted"
        raise DataError(must("target", "be named", listed(likely), because, f"target={likely[0]!r}"))
    if likely:
        return likely[0], "by its name; another one is given as target"
    return names[-1], "the last column; another one is given as target"


def encode_numbers(features: Mapping[str, Column], train: np.ndarray) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Standardised columns, each with its mark of missing values where there are any: `f32[rows, 1 or 2]` each.

    x = (value - mean) / sd,  mean and sd over the training rows, their median in place of what is missing
    """
    encoded, notes, dates = [], [], []
    columns = {name: column for name, column in features.items() if isinstance(column, Numbers)}
    for name, column in columns.items():
        missing = np.isnan(column.values)
        seen = column.values[train][~missing[train]]
        median = float(np.median(seen)) if seen.size else 0.0
        filled = np.where(missing, median, column.values)
        mean, sd = moments(filled[train])
        encoded.append(((filled - mean) / sd).astype(np.float32)[:, None])
        if missing.any():
            encoded[-1] = np.concatenate([encoded[-1], missing.astype(np.float32)[:, None]], axis=1)
            filling = f"filled with the training median {median:,.6g}; a 0/1 column marks them"
            notes.append(f"{name}: {int(missing.sum()):,} missing, {filling}.")
        if column.type == "date":
            dates.append(name)
    if dates:
        notes.append(
            f"Dates as seconds: {listed(dates)}; the rows to validate are drawn from all times, not the latest."
        )
    if columns:
        notes.insert(0, f"Standardised with mean and sd of the training rows: {listed(list(columns))}.")
    return encoded, tuple(notes)


def encode_words(
    features: Mapping[str, Column], train: np.ndarray, embed: int
) -> tuple[list[np.ndarray], np.ndarray, tuple[int, ...], tuple[str, ...]]:
    """Categories: one-hot `f32[rows, levels]` each; codes `i32[rows, c]` with their cardinalities; notes.

    Levels are those of the training rows. A row with another one gets all zeros, or code 0.
    """
    hot, codes, cardinalities, notes = [], [], [], []
    columns = {name: column for name, column in features.items() if isinstance(column, Texts)}
    for name, column in columns.items():
        missing = column.codes < 0
        every = np.where(missing, len(column.levels), column.codes)  # missing is a level of its own, the last one
        levels = np.unique(every[train])
        known = np.isin(every, levels)
        number = np.searchsorted(levels, every)
        if len(column.levels) + missing.any() <= embed:
            hot.append(((number[:, None] == np.arange(len(levels))) & known[:, None]).astype(np.float32))
            how, unknown = "one 0/1 column each", "all zeros"
        else:
            codes.append(np.where(known, number + 1, 0).astype(np.int32))
            cardinalities.append(len(levels) + 1)
            how, unknown = "as codes for an embedding", "code 0"
        notes.append(f"{name}: {len(levels):,} categories{_and_missing(missing)}, {how}.")
        if not known.all():
            notes.append(
                f"{name}: {int((~known).sum()):,} rows to validate hold categories that no training row has: {unknown}."
            )
    stacked = np.stack(codes, axis=1) if codes else np.zeros((0, 0), np.int32)
    return hot, stacked, tuple(cardinalities), tuple(notes)


def _and_missing(missing: np.ndarray) -> str:
    return f" (one of them {MISSING_LEVEL}, {int(missing.sum()):,} rows)" if missing.any() else ""


def _refuse_date(name: str, column: Column) -> None:
    if isinstance(column, Numbers) and column.type == "date":
        because = "a date can be an input, but it is neither a class nor an amount"
        raise DataError(must(f"target {name}", "hold classes or amounts", "dates", because, "target=COLUMN"))


def _target_values(column: Column) -> np.ndarray:
    """The target as `infer` reads it; None or NaN where missing."""
    if isinstance(column, Texts):
        return np.array([*column.levels, None], object)[column.codes]
    if column.type == "real" or not whole(column.values).all():
        return column.values
    return column.values.astype(bool if column.type == "boolean" else np.int64)


def _screen(columns: Mapping[str, Column], file: str) -> tuple[dict[str, Column], list[str]]:
    """The columns worth encoding, and the names of the constant ones. Raises `DataError` for the unusable."""
    for name, column in columns.items():
        _require_finite(name, column) if isinstance(column, Numbers) else _refuse_text(name, column)
    constant = [name for name, column in columns.items() if _is_constant(column)]
    features = {name: column for name, column in columns.items() if name not in constant}
    if not features:
        because = (
            f"the others are all the same in every row: {listed(constant)}" if constant else "it is the only column"
        )
        raise DataError(
            must("data", "have a column to predict from beside the target", file, because, "a table with more columns")
        )
    return features, constant


def _require_finite(name: str, column: Numbers) -> None:
    missing = np.isnan(column.values)
    if missing.all():
        raise _all_missing(name)
    bad = ~missing & ~representable(column.values)
    if bad.any():
        row = int(np.argmax(bad))
        where = f"{place(row, counted_from=1)} is not finite, {int(bad.sum()):,} in all"
        raise DataError(
            must(f"column {name}", "be finite in float32", float(column.values[row]), where, f"drop=[{name!r}]")
        )


def _refuse_text(name: str, column: Texts) -> None:
    present, distinct = int((column.codes >= 0).sum()), len(column.levels)
    if present == 0:
        raise _all_missing(name)
    if not (distinct == present > 1 or (distinct > FEW_LEVELS and 2 * distinct > present)):
        return
    words = [level for level in column.levels if not _reads_as_number(level)]
    if 2 * len(words) < distinct:
        row = int(np.argmax(column.codes == column.levels.index(words[0])))
        where = f"{place(row, counted_from=1)} is none, {len(words):,} different ones in all"
        remedy = f"mending them, an empty cell for missing, or drop=[{name!r}]"
        raise DataError(must(f"column {name}", "hold numbers only", words[0][:60], where, remedy))
    what = "text" if np.mean([len(level) for level in column.levels]) > 20 else "identifiers"
    got = f"{distinct:,} different words in {present:,} rows"
    raise DataError(
        must(f"column {name}", "hold numbers or categories", got, f"it looks like {what}", f"drop=[{name!r}]")
    )


def _all_missing(name: str) -> DataError:
    return DataError(must(f"column {name}", "have a value in some row", "none", "all rows miss it", f"drop=[{name!r}]"))


def _is_constant(column: Column) -> bool:
    values: Any = column.values if isinstance(column, Numbers) else column.codes
    return bool((values == values[0]).all())


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _require_embed(embed: object) -> None:
    if isinstance(embed, bool) or not isinstance(embed, int) or embed < 0:
        raise ArgumentError(
            must("embed", "be a whole number >= 0", embed, "it counts levels of a category", "embed=32")
        )
