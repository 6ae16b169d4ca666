"""How long a run takes, told beforehand and by the clock; and updates to a loss, told by a plan and with new seeds.

    python benchmarks/run_time.py            12 runs of 2 seconds and more, 4 tasks at 3 sizes
    python benchmarks/run_time.py --updates  updates to the loss that a plan names, with 3 new seeds

Runs are told and timed in this process, one after the other, their programs compiled before: `ladle.run_time` tells a
run with compiling apart. Nothing of the telling is kept for the run.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from typing import Any

from timing import headline, save, table
from truth.cases import CASES

import ladle
from ladle.api.assembly import assemble
from ladle.api.racetrack import Racetrack
from ladle.planner.path import Path, evaluations

SIZES = (16, 64, 512)
TASKS = ("digits, mlp, adam", "housing, mlp, adamw", "fashion, mlp, momentum", "fashion, convnet, adam")
SECONDS = 3.0
"""What a run is made to take, as told."""

NEW_SEEDS = (11, 12, 13)


def told_and_timed(case: str, size: int) -> dict[str, Any]:
    """One run: what it was told to take, and what it took."""
    assembly = assemble(CASES[case].make())
    epoch = ladle.run_time(assembly, size, until="1 epochs").seconds
    until = f"{max(math.ceil(SECONDS / epoch), 1)} epochs"
    told = ladle.run_time(assembly, size, until=until)
    began = time.perf_counter()
    ladle.fit(assembly, size=size, until=until, lr=1e-6)
    took = time.perf_counter() - began
    return {
        "case": case,
        "size": size,
        "until": until,
        "told": told.seconds,
        "took": took,
        "ratio": told.seconds / took,
    }


def updates_of(case: str) -> dict[str, Any]:
    """Updates to the loss that a plan names, and those of three new seeds at its size and rate."""
    assembly = assemble(CASES[case].make())
    plan = ladle.plan(assembly)
    told, level = plan.number("updates_to_level"), plan.number("level")
    if told is None or level is None or plan.lr is None:
        return {"case": case, "told": None}
    track, found = Racetrack(assembly, plan.first, dict(assembly.optimizer.hyper)), []
    for seed in NEW_SEEDS:
        (run, loss), done = track.start(plan.lr, seed), 0
        times, losses = [0], [loss]
        for at in evaluations(int(6 * told.value) + 2)[1:]:
            run, loss = track.advance(run, at - done)
            done = at
            times.append(at)
            losses.append(loss)
        found.append(Path(plan.lr, seed, None, tuple(times), tuple(losses)).reach(level.value))
    took = math.exp(statistics.fmean(math.log(x) for x in found)) if all(map(math.isfinite, found)) else math.inf
    return {
        "case": case,
        "size": plan.size,
        "lr": plan.lr,
        "told": told.value,
        "took": took,
        "ratio": took / told.value,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", action="store_true")
    asked = parser.parse_args()
    if asked.updates:
        rows = [updates_of(case) for case in CASES]
        kept = [row for row in rows if row["told"] is not None]
        heads = ("case", "size", "rate", "updates told", "with new seeds", "ratio")
        lines = [
            (r["case"], r["size"], f"{r['lr']:.3g}", f"{r['told']:.0f}", f"{r['took']:.0f}", f"{r['ratio']:.2f}")
            for r in kept
        ]
    else:
        rows = kept = [told_and_timed(case, size) for case in TASKS for size in SIZES]
        heads = ("case", "size", "run", "told s", "took s", "told / took")
        lines = [
            (r["case"], r["size"], r["until"], f"{r['told']:.2f}", f"{r['took']:.2f}", f"{r['ratio']:.2f}")
            for r in kept
        ]
    off = sorted(max(row["ratio"], 1 / row["ratio"]) for row in kept)
    print(headline())
    print(table(heads, lines))
    print(f"off by a factor of {statistics.median(off):.2f} in the median, {off[-1]:.2f} at worst, n = {len(off)}")
    save("run_time_updates" if asked.updates else "run_time", quick=False, rows=rows)


if __name__ == "__main__":
    main()
