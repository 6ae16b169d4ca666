"""How far the validation loss of each size still fell at the end of its runs: whether its budget was enough.

late_fall = mean over seeds of  loss(last evaluation in the first three quarters of the run) - loss(last evaluation)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ladle.report.study import Group, RunRecord, Study

FIELD = "late_fall"
"""The field of a row that `with_late_falls` adds: a loss, below 0 where it rose."""

LATE = 0.25
"""The part of a run, in examples, that counts as its end."""

LOSS = "valid_loss"


def with_late_falls(study: Study) -> Mapping[str, Any]:
    """Add the late fall of each row to `study.compare`; None where a run was not evaluated often enough to tell."""
    rows = [{**row, FIELD: late_fall(study.groups[study.group_of(row)])} for row in study.rows]
    return {**study.compare, "runs": rows}


def late_fall(group: Group) -> float | None:
    """Measure how far the loss of `group` fell in the last quarter of its runs, a mean over seeds.

    None where a run has no evaluation before that.

    >>> from pathlib import Path
    >>> lines = [{"examples": x, "valid_loss": y} for x, y in ((0, 2.0), (75, 0.5), (90, 0.4), (100, 0.25))]
    >>> late_fall(Group("8", 8, (RunRecord(Path("a"), {}, tuple(lines)),)))
    0.25
    """
    falls = [_fall(run) for run in group.runs]
    known = [fall for fall in falls if fall is not None]
    return sum(known) / len(known) if known and len(known) == len(falls) else None


def _fall(run: RunRecord) -> float | None:
    examples, losses = run.column(LOSS)
    if not examples.size:
        return None
    before = losses[examples <= (1 - LATE) * examples[-1]]
    return float(before[-1] - losses[-1]) if before.size else None
