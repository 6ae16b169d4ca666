"""What a search is asked for: the user's words as a `Space`, and every refusal before any work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ladle.api.assembly import Assembly, resolve_size
from ladle.api.fitting import fitted, fitting, fitting_folds
from ladle.api.until import higher_of
from ladle.api.workers import require_workers
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must, nearest
from ladle.core.spec import require_count
from ladle.search.folds import Folds, folds_of
from ladle.search.methods import METHODS
from ladle.search.space import Space
from ladle.search.trial import Executor

SIZES, FOLDS = (16, 32, 64, 128), 5
"""What is tried where nothing is given, as far as the rows go."""

AROUND = (0.3, 1.0, 3.0)
"""Rates tried where none are given, as multiples of the usual one."""


def space_of(
    assembly: Assembly,
    *,
    sizes: Sequence[int | str] | None,
    lrs: Sequence[float] | None,
    folds: int | None,
    seeds: int,
    until: str | Until,
    metric: str | None,
    seed: int,
) -> Space:
    """The space that `search` was asked to try. Raises `ArgumentError` for what cannot be tried."""
    _require_task(assembly)
    data = assembly.task.data
    labels = data.train["y"] if data.kind == "classification" and data.train["y"].ndim == 1 else None
    count = fitting_folds(FOLDS, data.rows, labels) if folds is None else folds
    parts = folds_of(data.rows, count, seed=seed, labels=labels)
    judged = _metric(metric, assembly)
    return Space(
        sizes=_sizes(fitting(SIZES, parts.epoch_size, fewest=2) if sizes is None else sizes, parts),
        lrs=_rates(lrs, assembly),
        folds=parts,
        seeds=require_count("seeds", seeds),
        until=_bounded(until),
        metric=judged,
        seed=seed,
        higher=higher_of(judged, assembly, "metric", "state its direction"),
    )


def adapted(space: Space, sizes: object, folds: object) -> list[str]:
    """What was taken in place of the usual sizes and folds, where these were left out and the data is too small."""
    rows = space.folds.epoch_size
    return [
        *(fitted("folds", [space.folds.count], [FOLDS], len(space.folds.of)) if folds is None else ()),
        *(fitted("sizes", space.sizes, SIZES, rows) if sizes is None else ()),
    ]


def require_way(
    assembly: Assembly,
    *,
    method: str,
    trials: int | None,
    prefer: str,
    workers: str | Executor,
    micro_size: int | None,
    refit: bool,
) -> None:
    """Refuse ways to search, choose and refit that there are not."""
    for name, value, known in (("method", method, tuple(METHODS)), ("prefer", prefer, ("seconds", "updates"))):
        if value not in known:
            raise ArgumentError(must(name, "be a known word", value, "it has these", nearest(str(value), known)))
    if trials is not None and (method != "model" or require_count("trials", trials) < 2):
        why = "a grid has its number" if method != "model" else "one candidate is no search"
        raise ArgumentError(
            must("trials", "be at least 2, with method='model'", trials, why, "trials=20 with method='model'")
        )
    if micro_size is not None:
        require_count("micro_size", micro_size)
    if refit and assembly.valid is None:
        why, remedy = (
            "what is trained on every row has none left to be judged on",
            "valid=0.2 for the data, or refit=False",
        )
        raise ArgumentError(must("refit", "have validation rows", "none", why, remedy))
    require_workers(workers, assembly, "auto", "vmapped")


def _require_task(assembly: Assembly) -> None:
    """Refuse tasks whose rows, order or rate are not the search's to choose."""
    task = assembly.task
    if assembly.placed is None:
        why, remedy = (
            "folds are drawn from all rows by number",
            "data in memory: stream=False, no feed of its own, and an augment that updates can hold",
        )
        raise ArgumentError(must("data", "be arrays in memory", task.data.name, why, remedy))
    if task.order != "permuted":
        shown = task.order if isinstance(task.order, str) else "a function"
        why = "each fold is shuffled anew in each pass"
        raise ArgumentError(must("order", "be 'permuted'", shown, why, "order='permuted'"))
    if callable(task.lr) or assembly.optimizer.lr is None:
        why = "the rates tried are rates from begin to end"
        raise ArgumentError(must("lr", "be left to the search", "a schedule", why, "a named optimiser with lr='auto'"))


def _sizes(sizes: Sequence[int | str], folds: Folds) -> tuple[int, ...]:
    rows = folds.epoch_size
    several = _several("sizes", sizes, "a size", "sizes=[16, 64]")
    known = sorted({resolve_size(size, max(len(folds.of), 1), "sizes") if size != "full" else rows for size in several})
    if known[-1] > rows:
        be, why = f"be at most the {rows:,} rows that a fold trains on", "a batch never crosses an epoch"
        raise ArgumentError(must("sizes", be, known[-1], why, "sizes=['full'], or more folds"))
    return tuple(known)


def _rates(lrs: Sequence[float] | None, assembly: Assembly) -> tuple[float, ...]:
    if lrs is None:
        assert assembly.reference_lr is not None
        lrs = [factor * assembly.reference_lr for factor in AROUND]
    several = _several("lrs", lrs, "a rate", "lrs=[1e-3, 1e-2]")
    for lr in several:
        if isinstance(lr, bool) or not isinstance(lr, int | float | np.floating | np.integer) or not 0 < lr < math.inf:
            why = "a rate of zero learns nothing"
            raise ArgumentError(must("lrs", "be positive numbers", lr, why, "lrs=[1e-3, 1e-2]"))
    return tuple(sorted({float(lr) for lr in several}))


def _several(name: str, values: Any, one: str, remedy: str) -> list[Any]:
    """`values` as a list of at least one. A text is none: its letters are no sizes."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        why = "all of them are tried"
        shown = str(values).replace(",", " ").split() if isinstance(values, str) else [str(values)]
        raise ArgumentError(must(name, "be a list", values, why, f"{name}=[{', '.join(shown)}]"))
    if not (several := list(values)):
        raise ArgumentError(must(name, f"name {one}", "nothing", "there is nothing to try", remedy))
    return several


def _bounded(until: str | Until) -> Until:
    read = Until.parse(until)
    if (read.seconds, read.target, read.patience) != (None, None, None):
        why = "all trials get the same budget, whatever the machine does"
        raise ArgumentError(must("until", "be epochs, examples or steps", until, why, "until='20 epochs'"))
    return read


def _metric(metric: str | None, assembly: Assembly) -> str:
    known = ["valid_loss", *("valid_" + name for name in assembly.objective.metrics if "/" not in name)]
    if metric is None:
        return "valid_accuracy" if "valid_accuracy" in known else "valid_loss"
    if metric not in known:
        raise ArgumentError(must("metric", "be measured", metric, "the task has others", nearest(str(metric), known)))
    return metric
