"""What a second `ladle.fit` of equal shapes costs beside its training: ten pairs of a model and an optimiser.

Claim: at most 100 ms, and no function is traced or compiled, whatever the seed, rate, constants and data values.

    python benchmarks/second_fit.py [--quick]

Hardware and every sample: `results/second_fit.json`. n = 7 fits of each pair after a first one, in one process, the
pairs in turn. Each fit makes its own data (other values), model, optimiser and task with another seed and rate, trains
two epochs of batches of 64 in memory, and evaluates before, between and after. Overhead is the time from the arrays to
the `Run`, minus the seconds that its record gives as training (`final["seconds"]`): putting the task together, placing
its data, the first state, evaluations, the record. The compilation cache on disk is off, so "first" holds compilation.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

os.environ["LADLE_CACHE"] = "off"

import equinox as eqx
import jax
import numpy as np
import optax
from timing import arguments, headline, save, show, spread, table

import ladle

ROWS, CLASSES = 1000, 3
LEVELS = (7, 4)
EVENTS = {
    "traces": "/jax/core/compile/jaxpr_trace_duration",
    "compilations": "/jax/core/compile/backend_compile_duration",
}


class Net(eqx.Module):
    """Two layers with dropout: what a user writes."""

    first: eqx.nn.Linear
    second: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, key: Any) -> None:
        one, two = jax.random.split(key)
        self.first, self.second = eqx.nn.Linear(10, 32, key=one), eqx.nn.Linear(32, CLASSES, key=two)
        self.dropout = eqx.nn.Dropout(0.1)

    def __call__(self, x: Any, key: Any = None) -> Any:
        return self.second(self.dropout(jax.nn.relu(self.first(x)), key=key))


def columns(random: np.random.Generator) -> ladle.data.Data:
    return _data(random, 10)


def images(random: np.random.Generator) -> ladle.data.Data:
    return _data(random, 8, 8)


def mixed(random: np.random.Generator) -> ladle.data.Data:
    """Ten columns of numbers and two of codes."""
    data = _data(random, 10)
    parts = {name: dict(getattr(data, name)) for name in ("train", "valid")}
    for part in parts.values():
        codes = [random.integers(0, levels, len(part["y"])) for levels in LEVELS]
        part["x"] = {"numbers": part["x"], "codes": np.stack(codes, 1).astype(np.int32)}
    return replace(data, **parts)


def _data(random: np.random.Generator, *shape: int) -> ladle.data.Data:
    x = random.normal(size=(ROWS, *shape)).astype(np.float32)
    return ladle.data.arrays(x, random.integers(0, CLASSES, ROWS).astype(np.int32))


PAIRS: dict[str, tuple[Callable[[], Any], Callable[[np.random.Generator], ladle.data.Data], Callable[[], Any]]] = {
    "linear 10-3, sgd": (lambda: ladle.models.linear(10, CLASSES), columns, lambda: "sgd"),
    "mlp 10-32-3, adam": (lambda: ladle.models.mlp(10, 32, CLASSES), columns, lambda: "adam"),
    "mlp 10-64-64-3, adamw": (lambda: ladle.models.mlp(10, 64, 64, CLASSES), columns, lambda: "adamw"),
    "mlp, tanh, dropout, lion": (
        lambda: ladle.models.mlp(10, 32, CLASSES, activation="tanh", dropout=0.1),
        columns,
        lambda: "lion",
    ),
    "mlp, batch norm, momentum": (
        lambda: ladle.models.mlp(10, 32, CLASSES, batch_norm=True),
        columns,
        lambda: "momentum",
    ),
    "mlp 10-32-3, lamb_paper": (lambda: ladle.models.mlp(10, 32, CLASSES), columns, lambda: "lamb_paper"),
    "convnet 8x8, adam": (lambda: ladle.models.convnet((8, 8), CLASSES, width=4), images, lambda: "adam"),
    "tabular, rmsprop": (lambda: ladle.models.tabular(10, LEVELS, outputs=CLASSES), mixed, lambda: "rmsprop"),
    "equinox class, adamw": (lambda: Net, columns, lambda: "adamw"),
    "equinox MLP, optax chain": (
        lambda: lambda key: eqx.nn.MLP(10, CLASSES, 32, 1, key=key),
        columns,
        lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)),
    ),
}


def fit(name: str, number: int, counts: Counter[str]) -> dict[str, float]:
    """One fit of a pair: its seconds in all, those of training, and what was traced and compiled for it."""
    model, rows, rule = PAIRS[name]
    random = np.random.default_rng(number)
    rate = {} if "optax" in name else {"lr": 1e-3 * (number + 1)}
    counts.clear()
    started = time.perf_counter()
    task = ladle.Task(model(), None, rows(random), optimizer=rule(), **rate)
    run = ladle.fit(task, size=64, until="2 epochs", seed=number)
    whole, training = time.perf_counter() - started, run.final["seconds"]
    return {"whole": whole, "training": training, "overhead_ms": 1e3 * (whole - training), **counts}


def measure(repeats: int) -> dict[str, list[dict[str, float]]]:
    counts: Counter[str] = Counter()

    def happened(event: str, seconds: float, **facts: Any) -> None:
        counts.update(name for name, known in EVENTS.items() if known == event)

    jax.monitoring.register_event_duration_secs_listener(happened)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in PAIRS}
    for number in range(repeats + 1):
        for name in PAIRS:
            found[name].append(fit(name, number, counts))
    return found


def main() -> None:
    options = arguments(__doc__)
    print(headline())
    found = measure(2 if options.quick else 7)
    overhead = {name: spread([one["overhead_ms"] for one in fits[1:]]) for name, fits in found.items()}
    rows = [
        (
            name,
            show(overhead[name]),
            f"{1e3 * (fits[0]['whole'] - fits[0]['training']):.0f}",
            *(sum(int(one.get(kind, 0)) for one in fits[1:]) for kind in EVENTS),
        )
        for name, fits in found.items()
    ]
    print(table(["pair", "overhead of a later fit, ms", "of the first", *(f"{kind}, later" for kind in EVENTS)], rows))
    worst = max(measured["median"] for measured in overhead.values())
    print(f"largest median {worst:.1f} ms; the aim is 100")
    path = save("second_fit", quick=options.quick, overhead_ms=overhead, samples=found)
    print(path)


if __name__ == "__main__":
    main()
