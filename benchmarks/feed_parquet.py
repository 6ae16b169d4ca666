"""5,000,000 x 20 float32 in one Parquet file, row groups of 65,536, shuffled, batches of 1024: rows a second.

Claims: `ladle.feed.Loader` over `ladle.feed.Parquet`, eight row groups mixed at a time, gives at least 0.4 of the rows
a second of `A[ids]` on the same numbers in memory, and at least 15 times those of Hugging Face's streamed Parquet.

    python benchmarks/feed_parquet.py [--quick] [--only NAME ...]       (TMPDIR names the disk; 0.5 GB are written)

Hardware and every sample: `results/feed_parquet.json`. n = 7 interleaved repetitions (`--quick`: 3) of two seconds each
(1), every program in a process of its own (`peers/feeds.py`), the file opened anew each time; it is in the page cache.
A lap of ladle decodes about ten windows of 524,288 rows, each shuffled as one. The others shuffle less: a buffer of
10,000 rows. The limit holds all numbers in memory, row by row, and its shuffle is worked out beforehand.
"""

from __future__ import annotations

import tempfile
from functools import cache, partial
from pathlib import Path

from peers.feeds import PARQUET, write_parquet
from rates import Feed, Lap, lap, measure, report, summary, times
from timing import arguments, headline, save, serve, show

LIMIT = "A[ids] in memory"
BATCH = 1024
PEERS = [name for name in PARQUET if not name.startswith("ladle")]


@cache
def made(program: str, path: str) -> Feed:
    return PARQUET[program](path, BATCH)


def answer(program: str, path: str, seconds: float) -> Lap:
    return lap(made(program, path), BATCH, seconds)


def main(quick: bool, names: list[str]) -> None:
    repeats, seconds = (3, 1.0) if quick else (7, 2.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.parquet"
        write_parquet(path)
        stored = path.stat().st_size
        samples = measure(__file__, names, repeats, [{"path": str(path), "seconds": seconds}])[0]
    found = summary(samples, LIMIT)
    lead = times(samples, "ladle, 2 workers", PEERS) if "ladle, 2 workers" in samples else {}
    print(headline() + f"; a file of {stored / 1e6:.0f} MB", end="\n\n")
    print(report(found, LIMIT))
    print(*(f"{pair}: {show(value)}" for pair, value in lead.items()), sep="\n")
    quick = quick or len(names) < len(PARQUET)
    facts = {"file_bytes": stored, "n": repeats, "batch": BATCH}
    print(save("feed_parquet", quick=quick, **facts, found=found, times_as_fast=lead, samples=samples))


if __name__ == "__main__":
    options = arguments(__doc__)
    if options.worker:
        serve(partial(answer, options.worker))
    else:
        main(options.quick, [name for name in PARQUET if not options.only or name in (*options.only, LIMIT)])
