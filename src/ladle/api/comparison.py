"""What a comparison measures of the runs of one size: a row of its table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ladle.api.assembly import Assembly
from ladle.api.run import Run
from ladle.core import record
from ladle.core.errors import RunError
from ladle.core.spec import BatchSpec
from ladle.planner.variance import gradient_variance

FIELDS = (
    "updates", "examples", "seconds", "train_loss", "valid_loss", "valid_metric", "test_loss", "test_metric",
    "examples_per_second",
    "gradient_variance", "sharpness", "generalisation_gap", "device_use", "joules",
)  # fmt: skip


@dataclass(frozen=True)
class Entrant:
    """One batch size of a comparison. `swept`: the rates that were tried, each with its updates over the best's."""

    name: str
    spec: BatchSpec
    lr: float | None
    hyper: Mapping[str, float]
    swept: Sequence[tuple[float, float]] = ()

    def same(self, other: Entrant) -> bool:
        """Whether a run of one is a run of the other: a plan may choose what was asked for anyway."""
        return (self.spec, self.lr, self.hyper) == (other.spec, other.lr, other.hyper)


def peaks_of(assembly: Assembly, entrants: Sequence[Entrant]) -> list[int | None]:
    """Peak memory of an update at each size, measured in one child process; None where the child failed."""
    specs = sorted({entrant.spec for entrant in entrants}, key=lambda spec: spec.micro_size)
    probe = assembly.engine.probe(assembly.measured_feed(0), BatchSpec(1, 1), hyper={})
    try:
        peaks = dict(zip(specs, probe.confirm_all(specs), strict=True))
    except RunError:
        return [None] * len(entrants)
    return [peaks[entrant.spec] for entrant in entrants]


def row_of(
    assembly: Assembly,
    entrant: Entrant,
    runs: Sequence[Run],
    measured: Sequence[Mapping[str, float | None]],
    peak: int | None,
) -> dict[str, Any]:
    """One line of the table: means over seeds (of the speed: of sums), with the span of the seeds beside."""
    row: dict[str, Any] = {
        "name": entrant.name,
        "size": entrant.spec.size,
        "micro_size": entrant.spec.micro_size,
        "lr": entrant.lr,
        "peak_memory_bytes": peak,
        "metric": metric_of(assembly),
        "seed_count": len(runs),
        "diverged": any(run.status == "diverged" for run in runs),
        "folders": [run.folder.name for run in runs if run.folder is not None],
        "hyper": dict(entrant.hyper),
        "lr_sweep": [list(pair) for pair in entrant.swept],
        "spread": {},
    }
    for name in FIELDS:
        values = [x for one in measured if (x := one.get(name)) is not None and math.isfinite(x)]
        row[name] = sum(values) / len(values) if values else None
        row["spread"][name] = [min(values), max(values)] if values else None
    row["examples_per_second"] = speed_of(measured)
    row["updates"], row["examples"] = (
        round(row[name]) if row[name] is not None else None for name in ("updates", "examples")
    )
    return row


def speed_of(measured: Sequence[Mapping[str, float | None]]) -> float | None:
    """Examples of all seeds over seconds of all seeds: a mean of their speeds would favour the fastest.

    >>> speed_of([{"examples": 1000, "seconds": 1.0}, {"examples": 1000, "seconds": 3.0}])
    500.0
    """
    timed = [(one["examples"], one["seconds"]) for one in measured]
    examples, seconds = (sum(x for x in column if x is not None) for column in zip(*timed, strict=True))
    return examples / seconds if seconds else None


def measured_of(assembly: Assembly, entrant: Entrant, run: Run) -> dict[str, float | None]:
    """What is measured of one run."""
    final, metric = run.final, metric_of(assembly)
    measured = assembly.measured_feed(0)
    train = assembly.engine.evaluate(run.state, measured.data, prefix="train_")
    seconds = final["seconds"]
    gap = final["valid_loss"] - train["train_loss"] if "valid_loss" in final else None
    busy = sum(line.get("cpu_seconds", 0.0) for line in run.metrics) if assembly.backend.on_host() else None
    cores = record.hardware()["cores"] or 1
    return {
        "updates": final["updates"],
        "examples": final["examples"],
        "seconds": seconds,
        "train_loss": train["train_loss"],
        "valid_loss": final.get("valid_loss"),
        "valid_metric": final.get(f"valid_{metric}") if metric else None,
        "test_loss": final.get("test_loss"),
        "test_metric": final.get(f"test_{metric}") if metric else None,
        "examples_per_second": final["examples"] / seconds if seconds else None,
        "gradient_variance": gradient_variance(assembly.engine, measured, run.state, entrant.spec),
        "sharpness": assembly.engine.sharpness(run.state, measured.data),
        "generalisation_gap": gap,
        "device_use": None if busy is None or not seconds else min(busy / (seconds * cores), 1.0),
        "joules": run.used.joules if run.used is not None and run.used.source == "measured" else None,
    }


def metric_of(assembly: Assembly) -> str | None:
    return next((name for name in assembly.objective.metrics if "/" not in name), None)  # Not those of one source.
