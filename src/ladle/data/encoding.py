"""Columns to the arrays that a model reads, by what the training rows say. One rule for rows in memory and on the disk.

numbers (true/false as 0/1, dates as seconds)   (value - mean) / sd; missing: median, and a 0/1 column that marks it
words with at most `embed` levels               one 0/1 column a level
words with more levels                          a code for an embedding, 0 = unknown
text                                            weights of its words, see `ladle.data.text`
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ladle.data.dataset import moments
from ladle.data.refuse import listed
from ladle.data.table import Column, Numbers, Texts

MISSING_LEVEL = "(missing)"
AT_ONCE = 4096
"""Rows that are standardised together."""


@dataclass(frozen=True)
class NumberCode:
    """x = (value - mean) / sd, the median in place of what is missing; `missing` cells of all rows get a mark."""

    name: str
    median: float
    mean: float
    sd: float
    missing: int
    date: bool = False

    @classmethod
    def of(cls, name: str, train: np.ndarray, missing: int, date: bool = False) -> NumberCode:
        """From the training rows, `f64[rows]` with NaN where missing."""
        gone = np.isnan(train)
        # Also where no training row lacks it: a row to predict may.
        median = 0.0 if gone.all() else float(np.median(train[~gone]))
        mean, sd = moments(np.where(gone, median, train) if gone.any() else train)
        return cls(name, median, mean, sd, missing, date)

    @property
    def width(self) -> int:
        return 2 if self.missing else 1

    @property
    def note(self) -> str | None:
        filling = f"filled with the training median {self.median:,.6g}; a 0/1 column marks them"
        return f"{self.name}: {self.missing:,} missing, {filling}." if self.missing else None


@dataclass(frozen=True)
class WordCode:
    """Categories by number. `levels`: `i64[k]` those of training rows; missing counts as level number `known`."""

    name: str
    known: int
    levels: np.ndarray
    missing: int
    hot: bool

    @classmethod
    def of(cls, name: str, known: int, levels: np.ndarray, missing: int, embed: int) -> WordCode:
        return cls(name, known, levels, missing, known + bool(missing) <= embed)

    @classmethod
    def seen(cls, codes: np.ndarray, known: int) -> np.ndarray:
        """`i64[k]` the levels among `codes`, missing as number `known`."""
        return np.unique(np.where(codes < 0, known, codes))

    @property
    def width(self) -> int:
        return len(self.levels) if self.hot else 0

    def apply(self, codes: np.ndarray) -> np.ndarray:
        """`f32[rows, levels]` of 0 and 1, or `i32[rows]` codes; a level that no training row has: zeros, or code 0."""
        every = np.where(codes < 0, self.known, codes)
        known, number = np.isin(every, self.levels), np.searchsorted(self.levels, every)
        if self.hot:
            return ((number[:, None] == np.arange(len(self.levels))) & known[:, None]).astype(np.float32)
        return np.where(known, number + 1, 0).astype(np.int32)

    def strange(self, codes: np.ndarray) -> int:
        """How many rows have a level that no training row has."""
        return int((~np.isin(np.where(codes < 0, self.known, codes), self.levels)).sum())

    def notes(self, strange: int) -> list[str]:
        how, unknown = ("one 0/1 column each", "all zeros") if self.hot else ("as codes for an embedding", "code 0")
        missing = f" (one of them {MISSING_LEVEL}, {self.missing:,} rows)" if self.missing else ""
        said = [f"{self.name}: {len(self.levels):,} categories{missing}, {how}."]
        if strange:
            said.append(
                f"{self.name}: {strange:,} rows to validate hold categories that no training row has: {unknown}."
            )
        return said


@dataclass(frozen=True)
class Encoding:
    """How each column becomes part of a row: numbers, then categories, then texts, each in the order of the table."""

    numbers: tuple[NumberCode, ...]
    words: tuple[WordCode, ...]
    texts: tuple[Any, ...] = ()

    @property
    def cardinalities(self) -> tuple[int, ...]:
        return tuple(len(word.levels) + 1 for word in self.words if not word.hot)

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return sum(one.width for one in (*self.numbers, *self.words, *self.texts))

    def apply(self, columns: Mapping[str, Column], rows: int) -> Any:
        """`f32[rows, width]`, or `{"numbers": ..., "codes": i32[rows, c]}` where there are codes."""
        parts = [standardised(self.numbers, columns, rows)]
        coded = {one.name: one.apply(columns[one.name].codes) for one in self.words}  # type: ignore[union-attr]
        parts += [coded[one.name] for one in self.words if one.hot]
        parts += [one.apply(columns[one.name]) for one in self.texts]
        wide = np.concatenate([*parts, np.zeros((rows, 0), np.float32)], axis=1)
        codes = [coded[one.name] for one in self.words if not one.hot]
        return {"numbers": wide, "codes": np.stack(codes, axis=1)} if codes else wide

    def dated(self, names: Collection[str]) -> Encoding:
        """The same, the numbers of these columns being moments in seconds."""
        return replace(self, numbers=tuple(replace(one, date=one.date or one.name in names) for one in self.numbers))

    def number_notes(self) -> tuple[str, ...]:
        notes = [one.note for one in self.numbers if one.note]
        if self.numbers:
            notes.insert(
                0, f"Standardised with mean and sd of the training rows: {listed([n.name for n in self.numbers])}."
            )
        dates = [one.name for one in self.numbers if one.date]
        if dates:
            when = "the rows to validate are drawn from all times, not the latest"
            notes.append(f"Dates as seconds: {listed(dates)}; {when}.")
        return tuple(notes)

    def notes(self, strange: Mapping[str, int]) -> tuple[str, ...]:
        """What is to be said. `strange`: rows of each column with categories that no training row has."""
        words = [note for one in self.words for note in one.notes(strange.get(one.name, 0))]
        return (*self.number_notes(), *words, *(one.note for one in self.texts))


def standardised(codes: Sequence[NumberCode], columns: Mapping[str, Column], rows: int) -> np.ndarray:
    """`f32[rows, width]`: each column of numbers, followed by its mark of missing where it has one."""
    ends = np.cumsum([one.width for one in codes], dtype=np.int64)
    at = ends - np.array([one.width for one in codes], np.int64)
    marked = np.array([bool(one.missing) for one in codes], bool)
    median, mean, sd = (np.array([getattr(one, name) for one in codes]) for name in ("median", "mean", "sd"))
    out = np.zeros((rows, int(ends[-1]) if len(codes) else 0), np.float32)
    for start in range(
        0, rows if codes else 0, AT_ONCE
    ):  # Side by side, for columns may be many, a few rows at a time.
        part = slice(start, start + AT_ONCE)
        values = np.stack([columns[one.name].values[part] for one in codes], axis=1)  # type: ignore[union-attr]
        gone = np.isnan(values)
        out[part, at] = (np.where(gone, median, values) - mean) / sd
        out[part, at[marked] + 1] = gone[:, marked]
    return out


def number_codes(features: Mapping[str, Column], train: np.ndarray) -> tuple[NumberCode, ...]:
    return tuple(
        NumberCode.of(name, column.values[train], int(np.isnan(column.values).sum()), column.type == "date")
        for name, column in features.items()
        if isinstance(column, Numbers)
    )


def word_codes(features: Mapping[str, Column], train: np.ndarray, embed: int) -> tuple[WordCode, ...]:
    found = []
    for name, column in features.items():
        if isinstance(column, Texts):
            known = len(column.levels)
            levels = WordCode.seen(column.codes[train], known)
            found.append(WordCode.of(name, known, levels, int((column.codes < 0).sum()), embed))
    return tuple(found)


def strange_rows(words: Sequence[WordCode], features: Mapping[str, Column]) -> dict[str, int]:
    return {one.name: one.strange(features[one.name].codes) for one in words}  # type: ignore[union-attr]
