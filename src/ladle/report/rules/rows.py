"""Rows of a comparison as the rules read them: which count, how far their seeds are apart, how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ladle.report import numbers

Row = Mapping[str, Any]
Band = tuple[float, float]

SPEED_MARGIN = 0.05


def data_rows(compare: Mapping[str, Any]) -> int | None:
    rows = (compare.get("data") or {}).get("rows")
    return int(rows) if numbers.finite(rows) else None


def rows_with(compare: Mapping[str, Any], field: str) -> list[Row]:
    """Runs with a finite `field` that did not diverge, by size. The same runs under a second name count once."""
    runs, seen = [], set()
    for row in compare.get("runs") or ():
        folders = tuple(row.get("folders") or ())
        if not row.get("diverged") and (not folders or folders not in seen):
            runs.append(row)
        seen.add(folders)
    known = [row for row in runs if numbers.finite(row.get(field)) and numbers.finite(row.get("size"))]
    return sorted(known, key=lambda row: row["size"])


def seed_range(row: Row, field: str) -> Band | None:
    """Lowest and highest seed, or None where fewer than two seeds ran."""
    band = (row.get("spread") or {}).get(field)
    if band is None or (row.get("seed_count") or 1) < 2 or not all(numbers.finite(end) for end in band):
        return None
    return float(band[0]), float(band[1])


def speed_range(row: Row) -> Band:
    """Speed is an average over many updates: where one seed ran it is good to a few per cent, not unknown."""
    value = float(row["examples_per_second"])
    low, high = seed_range(row, "examples_per_second") or (value, value)
    return min(low, value * (1 - SPEED_MARGIN)), max(high, value * (1 + SPEED_MARGIN))


def as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def seen(row: Row, field: str) -> str:
    band = seed_range(row, field)
    text = numbers.loss(row.get(field))
    return f"{text} ({numbers.loss(band[0])} to {numbers.loss(band[1])})" if band else text
