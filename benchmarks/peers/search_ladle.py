"""The search of `search_digits.py` through ladle's public API. Prints one JSON object.

    python benchmarks/peers/search_ladle.py once|each|vmapped

`each`: a program for each size. `trials`: seconds without the compilation (with it where vmapped).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import ladle
from ladle.api.assembly import assemble
from ladle.api.backend import backend_named
from ladle.api.search import search

SIZES, RATES = [16, 32, 64, 128, 256], [1e-3, 3e-3, 1e-2]


def main(how: str) -> None:
    backend_named("jax")  # Loaded before the clock starts, as the peer's library is.
    started = time.perf_counter()
    task = assemble(ladle.Task(ladle.models.mlp(64, 64, 10), ladle.losses.cross_entropy, ladle.data.load("digits")))
    common: dict[str, Any] = {"lrs": RATES, "folds": 5, "until": "20 epochs"}
    if how == "each":  # As five searches of one size, each with that as its micro-batch.
        found = [search(task, sizes=[size], micro_size=size, **common) for size in SIZES]
        best = max((one.best for one in found), key=lambda row: row.score.mean)
    else:
        workers = "vmapped" if how == "vmapped" else "threads"
        found = [search(task, sizes=SIZES, workers=workers, **common)]
        best = found[0].best
    seconds = time.perf_counter() - started
    trials = sum(one.facts["trials_seconds"] for one in found)
    size, lr = best.candidate.size, best.candidate.lr
    said = {"size": size, "lr": lr, "mean": best.score.mean, "se": best.score.se}
    print(json.dumps({"search": seconds, "trials": trials, "best": said}))


if __name__ == "__main__":
    main(sys.argv[1])
