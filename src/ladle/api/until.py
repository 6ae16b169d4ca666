"""What ends a run, held against what the run measures: an end that could never be is refused before any work."""

from __future__ import annotations

from dataclasses import replace

from ladle.api.assembly import Assembly
from ladle.core.constants import EMA
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must, nearest


def require_measured(until: Until, assembly: Assembly) -> Until:
    """`until` with the direction of the metric that patience watches.

    Raises `ArgumentError` for a target or patience on a metric that no line of the record will have, and for patience
    on one that does not say which way it is better.
    """
    if until.target is not None:
        _require_known("a target", until.target.metric, assembly)
    if until.patience is None:
        return until
    _require_known("patience", until.patience_metric, assembly)
    return replace(
        until, higher=higher_of(until.patience_metric, assembly, "until", "have patience on a metric with a direction")
    )


def known_metrics(assembly: Assembly) -> list[str]:
    """Names of all that the record of a run will hold of its loss and metrics."""
    names = [name for name in assembly.directions if "/" not in name]
    trained = [f"train_{name}" for name in names if not name.startswith(f"{EMA}_")]  # Nothing is trained on an average.
    return [*trained, *(f"valid_{name}" for name in names if assembly.valid is not None)]


def _require_known(what: str, metric: str, assembly: Assembly) -> None:
    known = known_metrics(assembly)
    if metric in known:
        return
    if metric.startswith("valid_") and assembly.valid is None:
        remedy = "train_loss in its place, or valid=0.2 for the data"
        raise ArgumentError(must("until", f"have {what} that is measured", metric, "no rows validate", remedy))
    why = "no line of the record would have it, and the run would not end there"
    raise ArgumentError(must("until", f"have {what} that is measured", metric, why, nearest(metric, known)))


def higher_of(metric: str, assembly: Assembly, argument: str, be: str) -> bool:
    """Whether more of `metric` is better, as it states or its name says. Raises `ArgumentError` where nothing does.

    - `argument`, `be`: what is asked of which argument, for the sentence.
    """
    name = metric.partition("_")[2]
    direction = assembly.directions.get(name)
    if direction is None:
        why = f"{name} does not say which way it is better"
        remedy = f"ladle.metrics.higher({name}) or ladle.metrics.lower({name}) as the task's metric"
        raise ArgumentError(must(argument, be, metric, why, remedy))
    return direction == "higher"
