"""Cross-validated search on digits: 5 sizes x 3 rates x 5 folds, 20 epochs, MLP 64-64-10, Adam; beside scikit-learn.

Claim: `ladle.search` finds the same best score as `GridSearchCV(MLPClassifier)` to within one standard error, and its
whole process is at least 4 times faster with an empty compilation cache and 8 times with a filled one.

    python benchmarks/search_digits.py [--quick]        (LADLE_DATA names the folder of data sets)

Hardware and every sample: `results/search_digits.json`. n = 5 interleaved repetitions, a new process for each.
Both see the same 1438 training rows of ladle's digits (pixels 0 to 16 divided by 16), the same Adam constants and 75
fits of 20 epochs (`tol` and `n_iter_no_change` keep scikit-learn from ending early, `alpha=0`: no weight decay), and
two workers. Not the same: the first parameters (MLPClassifier draws weights and biases uniformly as Glorot and Bengio
have it, ladle's hidden layer is normal as He et al. have it, biases zero), float64 against float32, and the rows of a
fold (both stratified, at random). "whole" is the process from its start to its end, imports included; "search" is
`GridSearchCV.fit` or `ladle.search` alone, compilation included. Also given, with an empty cache: one program a size in
place of the shared ones, and all trials of a size vmapped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import HERE, arguments, headline, interleave, ratio, save, show, spread, table

from ladle.data import load


def process(script: str, *words: str, **environment: str) -> dict[str, Any]:
    """Run a script as a user would: seconds of the whole process, and what it printed."""
    command = [sys.executable, str(HERE / "peers" / script), *words]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment})
    return {"whole": time.perf_counter() - started, **json.loads(done.stdout.splitlines()[-1])}


def ladle(cache: Path | None, how: str = "once") -> dict[str, Any]:
    """`cache` None: an empty folder for the compilation cache."""
    with tempfile.TemporaryDirectory() as empty:
        return process("search_ladle.py", how, LADLE_CACHE=str(cache or empty))


def measure(repeats: int) -> dict[str, list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as name:
        cache, rows = Path(name) / "cache", Path(name) / "rows.npz"
        data = load("digits")
        np.savez(rows, x=np.asarray(data.train["x"]).reshape(data.rows, -1), y=data.train["y"])
        ladle(cache)  # Fills the cache for the warm ones.
        return interleave(
            {
                "sklearn": lambda: process("search_sklearn.py", str(rows), PYTHONWARNINGS="ignore"),
                "ladle, cold cache": lambda: ladle(None),
                "ladle, warm cache": lambda: ladle(cache),
            },
            repeats,
        ) | interleave({how: lambda how=how: ladle(None, how) for how in ("each", "vmapped")}, min(repeats, 2))


def gap(found: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Best mean score of each, and their difference in standard errors of ladle's."""
    ours, theirs = (found[name][0]["best"] for name in ("ladle, cold cache", "sklearn"))
    apart = ours["mean"] - theirs["mean"]
    return {"ladle": ours["mean"], "sklearn": theirs["mean"], "se": ours["se"], "apart_in_se": apart / ours["se"]}


def main() -> None:
    quick = arguments(__doc__).quick
    repeats = 1 if quick else 5
    found = measure(repeats)
    times = {kind: {name: [one[kind] for one in of] for name, of in found.items()} for kind in ("whole", "search")}
    ratios = {
        f"{kind}: sklearn / {name}": ratio(times[kind]["sklearn"], times[kind][name])
        for kind in times
        for name in ("ladle, cold cache", "ladle, warm cache")
    }
    print(headline())
    rows = [[name, *(show(spread(times[kind][name])) for kind in times)] for name in found]
    print(table(["program", "whole process, s", "search, s"], rows), end="\n\n")
    print(table(["ratio", "median (low - high)"], [[name, show(of)] for name, of in ratios.items()]), end="\n\n")
    print(json.dumps(scores := gap(found)))
    print(save("search_digits", quick=quick, n=repeats, ratios=ratios, scores=scores, samples=found))


if __name__ == "__main__":
    main()
