"""640,000 x 784 float32 in one `.npy` file of 2.0 GB, mapped and shuffled, batches of 256: rows a second.

Claim: `ladle.feed.Loader` over `ladle.feed.Mapped` gives at least 0.8 of the rows a second of `X[ids]` on the mapped
file while the file is in the page cache, with a global shuffle and with `Blocks`, which a cold disk needs.

    python benchmarks/feed_mapped.py [--quick] [--only NAME ...]        (TMPDIR names the disk; 2.0 GB are written)

Hardware and every sample: `results/feed_mapped.json`. n = 9 interleaved repetitions (`--quick`: 3) of one second each
(0.4), every program in a process of its own (`peers/feeds.py`), a new iterator each time. Every process maps all pages
before; that the whole file stays in the cache is a matter of free memory, which is reported. "ladle, permuted" and
"ladle, blocks" have the readers that they have by default: one thread.
"Whole batches" is a DataLoader whose sampler gives all ids of a batch at once; PyTorch has one thread.
"""

from __future__ import annotations

import tempfile
from functools import cache, partial
from pathlib import Path

from peers.feeds import MAPPED, write_npy
from rates import Feed, Lap, lap, measure, report, summary, times
from timing import arguments, headline, save, serve, show

LIMIT = "X[ids]"
BATCH = 256
PEERS = [name for name in MAPPED if name.startswith(("DataLoader", "Grain"))]


@cache
def made(program: str, path: str) -> Feed:
    return MAPPED[program](path, BATCH)


def answer(program: str, path: str, seconds: float) -> Lap:
    return lap(made(program, path), BATCH, seconds)


def free_bytes() -> int:
    """Memory that could be used for more pages."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def main(quick: bool, names: list[str]) -> None:
    repeats, seconds = (3, 0.4) if quick else (9, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        write_npy(path)
        free, stored = free_bytes(), path.stat().st_size
        samples = measure(__file__, names, repeats, [{"path": str(path), "seconds": seconds}])[0]
    found = summary(samples, LIMIT)
    lead = times(samples, "ladle, permuted", PEERS) if "ladle, permuted" in samples else {}
    print(headline() + f"; {free / 1e9:.1f} GB free for pages of {stored / 1e9:.1f} GB", end="\n\n")
    print(report(found, LIMIT))
    print(*(f"{pair}: {show(value)}" for pair, value in lead.items()), sep="\n")
    facts = {"file_bytes": stored, "free_bytes": free, "n": repeats, "batch": BATCH}
    quick = quick or len(names) < len(MAPPED)
    print(save("feed_mapped", quick=quick, **facts, found=found, times_as_fast=lead, samples=samples))


if __name__ == "__main__":
    options = arguments(__doc__)
    if options.worker:
        serve(partial(answer, options.worker))
    else:
        main(options.quick, [name for name in MAPPED if not options.only or name in (*options.only, LIMIT)])
