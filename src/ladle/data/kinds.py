"""What a column of a text table is: numbers, dates, truth values or words, decided from all of its cells.

Facts are sums, so a table may be looked through in blocks, and both lanes decide by the same ones. A column is numbers
where every cell reads as one, or is known to say that it is missing. Where nearly all do and some do not, it is neither
numbers nor a category: it is refused with the cells named, and the user says what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from ladle.core.dialect import Spelling
from ladle.core.errors import ArgumentError, DataError, must, nearest
from ladle.core.missing import AMONG_NUMBERS, MISSING
from ladle.data.refuse import listed, place

Word = Literal["number", "category", "text", "date", "id"]
"""What a user may say that a column is. A column of ids is left out."""

MOST_ODD = 1024
"""Different cells of one column that are kept; a column with more of them is words."""


@dataclass
class Facts:
    """What the cells of one column look like, counted; `+` joins two parts of a table.

    - `cells`: that are not missing. `plain`: numbers as programs write them; `point`: those with a point, and
      `point3`: with just three digits behind it.
    - `comma`: cells that are numbers with a decimal comma, `grouped`: with commas between thousands, `either`.
    - `zero_led`, `wide`: the first whole number with a leading zero, beyond 2**53. `dates`: 2020-12-31; `times`: 10:30;
      `days`: 31.12.2020.
    - `odd_cells`: that are no plain numbers. `odd`: those among them of no form above, how often, and a row of each.
      `levels`: some of those that are; `day_levels`: all of the days.
    """

    cells: int = 0
    plain: int = 0
    whole: bool = True
    binary: bool = True
    point: int = 0
    point3: int = 0
    comma: int = 0
    grouped: int = 0
    either: int = 0
    fraction: bool = False
    zero_led: str | None = None
    wide: str | None = None
    dates: int = 0
    times: int = 0
    days: int = 0
    odd: dict[str, tuple[int, int]] = field(default_factory=dict)
    odd_cells: int = 0
    levels: set[str] = field(default_factory=set)
    day_levels: set[str] = field(default_factory=set)
    affixed: int = 0
    affixes: set[str] = field(default_factory=set)
    quoted: str | None = None
    values: list[Any] = field(default_factory=list)
    """The numbers of each part, where all cells are plain and that was asked for: parsing is what takes time."""

    def __iadd__(self, other: Facts) -> Facts:
        for name in (
            "cells",
            "plain",
            "point",
            "point3",
            "comma",
            "grouped",
            "either",
            "dates",
            "times",
            "days",
            "affixed",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.odd_cells += other.odd_cells
        self.whole, self.binary = self.whole and other.whole, self.binary and other.binary
        self.fraction = self.fraction or other.fraction
        for name in ("zero_led", "wide", "quoted"):
            setattr(self, name, getattr(self, name) or getattr(other, name))
        for level, (count, row) in other.odd.items():
            if level in self.odd:
                self.odd[level] = self.odd[level][0] + count, self.odd[level][1]
            elif len(self.odd) < MOST_ODD:
                self.odd[level] = count, row
        if len(self.levels) < 4 * MOST_ODD:
            self.levels |= other.levels
        self.affixes |= other.affixes
        self.day_levels |= other.day_levels
        self.values += other.values
        return self


@dataclass(frozen=True)
class Kind:
    """What a column is, and how its cells are read.

    - `type`: "whole", "real", "boolean", "date", "time", "words", "none" (no cell has a value).
    - `reading`: "plain", "comma" (decimal), "grouped" (commas between thousands), or the form of dates.
    - `missing`: words that count as missing beside the usual ones. `affix`: what stands at each number, such as %.
    """

    type: str
    reading: str = "plain"
    missing: tuple[str, ...] = ()
    affix: str = ""
    usual: bool = True
    note: str | None = None


def decide(
    facts: Mapping[str, Facts], said: Spelling = Spelling(), asked: Mapping[str, str] | None = None, mark: str = ","
) -> dict[str, Kind]:
    """The kind of each column of a table.

    - `asked`: kinds that the user gave, see `Word`. `mark`: the delimiter of the table.

    Raises `DataError` for a column that is nearly all numbers, naming the cells that are none, and for numbers that
    could be read in two ways.
    """
    asked = asked or {}
    sure_comma = said.decimal == "," or any(one.comma > one.either for one in facts.values() if _numeric(one))
    sure_point = said.decimal == "." or mark == ","
    usual = "," if sure_comma and not sure_point else "." if sure_point and not sure_comma else None
    return {name: _kind(name, one, said, asked.get(name), usual, sure_comma) for name, one in facts.items()}


def _numeric(facts: Facts) -> bool:
    return facts.plain + max(facts.comma, facts.grouped) > facts.cells // 2


def _kind(name: str, facts: Facts, said: Spelling, asked: str | None, usual: str | None, sure_comma: bool) -> Kind:
    if facts.quoted is not None:
        why, remedy = "quotes wrap cells of a table that is read without them", "quote='\"'"
        raise DataError(must(f"column {name}", "be written in one way", facts.quoted[:60], why, remedy))
    if asked in ("category", "text"):
        return Kind("words", usual=False)
    if facts.cells == 0:
        return Kind("none")
    dated = max(facts.dates, facts.times, facts.days)
    if dated > facts.plain and (asked == "date" or dated > facts.cells // 2):
        return _dates(name, facts, dated)
    if asked == "date":
        raise _neither(name, facts, list(facts.odd), "dates")
    words = {level.lower() for level in facts.odd}
    if words and words <= {"true", "false"} and (not facts.plain or facts.binary):
        return Kind("boolean")
    number = f"as_=['{name}=number'] otherwise"
    if facts.whole and facts.zero_led is not None and asked != "number":
        return Kind("words", note=f"{name}: kept as words, for zeros lead whole numbers ({facts.zero_led}); {number}.")
    if facts.whole and facts.wide is not None and asked != "number":
        why = f"whole numbers beyond 2**53 ({facts.wide}) would be rounded; {number}"
        return Kind("words", note=f"{name}: kept as words, for {why}.")
    return _numbers(name, facts, said, asked, usual, sure_comma)


def _numbers(name: str, facts: Facts, said: Spelling, asked: str | None, usual: str | None, comma: bool) -> Kind:
    reading = _reading(name, facts, said, usual, comma)
    read_odd = {"plain": 0, "comma": facts.comma, "grouped": facts.grouped}[reading]
    left = facts.odd_cells - read_odd
    signs = "".join(sorted(facts.affixes)) or next(
        (sign for level in facts.odd for sign in "%$€£¥" if sign in level), ""
    )
    mixed = facts.affixed and 2 * (facts.plain + facts.affixed) > facts.cells and facts.plain
    if mixed or (len(facts.affixes) > 1 and _numeric(facts)):
        got = f"cells with {signs} and others without"
        raise DataError(
            must(f"column {name}", "be in one unit", got, "their numbers would be put together", _remedy(name, signs))
        )
    kind = Kind(_type(facts, reading), reading, affix=next(iter(facts.affixes), ""))
    if left == 0:
        return kind
    loose = [level for level in facts.odd if not _reads(level, reading)]
    read_levels = len(facts.levels) + len(facts.odd) - len(loose)
    if not loose and asked != "category":
        raise _two_ways(name, f"{left:,} cells of another form than the others", "they cannot all be of one kind")
    strange = [level for level in loose if level.lower() not in AMONG_NUMBERS]
    nearly = read_levels > 4 * len(loose) or facts.cells - left >= 20 * left or not strange
    if not (nearly and facts.cells - left > left) and asked != "number":
        note = f"{name}: {read_levels:,} of its {read_levels + len(loose):,} levels are numbers; taken as categories."
        return Kind("words", note=note if read_levels > len(loose) else None)
    if strange:
        raise _neither(name, facts, strange, "numbers")
    count = sum(facts.odd[level][0] for level in loose)
    said_so = f"{name}: {count:,} cells that say {listed([repr(one) for one in loose])} count as missing."
    return replace(kind, missing=tuple(loose), note=said_so)


def _reading(name: str, facts: Facts, said: Spelling, usual: str | None, sure_comma: bool) -> str:
    """Which of the marks is the decimal one in this column."""
    if said.decimal is not None:
        points = facts.point - facts.point3
        if said.decimal == "," and points and facts.plain > facts.cells // 2:
            why, remedy = f"{points:,} cells have a point that stands between no thousands", "decimal='.'"
            raise DataError(must(f"column {name}", "have decimal commas", f"{points:,} cells", why, remedy))
        return (
            "comma" if said.decimal == "," and (facts.comma or facts.point) else "grouped" if facts.grouped else "plain"
        )
    if not facts.comma and not facts.grouped:
        if sure_comma and usual == "," and facts.point and facts.point == facts.point3:
            got = "points with three digits behind each of them"
            raise _two_ways(name, got, "other columns have decimal commas, so these could be thousands")
        return "plain"
    if facts.point > facts.point3 and facts.comma > facts.either:
        got = f"{facts.comma:,} cells with a comma and {facts.point:,} with a point"
        raise _two_ways(name, got, "either could be the decimal mark")
    if facts.comma > facts.either and facts.grouped > facts.either:
        raise _two_ways(name, "commas before three digits and before others", "they cannot all be of one kind")
    if facts.comma > facts.either:
        return "comma"
    if facts.grouped > facts.either or facts.point > facts.point3 or usual == ".":
        return "grouped"
    if usual == ",":
        return "comma"
    raise _two_ways(name, "commas with three digits behind each of them", "they could be thousands or fractions")


def _type(facts: Facts, reading: str) -> str:
    if reading == "comma":
        return "real"
    return "whole" if facts.whole and not facts.fraction else "real"


def _reads(level: str, reading: str) -> bool:
    if reading == "comma":
        level = level.replace(".", "").replace(",", ".")
    for mark in " '\u00a0\u202f" + ("," if reading != "plain" else ""):
        level = level.replace(mark, "") if reading != "plain" else level
    try:
        float(level)
    except ValueError:
        return False
    return "_" not in level


def _dates(name: str, facts: Facts, dated: int) -> Kind:
    """Dates: of ISO as they are; days and months in the one order that all cells allow."""
    left = facts.cells - dated
    what, form = ("date", "iso") if dated == facts.dates else ("time", "iso") if dated == facts.times else ("date", "")
    if not form:
        pairs = [re.split("[./-]", level)[:2] for level in facts.day_levels]
        first, second = max(int(one[0]) for one in pairs), max(int(one[1]) for one in pairs)
        if (first > 12) == (second > 12):
            why, remedy = "day and month could be either", f"writing it as YYYY-MM-DD, or drop=[{name!r}]"
            raise DataError(must(f"column {name}", "hold dates of one order", min(facts.day_levels), why, remedy))
        form = "dmy" if first > 12 else "mdy"
    if left == 0:
        return Kind(what, form)
    strange = [level for level in facts.odd if level.lower() not in AMONG_NUMBERS]
    if strange or sum(count for count, _ in facts.odd.values()) != left:
        raise _neither(name, facts, strange, "dates")
    said_so = f"{left:,} cells that say {listed([repr(one) for one in facts.odd])} count as missing"
    return Kind(what, form, missing=tuple(facts.odd), note=f"{name}: {said_so}.")


def _neither(name: str, facts: Facts, strange: Sequence[str], what: str) -> DataError:
    if not strange:
        return DataError(
            must(f"column {name}", f"hold {what}", "numbers", "none of its cells is one", f"drop=[{name!r}]")
        )
    first = min(strange, key=lambda level: facts.odd[level][1])
    count = sum(facts.odd[level][0] for level in strange)
    others = [repr(level[:20]) for level in strange if level != first][:5]
    more = f" (also {', '.join(others)})" if others else ""
    where = f"{place(facts.odd[first][1], counted_from=1)} is none, {len(strange):,} different ones in all{more}"
    where += f" in {count:,} cells" if count > len(strange) else ""
    return DataError(must(f"column {name}", f"hold {what} only", first[:60], where, _remedy(name, first)))


def _remedy(name: str, word: str) -> str:
    return f"na=[{word[:60]!r}] where it means missing, as_=['{name}=category'], or drop=[{name!r}]"


def _two_ways(name: str, got: str, why: str) -> DataError:
    return DataError(must(f"column {name}", "be numbers that read in one way", got, why, "decimal=',' or decimal='.'"))


def asked_kinds(
    as_: Iterable[str] | Mapping[str, str], categories: Iterable[str], names: Sequence[str]
) -> dict[str, str]:
    """What the user says of columns: `["zip=category"]` or `{"zip": "category"}`, and the list of categories.

    Raises `ArgumentError` for a kind or `DataError` for a column that is not there.

    >>> asked_kinds(["zip=category", "note=text"], ["town"], ["zip", "note", "town"])
    {'town': 'category', 'zip': 'category', 'note': 'text'}
    """
    if isinstance(as_, str) or isinstance(categories, str):
        why = "a word alone would be taken letter by letter"
        raise ArgumentError(
            must("as_", "be a list", as_ if isinstance(as_, str) else categories, why, "as_=['a=text']")
        )
    found = dict.fromkeys(categories, "category")
    for one in as_.items() if isinstance(as_, Mapping) else (one.rpartition("=")[::2] for one in as_):
        found[one[0]] = one[1]
    for name, kind in found.items():
        if kind not in get_args(Word):
            remedy = nearest(str(kind), get_args(Word))
            raise ArgumentError(
                must("as_", "name a column and what it is", f"{name}={kind}", "these are known", remedy)
            )
        if name not in names:
            raise DataError(
                must("as_", "name columns of the table", name, "it has no such column", nearest(name, names))
            )
    return found


def missing_words(said: Spelling, name: str, kind: Kind) -> frozenset[str]:
    """All words that count as missing in one column."""
    own = {one.partition("=")[2] for one in said.na if one.partition("=")[0] == name and "=" in one}
    return frozenset([*(MISSING if kind.usual else ("",)), *said.na, *own, *kind.missing])
