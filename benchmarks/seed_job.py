"""The seeds' first job: 1000 x 10 random regression, MLP 10-50-1, MSE, SGD 0.01, 64 epochs at 64 and at full batch.

Claim: ladle's training part is at least 20 times faster than the seeds' own PyTorch script in the same run, and its
whole process (import, compile, train, draw) is faster too, with an empty compilation cache as with a filled one.

    python benchmarks/seed_job.py [--quick]

Hardware and every sample: `results/seed_job.json`. n = 5 interleaved repetitions, a new process for each.
Both programs keep the loss of every epoch as a number and draw both curves into a file (`results/seed_job.png` is
ladle's). The training part is the two trainings of 64 epochs each: of PyTorch its loops; of ladle the whole of `fit`
on compiled programs (initial parameters and records included), compilation left out - it is in the whole process.
PyTorch is run as it comes (one thread a core) and with one thread, which suits such small batches better.
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

from timing import HERE, RESULTS, arguments, headline, interleave, ratio, save, show, spread, table

FITS = 5
"""Fits in one process; its training time is their median."""


def process(script: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run a script as a user would: seconds of the whole process, and what it printed."""
    command = [sys.executable, str(HERE / "peers" / script), *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return {"process_seconds": time.perf_counter() - started, **json.loads(done.stdout)}


def torch(folder: Path, **environment: str) -> dict[str, Any]:
    answer = process("seed_torch.py", str(folder / "torch.png"), **environment)
    return {**answer, "train_seconds": sum(answer["seconds"].values())}


def ladle(picture: Path, cache: Path | None, fits: int = 0) -> dict[str, Any]:
    """`cache` None: an empty folder for the compilation cache."""
    with tempfile.TemporaryDirectory() as empty:
        return process("seed_ladle.py", str(picture), str(fits), LADLE_CACHE=str(cache or empty))


def training(folder: Path, cache: Path) -> dict[str, Any]:
    """The training part alone: fits of compiled programs. The whole process of this one is not a result."""
    answer = ladle(folder / "ladle.png", cache, FITS)
    sums = [{name: sum(fit[name].values()) for name in fit} for fit in answer["fits"]]
    # The fastest would flatter.
    middle = {name: spread([one[name] for one in sums])["median"] for name in sums[0]}
    return {"train_seconds": middle["seconds"], "own_clock_seconds": middle["train_seconds"], "fits": answer["fits"]}


def measure(repeats: int) -> dict[str, list[dict[str, Any]]]:
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name), Path(name) / "cache"
        ladle(folder / "filling.png", cache)  # Fills the cache, and the disk's, for the warm ones.
        return interleave(
            {
                "torch": lambda: torch(folder),
                "torch, 1 thread": lambda: torch(folder, OMP_NUM_THREADS="1"),
                "ladle, cold cache": lambda: ladle(folder / "cold.png", None),
                "ladle, warm cache": lambda: ladle(RESULTS / "seed_job.png", cache),
                "ladle, training": lambda: training(folder, cache),
            },
            repeats,
        )


def main() -> None:
    quick = arguments(__doc__).quick
    repeats = 2 if quick else 5
    answers = measure(repeats)
    whole = {name: [a["process_seconds"] for a in answers[name]] for name in answers if name != "ladle, training"}
    trained = {
        name: [a["train_seconds"] for a in answers[name]] for name in answers if "train_seconds" in answers[name][0]
    }
    trained["ladle, own clock"] = [a["own_clock_seconds"] for a in answers["ladle, training"]]
    ratios = {
        f"training: {peer} / {mine}": ratio(trained[peer], trained[mine])
        for peer in ("torch", "torch, 1 thread")
        for mine in ("ladle, training", "ladle, own clock")
    } | {
        f"whole process: {peer} / {mine}": ratio(whole[peer], whole[mine])
        for peer in ("torch", "torch, 1 thread")
        for mine in ("ladle, cold cache", "ladle, warm cache")
    }
    print(headline())
    for name, part in (("training part, both sizes", trained), ("whole process", whole)):
        print(table([name, "seconds"], [[n, show(spread(s))] for n, s in part.items()]), end="\n\n")
    print(table(["ratio", "median (low - high)"], [[n, show(r)] for n, r in ratios.items()]))
    last = {name: {size: answers[name][-1]["losses"][size][-1] for size in ("64", "full")} for name in whole}
    print(f"\nlast epoch's loss: {last}")
    found = {"ratios": ratios, "training": trained, "whole": whole, "samples": answers}
    print(save("seed_job", quick=quick, n=repeats, **found))


if __name__ == "__main__":
    main()
