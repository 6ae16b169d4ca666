"""What the cells of a part of a column look like, counted by Arrow: what `kinds.py` decides by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ladle.core.dialect import Dialect
from ladle.core.errors import DataError, must
from ladle.data.kinds import MOST_ODD, Facts

_C: Any = pc
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?([iI][nN][fF]|[iI]nfinity)$"
_COMMA = r"^[+-]?(\d+|[1-9]\d{0,2}([. '\x{a0}\x{202f}]\d{3})+),\d+([eE][+-]?\d+)?$|^[+-]?[1-9]\d{0,2}(\.\d{3}){2,}$"
_GROUPED = r"^[+-]?[1-9]\d{0,2}([, '\x{a0}\x{202f}]\d{3})+(\.\d+)?$"
_EITHER = r"^[+-]?[1-9]\d{0,2},\d{3}$"
_POINT3 = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"
_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}([.]\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?$"
_TIME = r"^\d{2}:\d{2}(:\d{2})?$"
_DAY = r"^\d{1,2}([./-])\d{1,2}[./-]\d{4}$"
_AFFIX = r"^[$€£¥]\s?[\d.,+-]+$|^[\d.,+-]+\s?[%$€£¥]$"


_FORMS = {"comma": _COMMA, "grouped": _GROUPED, "either": _EITHER, "dates": _DATE, "times": _TIME, "days": _DAY}


def facts_of(chunk: Any, start: int, missing: Any, dialect: Dialect) -> Facts:
    """What the cells of a part of a column look like; `start`: the row of the first one. `missing`: words, of Arrow."""
    text = _C.utf8_trim_whitespace(chunk)
    gone = _C.is_in(text, value_set=missing)
    whole = not _C.any(gone).as_py()
    present = text if whole else text.filter(_C.invert(gone))
    facts = Facts(cells=len(present))
    if not len(present):
        facts.values.append(pa.nulls(len(text), pa.float64()))
        return facts
    present = _without_affix(present, facts)
    try:
        values = present.cast(pa.float64())
        plain, odd = present, present.slice(0, 0)
        kept = values if whole else _C.if_else(gone, pa.scalar(None, pa.string()), text).cast(pa.float64())
        facts.values.append(None if facts.affixes != {""} else kept)
    except pa.ArrowInvalid:
        mask = _C.match_substring_regex(present, _NUMBER)
        plain, odd = present.filter(mask), present.filter(_C.invert(mask))
        values = plain.cast(pa.float64())
        facts.values.append(None)
    if len(plain):
        _plain(facts, plain, values.to_numpy(zero_copy_only=False), bool(len(odd)))
    if len(odd):
        _odd(facts, odd, text, start, dialect)
    return facts


def _without_affix(present: Any, facts: Facts) -> Any:
    first = present[0].as_py()
    sign = next((one for one in "%$€£¥" if one in first), None)
    if sign is not None and _C.all(_C.match_substring_regex(present, _AFFIX)).as_py():
        bare = _C.utf8_trim_whitespace(_C.replace_substring(present, sign, "", max_replacements=1))
        if not _C.any(_C.match_substring_regex(bare, "[%$€£¥]")).as_py():
            facts.affixes.add(sign)
            return bare
    facts.affixes.add("")
    return present


def _plain(facts: Facts, plain: Any, values: np.ndarray, mixed: bool) -> None:
    facts.plain = len(plain)
    facts.binary = bool(((values == 0) | (values == 1)).all())
    with np.errstate(invalid="ignore"):  # Infinity has no fraction to speak of.
        facts.whole = bool((values[:256] % 1 == 0).all() and (values % 1 == 0).all())
    if facts.whole:
        facts.whole = _C.all(_C.match_substring_regex(plain, r"^[+-]?\d+$")).as_py()
    if facts.whole:
        far = np.abs(values) >= 2**53
        if far.any():
            facts.wide = plain[int(np.argmax(far))].as_py()
        # A leading zero shows in the length of a number, which is quicker to look at than its letters.
        led = _C.match_substring_regex(plain, r"^[+-]?0\d")
        facts.zero_led = plain.filter(led)[0].as_py() if _C.any(led).as_py() else None
    else:
        for part in (plain.slice(0, 256), plain):  # A few cells mostly show that points stand between no thousands.
            facts.point = _C.sum(_C.match_substring(part, ".")).as_py() or 0
            facts.point3 = _C.sum(_C.match_substring_regex(part, _POINT3)).as_py() or 0
            if facts.point > facts.point3:
                break
    if mixed:  # Only beside other cells is it asked how many there are.
        facts.levels.update(_C.unique(plain).slice(0, 4096).to_pylist())
    else:
        facts.levels.update(plain.slice(0, 32).to_pylist())


def _odd(facts: Facts, odd: Any, text: Any, start: int, dialect: Dialect) -> None:
    facts.odd_cells = len(odd)
    known = None
    for name, pattern in _FORMS.items():
        mask = _C.match_substring_regex(odd, pattern)
        setattr(facts, name, _C.sum(mask).as_py() or 0)
        known = mask if known is None else _C.or_(known, mask)
        if name == "days" and facts.days:
            facts.day_levels.update(_C.unique(odd.filter(mask)).to_pylist())
    facts.levels.update(_C.unique(odd.filter(known)).slice(0, MOST_ODD).to_pylist())
    loose = odd.filter(_C.invert(known))
    for at, one in enumerate(_C.value_counts(loose).slice(0, MOST_ODD).to_pylist()):
        # Finding a row is a look through all of them: a few are enough to name one.
        row = start + _C.index(text, one["values"]).as_py() if at < 16 else start + len(text)
        facts.odd[one["values"]] = one["counts"], row
    facts.affixed = _C.sum(_C.match_substring_regex(loose, _AFFIX)).as_py() or 0
    facts.fraction = _C.any(_C.match_substring_regex(odd, r"\d,\d{3}\.\d+$")).as_py()
    if not dialect.quote:
        wrapped = loose.filter(_C.match_substring_regex(loose, '^".*"$'))
        facts.quoted = wrapped[0].as_py() if len(wrapped) and 2 * len(wrapped) >= len(odd) else None
    swallowed = loose.filter(_C.match_substring(loose, "\n"))
    for cell in swallowed.slice(0, 64).to_pylist():
        _refuse_swallowed(cell, dialect, start + _C.index(text, cell).as_py())


def _refuse_swallowed(cell: str, dialect: Dialect, row: int) -> None:
    """A quote that nobody closed makes one cell of many rows."""
    inner = cell.split("\n")[1:-1]
    alike = sum(line.count(dialect.delimiter) == len(dialect.names) - 1 for line in inner)
    if len(dialect.names) > 1 and inner and 2 * alike > len(inner):
        got = f"a cell of {len(inner) + 2:,} lines in row {row + 1:,} (counted from 1, without a header)"
        why = "its lines have as many cells as the table has columns, so a quote is open"
        raise DataError(must("data", "hold cells with closed quotes", got, why, "quote='none', or closing it"))
