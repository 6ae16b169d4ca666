"""Does a smaller batch want a smaller learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ladle.report import numbers
from ladle.report.rules.finding import Answer
from ladle.report.rules.rows import as_sentence, rows_with


def smaller_rate(compare: Mapping[str, Any]) -> Answer:
    """Holds where the swept rate never falls as the size grows, and is higher at the largest than at the smallest."""
    if "sweep" not in str(compare.get("lr") or "").lower():
        return "not resolved", "Each rate was derived or given, not searched for; a sweep of rates would tell."
    rows = [row for row in rows_with(compare, "lr") if row["lr"] > 0]
    if len(rows) < 2:
        return "not resolved", "Fewer than two sizes have a swept rate."
    rates = [float(row["lr"]) for row in rows]
    told = "best rates " + ", ".join(f"{numbers.short(row['lr'])} at size {row['size']:,}" for row in rows) + "."
    if all(a == b for a, b in pairwise(rates)):
        return "not resolved", f"The sweep chose the same rate everywhere: {told}"
    if all(a <= b for a, b in pairwise(rates)):
        return "holds", as_sentence(told)
    if rates[0] >= rates[-1]:
        return "does not", as_sentence(told)
    return "not resolved", f"The rate rises from smallest to largest size, but not steadily: {told}"
