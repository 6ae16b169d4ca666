"""Datasets that are asked item by item, in batches of 64 with random augmentation: `Loader` against the others.

Claims: in two processes `Loader` gives as many examples a second as the best of DataLoader, StatefulDataLoader and
Grain; on images in folders its own source gives more; two processes give 1.8 times what one gives of items that take a
millisecond of Python.

    python benchmarks/feed_items.py [--quick] [--only NAME ...]

Three workloads (`peers/items.py`), n = 7 interleaved repetitions (`--quick`: 2) of two seconds each (0.7), every
program in a process of its own. Memory is the proportional set (PSS) of a program with its children while it runs;
processor time is that of both, too.
ladle sets the random generators for every example, so that a batch is a function of its position; the others do not.
Programs whose library is not installed are left out. Hardware and every sample: `results/feed_items.json`.
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from peers.items import BATCH, PROGRAMS, write_photos
from rates import Lap, summary
from timing import arguments, headline, interleave, ratio, save, serve, show, spread, table, workers

NEEDS = {"DataLoader": "torch", "StatefulDataLoader": "torchdata", "Grain": "grain", "ladle": "torch"}


def answer(name: str, workload: str, path: str, seconds: float) -> Lap:
    gc.collect()
    started = time.perf_counter()
    batches = PROGRAMS[workload][name](path)()
    next(batches)
    begun = now = time.perf_counter()
    used, count = processor_seconds(), 0
    while now < begun + seconds:
        next(batches)
        count, now = count + 1, time.perf_counter()
    used = processor_seconds() - used
    memory = sum(map(proportional_mb, [os.getpid(), *children()]))
    batches.close() if hasattr(batches, "close") else None  # type: ignore[attr-defined]
    rates = {"rate": count * BATCH / (now - begun), "cpu_us": 1e6 * used / (count * BATCH)}
    return {**rates, "first": begun - started, "memory_mb": memory}


def children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(number) for number in text.split()]


def processor_seconds() -> float:
    """Of this process and its children, those that ended included."""
    ticks = sum(ticks_of(os.getpid(), 4)) + sum(sum(ticks_of(child, 2)) for child in children())
    return ticks / os.sysconf("SC_CLK_TCK")


def ticks_of(process: int, count: int) -> list[int]:
    """In the program, in the system, and the same of children that ended: the first `count` of these."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # It has ended meanwhile.
        return [0]
    return [int(field) for field in fields[11 : 11 + count]]


def proportional_mb(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # It has ended meanwhile.
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def main(quick: bool, only: list[str] | None) -> None:
    repeats, seconds = (2, 0.7) if quick else (7, 2.0)
    found: dict[str, object] = {}
    samples: dict[str, object] = {}
    print(headline())
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder))
        for workload, programs in PROGRAMS.items():
            names = [name for name in programs if find_spec(NEEDS[name.split(",")[0]]) and name in (only or programs)]
            with workers(__file__, names) as alive:
                asked = {name: partial(alive[name], workload=workload, path=folder, seconds=seconds) for name in names}
                interleave(asked, 1)
                laps = interleave(asked, repeats)
            best = max(
                (name for name in names if not name.startswith("ladle")),
                key=lambda name: spread([one["rate"] for one in laps[name]])["median"],
                default=names[0],
            )
            of = summary(laps, best)
            for name in names:
                of[name] |= {key: spread([one[key] for one in laps[name]]) for key in ("memory_mb", "cpu_us")}
            found[workload], samples[workload] = of, laps
            shown = ("rate", "of_the_limit", "memory_mb", "cpu_us")
            rows = [[name, *(show(of[name][key]) for key in shown)] for name in names]
            header = ["program", "examples a second", f"of {best}", "memory, MB", "processor, us an item"]
            print(f"\n{workload}\n" + table(header, rows))
            if {"ladle, 1 process", "ladle, 2 processes"} <= set(names):
                two, one = ([lap["rate"] for lap in laps[f"ladle, {n}"]] for n in ("2 processes", "1 process"))
                print("two processes, of one:", show(ratio(two, one)))
    print(save("feed_items", quick=quick or only is not None, n=repeats, found=found, samples=samples))


if __name__ == "__main__":
    options = arguments(__doc__)
    if options.worker:
        serve(partial(answer, options.worker))
    else:
        main(options.quick, options.only)
