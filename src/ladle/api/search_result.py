"""`Search`: what a search found, as a value, as JSON data and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ladle.api.run import Run
from ladle.core import record
from ladle.core.shown import shown
from ladle.report.search import text
from ladle.search.row import Row
from ladle.search.trial import Outcome


@dataclass(frozen=True)
class Search:
    """What a search found. `best`: the row with the best mean; `chosen`: the cheapest within a standard error of it."""

    rows: list[Row]
    best: Row
    chosen: Row
    metric: str
    facts: Mapping[str, Any] = field(repr=False)
    folder: Path | None = None
    refit: Run | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return text(to_json(self))

    def _repr_html_(self) -> str:
        return shown(self, str(self))


def to_json(found: Search) -> dict[str, Any]:
    """The search as JSON data, each trial with its readings."""
    refit = None if found.refit is None else {"status": found.refit.status, "final": dict(found.refit.final)}
    return record.plain(
        {
            "status": "finished",
            "metric": found.metric,
            "best": found.rows.index(found.best),
            "chosen": found.rows.index(found.chosen),
            "candidates": [_candidate(row) for row in found.rows],
            "refit": refit,
            **found.facts,
        }
    )


def _candidate(row: Row) -> dict[str, Any]:
    return {
        "size": row.candidate.size,
        "lr": row.candidate.lr,
        "mean": row.score.mean,
        "se": row.score.se,
        "seconds": row.seconds,
        "updates": row.updates,
        "complete": row.complete,
        "diverged": row.diverged,
        "failed": row.failed or None,
        "trials": [_trial(one) for one in row.outcomes],
    }


def _trial(one: Outcome) -> dict[str, Any]:
    told = {"failed": one.failed} if one.failed else one.reading
    return {"fold": one.trial.fold, "seed": one.trial.seed, "seconds": one.seconds, **told}


def unfinished(trials: Mapping[Any, Outcome], error: BaseException) -> dict[str, Any]:
    """What is left of a search that `error` ended: each trial that had an outcome, as far as it had come."""
    return record.plain(
        {
            "status": "interrupted" if isinstance(error, KeyboardInterrupt) else "failed",
            "why": str(error),
            "trials": [
                {"size": trial.candidate.size, "lr": trial.candidate.lr, "updates": one.updates, **_trial(one)}
                for trial, one in trials.items()
            ],
        }
    )
