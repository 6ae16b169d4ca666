"""Run folders as a comparison writes them, with closed-form numbers: for the tests of this room."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.record import COMPARE_FILE, METRICS_FILE, RUN_FILE, plain, write_json

ROWS = 1437
LEVEL = {"full": 0.42, "64": 0.11, "1": 0.16}


def write_run(
    folder: Path, *, size: int, seed: int = 0, level: float = 0.1, status: str = "finished", **info: Any
) -> Path:
    """A run of 30 epochs whose validation loss falls from 2.3 to about `level`, one line an epoch and a half."""
    folder.mkdir(parents=True)
    write_json(folder / RUN_FILE, run_info(status=status, seed=seed, **info))
    random, lines = np.random.default_rng(seed + size), []
    for k in range(1, 41):
        examples = -(-round(k * 30 * ROWS / 40) // size) * size
        rest = float(np.exp(-k / 6))
        valid = level * (1 + 0.05 * seed) + (2.3 - level) * rest + 0.005 * random.standard_normal()
        lines.append(
            {
                "examples": examples,
                "updates": -(-examples // size),
                "epoch": examples / ROWS,
                "size": size,
                "seconds": examples * (1e-6 + 2e-5 / size) * (1 + 0.02 * seed),
                "micro_size": min(size, 1024),
                "lr": 0.01,
                "train_loss": max(valid - 0.02, 1e-4),
                "valid_loss": valid,
                "grad_norm": 1.0,
                "noise_scale": 60.0,
                "valid_accuracy": 1 - 0.3 * valid,
                "train_accuracy": 1 - 0.25 * valid,
                "memory_bytes": 3_000_000 + 4000 * size,
            }
        )
    if status == "diverged":
        lines = [*lines[:10], {**lines[10], "train_loss": 30.0, "valid_loss": float("nan"), "valid_accuracy": None}]
    write_lines(folder / METRICS_FILE, lines)
    return folder


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(plain(line)) + "\n" for line in lines), encoding="utf-8")


def run_info(**more: Any) -> dict[str, Any]:
    """A `run.json`."""
    info = {
        "status": "finished",
        "command": ["ladle", "compare", "digits"],
        "model": "mlp 64-128-10",
        "optimizer": "adam",
        "data": {"name": "digits", "rows": ROWS, "digest": "3f2a" * 16, "kind": "classification"},
        "versions": {"python": "3.11.9", "ladle": "0.1.0", "jax": "0.10.2", "numpy": "2.4.0"},
        "hardware": {
            "machine": "x86_64",
            "system": "Linux",
            "processor": "A Processor",
            "cores": 2,
            "memory_bytes": 8e9,
            "devices": ["cpu:0"],
        },
    }
    return info | more


def row(name: str, size: int, *, seeds: int = 3, **more: Any) -> dict[str, Any]:
    """An entry of "runs": numbers follow simple laws in `size`."""
    level = LEVEL.get(name, 0.12)
    speed, variance = 1 / (1e-6 + 2e-5 / size), 40.0 / size * (1 - min(size, ROWS) / ROWS)
    made: dict[str, Any] = {
        "name": name,
        "size": size,
        "micro_size": min(size, 1024),
        "lr": 0.001 * size**0.5,
        "updates": 30 * ROWS // size,
        "examples": 30 * ROWS,
        "seconds": 30 * ROWS / speed,
        "train_loss": level - 0.02,
        "valid_loss": level,
        "valid_metric": 1 - 0.3 * level,
        "metric": "valid_accuracy",
        "peak_memory_bytes": 3e6 + 4000 * size,
        "examples_per_second": speed,
        "gradient_variance": variance,
        "sharpness": 30.0 - 3 * np.log(size),
        "generalisation_gap": 0.02,
        "device_use": 0.9,
        "diverged": False,
        "seed_count": seeds,
    }
    made |= more
    fields = (
        "valid_loss",
        "train_loss",
        "valid_metric",
        "examples_per_second",
        "gradient_variance",
        "generalisation_gap",
    )
    spread = {f: [made[f] * 0.98, made[f] * 1.02] for f in fields if seeds > 1 and made[f] is not None}
    return made | {"spread": {**spread, **more.get("spread", {})}}


def compare_json(rows: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """A `compare.json` around `rows`."""
    value = {
        "folder": "runs/digits-1",
        "status": "finished",
        "command": ["ladle", "compare", "digits", "--seeds", "3"],
        "data": {
            "name": "digits",
            "rows": ROWS,
            "valid_rows": 360,
            "kind": "classification",
            "digest": "3f2a" * 16,
            "notes": ["Nothing was missing."],
        },
        "model": "mlp 64-128-10",
        "optimizer": "adam",
        "budget": "30 epochs",
        "lr": "square-root rule from 0.001 at size 1",
        "plan": plan_json(),
        "findings": [],
    }
    return {**value, "runs": list(rows), **more}


def write_compare(folder: Path, *, seeds: int = 3, sizes: Mapping[str, int] | None = None, **more: Any) -> Path:
    """A compare folder with `seeds` runs of each of `sizes` (name to size)."""
    sizes = sizes or {"full": ROWS, "64": 64, "1": 1}
    rows = []
    for name, size in sizes.items():
        names = [f"{name}-seed{k}" for k in range(seeds)]
        for k, run in enumerate(names):
            write_run(folder / run, size=size, seed=k, level=LEVEL.get(name, 0.12))
        rows.append(row(name, size, seeds=seeds, folders=names))
    write_json(folder / COMPARE_FILE, compare_json(rows, **more))
    return folder


def plan_json(**more: Any) -> dict[str, Any]:
    """A plan as `Plan.to_json` gives it."""
    sizes = [1, 4, 16, 64, 256, 1024]
    seconds = [2e-5 + 1e-6 * b for b in sizes]
    target = [(1 + 60 / b) * s / 1.0 for b, s in zip(sizes, seconds, strict=True)]
    plan = {
        "size": 64,
        "micro_size": 64,
        "lr": 0.008,
        "bound": "optimum",
        "within_5_percent": [24, 130],
        "minimize": "time",
        "noise": {"value": 60.0, "low": 45.0, "high": 80.0, "verdict": "resolved"},
        "lr_rule": "sqrt",
        "reference_size": 1,
        "reference_lr": 0.001,
        "hyper": {},
        "notes": ["The curve is flat near its optimum."],
        "evidence": [
            _evidence("memory_limit_bytes", 8e6, "bytes", "given", "--memory"),
            _evidence("memory_measured_bytes", 3.4e6, "bytes", "measured", "peak of a child process"),
            _evidence("memory_fixed_bytes", 3e6, "bytes", "predicted", "line through compiled programs"),
            _evidence(
                "memory_per_example_bytes", 4000.0, "bytes/example", "predicted", "line through compiled programs"
            ),
            _evidence("per_example_seconds", 1e-6, "s/example", "measured", "line through 6 sizes", 0.9e-6, 1.1e-6),
            _evidence("fixed_seconds", 2e-5, "s/update", "measured", "line through 6 sizes", 1.8e-5, 2.3e-5),
            _evidence("noise_scale", 60.0, "examples", "measured", "pilot of 40 updates", 45.0, 80.0),
            _evidence("relative_time", 1.0, "", "predicted", "closed form"),
        ],
        "curves": {
            "memory": [[b, 3e6 + 4000 * b] for b in sizes],
            "throughput": [[b, s, 0.9 * s, 1.15 * s] for b, s in zip(sizes, seconds, strict=True)],
            "target": [[b, t / min(target)] for b, t in zip(sizes, target, strict=True)],
        },
    }
    return plan | more


def _evidence(*fields: Any) -> dict[str, Any]:
    names = ("name", "value", "unit", "source", "method", "low", "high")
    return dict(zip(names, (*fields, None, None), strict=False))
