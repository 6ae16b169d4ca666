"""60,000 x 784 bytes with a label, in memory, shuffled: batches a feed hands out, against NumPy's own indexing.

Claims: `ladle.feed.Loader` gives at least 0.75 of the examples a second of `X[ids], y[ids]` in batches of 1024, at
least 0.6 in batches of 64, and at least 10 times those of a PyTorch DataLoader.

    python benchmarks/feed_arrays.py [--quick] [--only NAME ...]

Hardware and every sample: `results/feed_arrays.json`. n = 9 interleaved repetitions (`--quick`: 3) of one second each
(0.3), every program in a process of its own (`peers/feeds.py`), a new iterator each time. Shuffles are made by each
library; the limit's is worked out beforehand. Nothing is decoded and nobody trains: this is what a feed costs by
itself. (`ladle.fit` does without: it gathers data that fits the device inside the compiled step.) PyTorch has one
thread; `__getitems__` is its hook for datasets that take whole batches. JAX arrays are waited for, batch by batch.
"""

from __future__ import annotations

from functools import cache, partial

from peers.feeds import ARRAYS
from rates import Feed, Lap, lap, measure, report, summary, times
from timing import arguments, headline, save, serve, show

LIMIT = "X[ids], y[ids]"
BATCHES = (64, 1024)
PEERS = [name for name in ARRAYS if name.startswith(("DataLoader", "Grain", "Hugging"))]


@cache
def made(program: str, batch: int) -> Feed:
    return ARRAYS[program]("", batch)


def answer(program: str, batch: int, seconds: float) -> Lap:
    return lap(made(program, batch), batch, seconds)


def main(quick: bool, names: list[str]) -> None:
    repeats, seconds = (3, 0.3) if quick else (9, 1.0)
    laps = measure(__file__, names, repeats, [{"batch": batch, "seconds": seconds} for batch in BATCHES])
    samples = {str(batch): of for batch, of in zip(BATCHES, laps, strict=True)}
    found = {batch: summary(of, LIMIT) for batch, of in samples.items()}
    lead = {batch: times(of, "ladle, numpy", PEERS) for batch, of in samples.items() if "ladle, numpy" in of}
    print(headline())
    for batch, of in found.items():
        print(f"\nbatches of {batch}\n" + report(of, LIMIT))
        print(*(f"{pair}: {show(value)}" for pair, value in lead.get(batch, {}).items()), sep="\n")
    partial_look = len(names) < len(ARRAYS)
    print(save("feed_arrays", quick=quick or partial_look, n=repeats, found=found, times_as_fast=lead, samples=samples))


if __name__ == "__main__":
    options = arguments(__doc__)
    if options.worker:
        serve(partial(answer, options.worker))
    else:
        main(options.quick, [name for name in ARRAYS if not options.only or name in (*options.only, LIMIT)])
