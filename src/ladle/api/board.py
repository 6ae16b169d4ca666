"""`serve_board`: the board over a folder of runs, with plans held against records as reports hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ladle.board.follow import Followed
from ladle.board.index import Entry
from ladle.board.lines import number
from ladle.report.outcome import held
from ladle.report.study import RunRecord

WINDOWS = 1000
"""A plan is held against so many windows of a record at most, evenly taken: several of a longer one are one then."""

HELD = ("examples", "updates", "seconds", "size", "memory_bytes")


def serve_board(folder: Path, *, port: int, address: str, ready: Callable[[str], None]) -> None:
    """Serve the board over `folder` until an interrupt. `ready` is told its address.

    Raises `ArgumentError` for a port that is taken.
    """
    from ladle.board.server import make_server, serve

    serve(make_server(folder, outcome, port=port, address=address), ready)


def outcome(entry: Entry, run: Followed) -> Sequence[dict[str, Any]]:
    """Every number that both the run's plan and its record know; none where it had no plan."""
    plan = entry.info.get("plan")
    if not isinstance(plan, dict) or not run.rows.count:
        return []
    record = RunRecord(entry.folder, entry.info, tuple(_lines(run)))
    try:
        found = held(plan, [record])
    except (TypeError, ValueError, KeyError, AttributeError):
        return []  # A plan of a form that this version does not know is no reason to show nothing else.
    return [
        {
            "name": one.name,
            "unit": one.unit,
            "predicted": one.predicted if number(one.predicted) else None,
            "actual": one.actual if number(one.actual) else None,
            "ends": [end if number(end) else None for end in one.actual_ends],
            "ratio": one.ratio if number(one.ratio) else None,
            "how": one.how,
        }
        for one in found
    ]


def _lines(run: Followed) -> list[dict[str, float]]:
    """Lines of the record, evenly taken, with the sums of the gradient's moments over what lies between them."""
    rows, count = run.rows, run.rows.count
    places = np.unique(np.linspace(0, count - 1, min(count, WINDOWS)).astype(int))
    sums = [name for name in rows if name.startswith("noise/")]
    columns = {name: rows[name][places] for name in HELD}
    begins = np.concatenate(([0], places[:-1] + 1))
    columns |= {name: np.add.reduceat(np.nan_to_num(rows[name]), begins) for name in sums}
    return [
        {name: float(column[at]) for name, column in columns.items() if np.isfinite(column[at])}
        for at in range(len(places))
    ]
