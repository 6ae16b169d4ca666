"""The table of a search: every candidate with its mean, standard error, updates and seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ladle.report import numbers


def text(found: Mapping[str, Any]) -> str:
    """`search.json` as aligned plain text. `*` marks the best mean, `>` the choice.

    >>> row = {"size": 16, "lr": 0.01, "mean": 0.98, "se": 0.003, "seconds": 0.04, "updates": 1440, "complete": True}
    >>> about = {"metric": "valid_accuracy", "best": 0, "chosen": 0, "prefer": "seconds", "folds": 5, "seeds": 1}
    >>> print(text({**about, "candidates": [row]}).splitlines()[1])
    >*   16 0.01         0.9800 0.0030   1,440 40 ms
    """
    metric = str(found["metric"]).removeprefix("valid_")
    lines = [["", "size", "rate", f"valid {metric}", "+- se", "updates", "time a fit"]]
    for number, row in enumerate(found["candidates"]):
        mark = (">" if number == found["chosen"] else "") + ("*" if number == found["best"] else "")
        lines.append([mark, *_cells(row)])
    widths = [max(len(line[j]) for line in lines) for j in range(len(lines[0]) - 1)]
    out = [" ".join([*(w.rjust(n) for w, n in zip(line, widths, strict=False)), line[-1]]).rstrip() for line in lines]
    cheapest = "seconds (median of a size)" if found["prefer"] == "seconds" else "updates"
    out.append(f"* best mean; > chosen: the fewest {cheapest} within one standard error of it, then the better mean")
    rows = found["candidates"]
    if (whole := sum(row["complete"] for row in rows)) < len(rows):
        out.append(f"chosen among the {whole} of {len(rows)} trained to the end")
    seeds = "1 seed" if found["seeds"] == 1 else f"{found['seeds']} seeds"
    out.append(f"means over {found['folds']} folds, {seeds} each; rates as given at each size")
    out += [f"failed: size {row['size']}, rate {row['lr']:.3g}: {row['failed']}" for row in rows if row.get("failed")]
    return "\n".join(out)


def _cells(row: Mapping[str, Any]) -> list[str]:
    broke = "failed" if row.get("failed") else "diverged" if row.get("diverged") else ""
    value = broke or numbers.loss(row["mean"])
    ended = "" if row["complete"] or broke else " (ended early)"
    counts = f"{row['size']:,}", f"{row['lr']:.3g}", value, numbers.loss(row["se"]), f"{row['updates']:,}"
    return [*counts, numbers.duration(row["seconds"]) + ended]
