"""`ladle.sklearn.BatchClassifier` beside `MLPClassifier` in `GridSearchCV`: digits, 3 sizes x 3 rates x 5 folds.

Claim: at least as fast from a warm compilation cache; a later fit of equal shapes costs at most 50 ms beside training.

    python benchmarks/estimators.py [--quick]

Hardware and every sample: `results/estimators.json`. n = 7 repetitions in turn, a new process for each. Both search
batches of 32, 64, 128 and rates 1e-3, 3e-3, 1e-2 with one hidden layer of 64 units, Adam, relu, 30 passes (`tol` and
`n_iter_no_change` end nothing early, `alpha=0`), `n_jobs=1`, and fit the best on all rows at last: 46 fits of the 1,797
rows of `sklearn.datasets.load_digits`, divided by 16. Not the same: float64 against float32, and the first parameters.
"search" is `GridSearchCV.fit`, "whole" the process with its imports. Cold: an empty folder for the compilation cache;
warm: that of an earlier process. "again" is a second search in the same process. NumPy's matrix products take
both cores, which helps none of so small ones and does harm where others use the machine: hence the one with one thread.

"later fit" is `BatchClassifier.fit` on 1,438 rows after one on 1,437, minus the seconds that the loop was training.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from timing import arguments, headline, interleave, ratio, save, show, spread, table

SIZES, RATES, PASSES = [32, 64, 128], [1e-3, 3e-3, 1e-2], 30


ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
PEERS = "MLPClassifier", "MLPClassifier, 1 thread"


def process(name: str, cache: Path | None, **more: str) -> dict[str, Any]:
    """One search in a process of its own."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "LADLE_CACHE": str(cache or empty), **more}
        started = time.perf_counter()
        command = [sys.executable, __file__, "--worker", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        return {"whole": time.perf_counter() - started, **json.loads(done.stdout.splitlines()[-1])}


def work(name: str) -> dict[str, Any]:
    """The worker's side."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV

    X, y = load_digits(return_X_y=True)
    X = X / 16
    warnings.simplefilter("ignore")
    how: dict[str, Any] = {"max_iter": PASSES, "tol": 0.0, "n_iter_no_change": PASSES + 1, "random_state": 0}
    if name == "ladle":
        from ladle.sklearn import BatchClassifier

        made, rate = BatchClassifier((64,), **how), "learning_rate"
    else:
        from sklearn.neural_network import MLPClassifier

        made, rate = MLPClassifier((64,), alpha=0.0, **how), "learning_rate_init"
    seconds, best = [], 0.0
    for _ in range(2):
        started = time.perf_counter()
        found = GridSearchCV(made, {"batch_size": SIZES, rate: RATES}, cv=5, n_jobs=1).fit(X, y)
        seconds.append(time.perf_counter() - started)
        best = float(found.best_score_)
    later = [overhead(X[: 1437 + k % 2], y[: 1437 + k % 2], k) for k in range(9)] if name == "ladle" else []
    return {"search": seconds[0], "again": seconds[1], "best": best, "later_ms": later[2:]}


def overhead(X: Any, y: Any, seed: int) -> float:
    """Milliseconds of a fit beside the seconds that its loop was training."""
    import ladle.sklearn.training as training
    from ladle.sklearn import BatchClassifier

    trained: list[float] = []
    loop = training.train

    def timed(*operands: Any, **named: Any) -> Any:
        for line, carry in loop(*operands, **named):
            trained.append(line["window_seconds"])
            yield line, carry

    training.train = timed
    try:
        started = time.perf_counter()
        BatchClassifier((64,), max_iter=PASSES, tol=0.0, n_iter_no_change=99, random_state=seed).fit(X, y)
        return 1e3 * (time.perf_counter() - started - sum(trained))
    finally:
        training.train = loop


def main() -> None:
    options = arguments(__doc__)
    if options.worker:
        print(json.dumps(work(options.worker)))
        return
    repeats = 2 if options.quick else 7
    print(headline())
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name) / "cache"
        process("ladle", cache)  # Fills the cache for the warm ones.
        programs = {
            "MLPClassifier": lambda: process("sklearn", None),
            "MLPClassifier, 1 thread": lambda: process("sklearn", None, **ONE_THREAD),
            "ladle, warm cache": lambda: process("ladle", cache),
            "ladle, cold cache": lambda: process("ladle", None),
        }
        found = interleave(programs, repeats)
    kinds = ("search", "again", "whole")
    times = {kind: {name: [one[kind] for one in of] for name, of in found.items()} for kind in kinds}
    ratios = {
        f"{kind}: {peer} / {name}": ratio(times[kind][peer], times[kind][name])
        for kind in kinds
        for peer in PEERS
        for name in ("ladle, warm cache", "ladle, cold cache")
    }
    later = spread([each for one in found["ladle, warm cache"] for each in one["later_ms"]])
    rows = [[name, *(show(spread(times[kind][name])) for kind in kinds), of[0]["best"]] for name, of in found.items()]
    print(table(["program", *(f"{kind}, s" for kind in kinds), "best score"], rows), end="\n\n")
    print(table(["ratio", "median (low - high)"], [[name, show(of)] for name, of in ratios.items()]), end="\n\n")
    print(f"a later fit beside its training: {show(later)} ms")
    print(save("estimators", quick=options.quick, n=repeats, ratios=ratios, later_ms=later, samples=found))


if __name__ == "__main__":
    main()
