"""The table of a search: every candidate with its mean, standard error, updates and seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ladle.report import numbers
from ladle.report.direction import direction, unstated


def text(found: Mapping[str, Any]) -> str:
    """Write a `search.json` as aligned plain text. `*` marks the best mean, `>` the choice.

    Nothing is called best by a metric that does not state its direction; the choice is then marked alone.

    >>> row = {"size": 16, "lr": 0.01, "mean": 0.98, "se": 0.003, "seconds": 0.04, "updates": 1440, "complete": True}
    >>> about = {"metric": "valid_accuracy", "best": 0, "chosen": 0, "prefer": "seconds", "folds": 5, "seeds": 1}
    >>> print(text({**about, "candidates": [row]}).splitlines()[1])
    >*   16 0.01         0.9800 0.0030   1,440 40 ms
    """
    metric = str(found["metric"]).removeprefix("valid_")
    stated = direction(metric, found) is not None
    lines = [["", "size", "rate", f"valid {metric}", "+- se", "updates", "time a fit"]]
    for number, row in enumerate(found["candidates"]):
        best = "*" if stated and number == found["best"] else ""
        lines.append([(">" if number == found["chosen"] else "") + best, *_cells(row)])
    widths = [max(len(line[j]) for line in lines) for j in range(len(lines[0]) - 1)]
    out = [" ".join([*(w.rjust(n) for w, n in zip(line, widths, strict=False)), line[-1]]).rstrip() for line in lines]
    return "\n".join([*out, _marks(found, metric, stated), *_notes(found)])


def _marks(found: Mapping[str, Any], metric: str, stated: bool) -> str:
    """What the marks before the rows mean."""
    if not stated:
        return f"> chosen; valid {unstated(metric)}"
    cheapest = "seconds (median of a size)" if found["prefer"] == "seconds" else "updates"
    return f"* best mean; > chosen: the fewest {cheapest} within one standard error of it, then the better mean"


def _notes(found: Mapping[str, Any]) -> list[str]:
    rows = found["candidates"]
    whole = sum(row["complete"] for row in rows)
    out = [f"chosen among the {whole} of {len(rows)} trained to the end"] if whole < len(rows) else []
    seeds = "1 seed" if found["seeds"] == 1 else f"{found['seeds']} seeds"
    out.append(f"means over {found['folds']} folds, {seeds} each; rates as given at each size")
    return out + [
        f"failed: size {row['size']}, rate {row['lr']:.3g}: {row['failed']}" for row in rows if row.get("failed")
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    broke = "failed" if row.get("failed") else "diverged" if row.get("diverged") else ""
    value = broke or numbers.loss(row["mean"])
    ended = "" if row["complete"] or broke else " (ended early)"
    counts = f"{row['size']:,}", f"{row['lr']:.3g}", value, numbers.loss(row["se"]), f"{row['updates']:,}"
    return [*counts, numbers.duration(row["seconds"]) + ended]
