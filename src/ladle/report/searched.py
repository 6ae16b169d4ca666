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
    out.append(f"* best mean; > chosen: the fewest {found['prefer']} within one standard error of it")
    seeds = "1 seed" if found["seeds"] == 1 else f"{found['seeds']} seeds"
    out.append(f"means over {found['folds']} folds, {seeds} each; rates as given at each size")
    return "\n".join(out)


def _cells(row: Mapping[str, Any]) -> list[str]:
    value = "diverged" if row.get("diverged") else numbers.loss(row["mean"])
    ended = "" if row["complete"] or row.get("diverged") else " (ended early)"
    counts = f"{row['size']:,}", f"{row['lr']:.3g}", value, numbers.loss(row["se"]), f"{row['updates']:,}"
    return [*counts, numbers.duration(row["seconds"]) + ended]
