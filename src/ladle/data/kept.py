"""`Kept`: what new rows of a table need to become inputs, without the table. Plain JSON there and back.

Only what training rows said is kept: numbers to standardise with, names of levels, weights of words. A level that no
training row had has no name here; it is unknown, as it was while the table was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ladle.core.dialect import Spelling
from ladle.data.encoding import Encoding, NumberCode, WordCode
from ladle.data.kinds import Kind
from ladle.data.refuse import listed, place
from ladle.data.table import Column, Numbers, Texts
from ladle.data.text import TextCode

KIND = ("type", "reading", "missing", "affix", "usual")
"""What is kept of a `Kind`: its note was said while the table was read."""


@dataclass(frozen=True)
class Kept:
    """How a column of new rows is read and encoded.

    - `encoding`: as of the training rows; the levels of its words are numbers of `levels`.
    - `levels`: names of each category column's levels. `kinds`: how cells of text are read, where that is known.
    - `said`: how the user said that the table is written.
    """

    encoding: Encoding
    levels: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    said: Spelling = field(default_factory=Spelling)

    @classmethod
    def of(
        cls,
        encoding: Encoding,
        levels: Mapping[str, tuple[str, ...]],
        kinds: Mapping[str, Kind] | None = None,
        said: Spelling = Spelling(),
        asked: Mapping[str, str] | None = None,
    ) -> Kept:
        """Of an encoding whose words are numbers of `levels`, all that the table has.

        `asked`: what the user said that columns are: among words that are asked for, only an empty cell is missing.

        >>> word = WordCode("a", 3, np.array([0, 2]), missing=0, hot=True)
        >>> Kept.of(Encoding((), (word,)), {"a": ("x", "y", "z")}).levels
        {'a': ('x', 'z')}
        """
        words, names = [], {}
        for word in encoding.words:
            own = levels[word.name]
            names[word.name] = tuple(own[at] for at in word.levels if at < word.known)
            has_missing = bool((word.levels == word.known).any())
            words.append(_word(word.name, len(names[word.name]), has_missing, word.missing, word.hot))
        kept = replace(encoding, words=tuple(words))
        given = {
            name: Kind("words", usual=False) for name, what in (asked or {}).items() if what in ("category", "text")
        }
        kinds = {**given, **(kinds or {})}
        wanted = {one.name for one in (*encoding.numbers, *encoding.words, *encoding.texts)}
        return cls(kept, names, {name: kind for name, kind in kinds.items() if name in wanted}, said)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that an input is made of."""
        made = self.encoding
        return tuple(one.name for one in (*made.numbers, *made.words, *made.texts))

    def codes(self, name: str, words: Texts) -> Texts:
        """Words of new rows as numbers of the kept levels; the unknown have the number after that of "missing"."""
        known = self.levels[name]
        number = {level: at for at, level in enumerate(known)}
        code = np.array([*(number.get(level, len(known) + 1) for level in words.levels), -1], np.int64)
        return Texts(code[words.codes], known)

    def remarks(self, columns: Mapping[str, Column]) -> tuple[str, ...]:
        """What was made of missing cells and of categories that no training row has, a sentence a column."""
        said = []
        for one in self.encoding.numbers:
            column = columns[one.name]
            gone = np.isnan(column.values) if isinstance(column, Numbers) else np.zeros(0, bool)
            if gone.any() and not one.missing:
                said.append(
                    f"{one.name}: {int(gone.sum()):,} cells are missing, which no training row has: "
                    f"filled with the training median {one.median:,.6g}."
                )
        for word in self.encoding.words:
            column = columns[word.name]
            codes = column.codes if isinstance(column, Texts) else np.zeros(0, np.int64)
            if strange := word.strange(codes):
                every = np.where(codes < 0, word.known, codes)
                first = int(np.argmax(~np.isin(every, word.levels)))
                how = "all zeros" if word.hot else "code 0"
                said.append(
                    f"{word.name}: {strange:,} cells hold categories that no training row has, taken as unknown "
                    f"({how}); the first in {place(first, counted_from=1)}."
                )
        return tuple(said)

    def describe(self) -> str:
        """The columns in one line."""
        return listed(list(self.columns))

    def to_json(self) -> dict[str, Any]:
        made = self.encoding
        return {
            "numbers": [asdict(one) for one in made.numbers],
            "words": [
                {
                    "name": one.name,
                    "levels": list(self.levels[one.name]),
                    "has_missing": len(one.levels) > one.known,
                    "missing": one.missing,
                    "hot": one.hot,
                }
                for one in made.words
            ],
            "texts": [one.to_json() for one in made.texts],
            "kinds": {name: {key: getattr(kind, key) for key in KIND} for name, kind in self.kinds.items()},
            "said": asdict(self.said),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Kept:
        """Raises `KeyError`, `TypeError` or `ValueError` for what `to_json` did not write."""
        levels = {one["name"]: tuple(map(str, one["levels"])) for one in value["words"]}
        words = [
            _word(one["name"], len(one["levels"]), bool(one["has_missing"]), int(one["missing"]), bool(one["hot"]))
            for one in value["words"]
        ]
        numbers = [_number(**one) for one in value["numbers"]]
        texts = [TextCode.from_json(one) for one in value["texts"]]
        kinds = {name: Kind(**{**one, "missing": tuple(one["missing"])}) for name, one in value["kinds"].items()}
        said = Spelling(**{**value["said"], "na": tuple(value["said"]["na"])})
        return cls(Encoding(tuple(numbers), tuple(words), tuple(texts)), levels, kinds, said)


def _number(name: str, median: float, mean: float, sd: float, missing: int, date: bool) -> NumberCode:
    if not np.isfinite([float(median), float(mean), float(sd)]).all() or sd == 0:
        raise ValueError(f"column {name} has no scale")
    return NumberCode(str(name), float(median), float(mean), float(sd), int(missing), bool(date))


def _word(name: str, known: int, has_missing: bool, missing: int, hot: bool) -> WordCode:
    """A category whose kept levels are numbered from 0, "missing" being the last where training rows have it."""
    return WordCode(name, known, np.arange(known + has_missing), missing, hot)
