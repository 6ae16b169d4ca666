"""JPEG files decoded into batches: microseconds an image.

Claim: `take` of a source of encoded images is no slower than Pillow in a loop for 32 x 32, and faster with two threads
on two cores for 240 x 320 (1.54 times was measured; two free cores could give twice).

    LADLE_DATA=... python benchmarks/feed_images.py [--quick] [--only NAME ...]

Hardware and every sample: `results/feed_images.json`. n = 9 interleaved repetitions (`--quick`: 3). One repetition is a
pass over 2048 images of CIFAR-10 as JPEG (32 x 32), or over 500 made ones of 240 x 320 (see `peers/images.py`), the
latter also resized to 60 x 80. Batches of 64, one shuffled order, all bytes in memory; the first pass is not counted.
Every program lives in a process of its own. Nobody trains: a DataLoader with workers, or a feed read ahead, also
hides decoding behind the update, which is not what is measured here. Where it resizes, ladle decodes at a fraction of
the size first (Pillow's `draft`), the others at the full one. The mean pixels of all programs are compared before.
"""

from __future__ import annotations

import time
from functools import cache, partial
from importlib import metadata
from typing import Any

import numpy as np
from peers.images import DATA, PROGRAMS, Pass, encoded
from timing import arguments, headline, interleave, ratio, save, serve, show, spread, table, workers

BASE = "Pillow in a loop"


@cache
def made(program: str, data: str) -> Pass:
    return PROGRAMS[program](encoded(data))


def answer(program: str, data: str, check: bool = False) -> float:
    """Seconds of one pass; with `check` the mean of all its pixels instead: that they are the same ones."""
    run, count = made(program, data), 0
    if check:
        return sum(float(batch.sum()) / batch[0].size for batch in map(np.asarray, run())) / DATA[data]
    started = time.perf_counter()
    for batch in run():
        count += len(batch)
    seconds = time.perf_counter() - started
    assert count == DATA[data], (program, count)
    return seconds


Laps = dict[str, dict[str, Any]]


def measure(names: list[str], repeats: int) -> tuple[Laps, Laps]:
    """Seconds of every pass, and the mean pixel of each, by data set and program. The check is the warm-up."""
    with workers(__file__, names) as alive:
        means = {data: {name: alive[name](data=data, check=True) for name in names} for data in DATA}
        laps = {data: interleave({name: partial(alive[name], data=data) for name in names}, repeats) for data in DATA}
        return laps, means


def main(quick: bool, names: list[str]) -> None:
    repeats = 3 if quick else 9
    samples, means = measure(names, repeats)
    for data, of in means.items():
        assert max(of.values()) - min(of.values()) < 0.5, (data, of)
    print(headline())
    microseconds, ratios, rows = {}, {}, []
    for data, programs in samples.items():
        for name, laps in programs.items():
            of = f"{data}: {name}"
            microseconds[of] = [seconds / DATA[data] * 1e6 for seconds in laps]
            ratios[of] = ratio(programs[BASE], laps)
            rows.append([data, name, show(spread(microseconds[of])), show(ratios[of])])
    print(table(["images", "program", "us an image", "times as fast as the loop"], rows), end="\n\n")
    found = {"times_as_fast_as_the_loop": ratios, "microseconds_an_image": microseconds, "mean_pixel": means}
    quick, pillow = quick or len(names) < len(PROGRAMS), metadata.version("pillow")
    print(save("feed_images", quick=quick, n=repeats, pillow=pillow, **found, seconds=samples))


if __name__ == "__main__":
    options = arguments(__doc__)
    if options.worker:
        serve(partial(answer, options.worker))
    else:
        main(options.quick, [name for name in PROGRAMS if not options.only or name in (*options.only, BASE)])
