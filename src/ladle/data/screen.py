"""Which columns of a table are inputs: no index, no ids, nothing constant; and which of them tell too much.

counts the rows, or numbers them in order      left out, by its name
whole numbers called id, nearly all different  left out; also hashes, whatever they are called
words without a space, all different           left out
the same in every row                          left out
tells the target alone, in every row           kept, and warned of
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.data.refuse import listed, place
from ladle.data.table import Column, Numbers, Table, Texts
from ladle.data.target import TargetColumn, representable

FEW_LEVELS = 20
"""With no more levels than this, words are categories even where most rows differ."""
ENOUGH = 20
"""Rows from which on a column of different values is taken for ids."""
ENOUGH_TO_TELL = 30
"""Rows from which on it is no accident that one column tells the target."""

_INDEX = re.compile(r"(unnamed: \d+|index|__index_level_\d+__|row_?(id|no|num|number|names?|index)?|)$", re.IGNORECASE)
_MEASURED = re.compile(r"[+-]?\d[\d.,]*\s?([^\W\d]\S{0,9})$")
_DATED = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b|([A-Z][a-z]{2,8},? )?[A-Z][a-z]{2,8} \d{1,2},? \d{4}|\d{1,2}[- ][A-Z][a-z]{2}"
)
_ID = re.compile(r"(.*[_ \-.])?(id|ids|uuid|guid|rowid|key|hash)$|(?-i:.*[a-z]ID)$|id[_ ].*", re.IGNORECASE)


def screen(columns: Mapping[str, Column], table: Table) -> tuple[dict[str, Column], tuple[str, ...], list[str]]:
    """The columns worth encoding (the target is not among `columns`), what is said of the others, and which are text.

    Raises `DataError` for the unusable, and where none is left.
    """
    features, ids, text = dict(columns), {}, []
    for name, column in columns.items():
        asked = table.asked.get(name)
        why = "as asked" if asked == "id" else _what_id(name, column) if asked is None else None
        if why is not None:
            ids[name] = why
            del features[name]
        elif isinstance(column, Numbers):
            _require_finite(name, column)
        elif asked == "text" or (asked != "category" and _is_text(name, column)):
            text.append(name)
    constant = [name for name, column in features.items() if _is_constant(column)]
    features = {name: column for name, column in features.items() if name not in constant}
    notes = tuple(f"Left out: {name or 'the column without a name'}, {why}." for name, why in ids.items())
    if constant:
        notes = (*notes, f"Left out: {listed(constant)}, the same in every row.")
    if not features:
        because = "it is the only column"
        if constant or ids:
            because = f"the others are all the same in every row: {listed(constant)}" if constant else " ".join(notes)
        remedy = "a table with more columns"
        raise DataError(must("data", "have a column to predict from beside the target", table.name, because, remedy))
    return features, notes, [name for name in text if name in features]


def _what_id(name: str, column: Column) -> str | None:
    """Why a column only says which row it is; None where it may say more."""
    otherwise = f"; as_=['{name}={'number' if isinstance(column, Numbers) else 'category'}'] makes it an input"
    if isinstance(column, Texts):
        numbers = sum(map(reads_as_number, column.levels))
        if (
            _unit(column.levels) is not None
            or _dates(column.levels)
            or 0 < 2 * numbers < 2 * len(column.levels) < 4 * numbers
        ):
            return None  # What they are is asked for below.
        present = int((column.codes >= 0).sum())
        alike = 100 * len(column.levels) >= 99 * present
        if not name and alike:
            return f"which names the rows{otherwise}"
        if present < ENOUGH or not alike or np.mean([" " in level for level in column.levels]) > 0.05:
            return None
        if np.mean([any(letter.isdigit() for letter in level) for level in column.levels]) < 0.5 and not _ID.match(
            name
        ):
            return None
        return f"identifiers: {len(column.levels):,} different words in {present:,} rows{otherwise}"
    values = column.values
    if column.type != "whole" or len(values) < ENOUGH or np.isnan(values).any():
        return None
    few = values[:: max(1, len(values) // 1000)]
    if 100 * len(np.unique(few)) < 98 * len(few):  # Of rows nearly all different, a few are too.
        return None
    distinct = len(np.unique(values))
    steps = np.diff(values)
    called_index = _INDEX.match(name) or name.lower() == "id"
    if called_index and distinct == len(values) and (steps > 0).all():
        return f"which numbers the rows{otherwise}"
    if 100 * distinct < 99 * len(values):
        return None
    if _ID.match(name) or _INDEX.match(name):
        return f"whole numbers that are nearly all different, by its name identifiers{otherwise}"
    if _hashed(values):
        return f"whole numbers spread like hashes, nearly all different{otherwise}"
    return None


def _hashed(values: np.ndarray) -> bool:
    """Whether numbers lie over a range of 31 bits or more as evenly as if drawn there (Kolmogorov-Smirnov)."""
    low, high = float(values.min()), float(values.max())
    if high - low < 2**30 or high - low < 0.5 * max(abs(low), abs(high)) or len(values) < ENOUGH_TO_TELL:
        return False
    even = (np.arange(len(values)) + 0.5) / len(values)
    gap = np.abs((np.sort(values) - low) / (high - low) - even).max()
    return bool(gap < 1.36 / np.sqrt(len(values)))


def leaks(features: Mapping[str, Column], goal: TargetColumn, target: str) -> tuple[str, ...]:
    """A warning for each column that tells the target alone in every row: is it known before the target is?"""
    told = [name for name, column in features.items() if _tells(column, goal)]
    return tuple(
        f"Warning: {name} alone tells {target} in every row; drop=[{name!r}] if it is not known before."
        for name in told
    )


def _tells(column: Column, goal: TargetColumn) -> bool:
    values = column.values if isinstance(column, Numbers) else column.codes
    there = ~np.isnan(values) if isinstance(column, Numbers) else values >= 0
    if there.mean() < 0.5 or there.sum() < ENOUGH_TO_TELL:
        return False
    values, y = values[there], goal.values[there]
    step = max(1, len(y) // 1000)
    return _parted(column, goal, values[::step], y[::step], some=True) and _parted(column, goal, values, y)


def _parted(column: Column, goal: TargetColumn, values: np.ndarray, y: np.ndarray, *, some: bool = False) -> bool:
    """Whether equal values have one target and classes lie side by side (amounts rise or fall); `some`: of rows."""
    order = np.lexsort((y, values))
    values, y = values[order], y[order]
    same = values[1:] == values[:-1]
    if (same & (y[1:] != y[:-1])).any():
        return False
    if goal.kind == "classification":
        if isinstance(column, Texts):
            return some or len(values) >= 5 * (1 + int((~same).sum()))
        return 1 + int((y[1:] != y[:-1]).sum()) == len(np.unique(y)) and (some or len(np.unique(y)) > 1)
    rising = np.diff(y)
    return isinstance(column, Numbers) and bool(
        (some or len(np.unique(y)) > 10) and ((rising >= 0).all() or (rising <= 0).all())
    )


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


def _is_text(name: str, column: Texts) -> bool:
    """Whether words are text. Raises `DataError` where they are neither text nor categories."""
    present, distinct = int((column.codes >= 0).sum()), len(column.levels)
    if present == 0:
        raise _all_missing(name)
    if not (distinct == present > 1 or (distinct > FEW_LEVELS and 2 * distinct > present)):
        return False
    words = [level for level in column.levels if not reads_as_number(level)]
    if words and 2 * len(words) < distinct:
        row = int(np.argmax(column.codes == column.levels.index(words[0])))
        where = f"{place(row, counted_from=1)} is none, {len(words):,} different ones in all"
        remedy = f"mending them, an empty cell for missing, as_=['{name}=category'], or drop=[{name!r}]"
        raise DataError(must(f"column {name}", "hold numbers only", words[0][:60], where, remedy))
    unit = _unit(column.levels)
    if unit is not None:
        got, why = column.levels[0][:60], f"its numbers have a unit, {unit!r}"
        raise DataError(must(f"column {name}", "hold numbers only", got, why, f"cells without it, or drop=[{name!r}]"))
    if _dates(column.levels):
        got, remedy = column.levels[0][:60], f"writing them as 2020-12-31 10:30:00, or drop=[{name!r}]"
        raise DataError(must(f"column {name}", "hold dates of a known form", got, "it looks like dates", remedy))
    if present >= ENOUGH and np.mean([" " in level for level in column.levels]) > 0.5:
        return True
    what = "text" if np.mean([len(level) for level in column.levels]) > 20 else "identifiers"
    got = f"{distinct:,} different words in {present:,} rows"
    remedy = f"drop=[{name!r}], as_=['{name}=category'] or as_=['{name}=text']"
    raise DataError(must(f"column {name}", "hold numbers or categories", got, f"it looks like {what}", remedy))


def _unit(levels: Sequence[str]) -> str | None:
    """The unit that stands behind each number, where all words are numbers with one."""
    found = {match[1] if (match := _MEASURED.match(level)) else None for level in levels[:1000]}
    return found.pop() if len(found) == 1 else None


def _dates(levels: Sequence[str]) -> bool:
    """Whether nearly all words begin as a date does."""
    some = levels[:1000]
    return 10 * sum(_DATED.match(level) is not None for level in some) >= 9 * len(some) > 0


def _all_missing(name: str) -> DataError:
    return DataError(must(f"column {name}", "have a value in some row", "none", "all rows miss it", f"drop=[{name!r}]"))


def _is_constant(column: Column) -> bool:
    values: Any = column.values if isinstance(column, Numbers) else column.codes
    return bool((values == values[0]).all())


def reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
