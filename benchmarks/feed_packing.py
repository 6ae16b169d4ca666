"""Documents of different length made into rows of one length: how full the rows are, and how fast they come.

Claims: packed rows come at least 8 times faster than from Grain's packing operations, planning included, and at least
99.5 % full on log-normal lengths.

    LADLE_DATA=... python benchmarks/feed_packing.py [--quick] [--only NAME ...]

Hardware and every sample: `results/feed_packing.json`. Batches of 16 rows: int32 tokens, segments and positions (with
padding: tokens and a mask in as many places; copies and ConcatThenSplit: tokens, and what it adds). 60,000 documents of
log-normal length, 21.5 M tokens, rows of 2048; and real word counts: SST-2 sentences in rows of 512, movie reviews in
rows of 2048. Every program reads the same documents from memory, shuffled, in one process without worker threads;
ladle's go through `HostFeed`, but for `take alone`. n = 7 interleaved repetitions of half a second, the first batch not
counted; `planning counted` is one whole pass with what came before its second batch. Fill is that of one whole pass.

What is compared is not quite alike: Grain packs a stream through 64 bins as it comes; ladle plans windows of lengths
that it knows. Measure on a quiet machine: under load Grain slows down more than ladle does.
"""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from timing import arguments, headline, interleave, ratio, save, serve, show, spread, table, workers

from ladle.core.cursor import Cursor
from ladle.core.spec import BatchSpec
from ladle.feed.bucket import Bucketed
from ladle.feed.budget import ByTokens
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted
from ladle.feed.pack import Packed, Weighed
from ladle.feed.pad import Pad
from ladle.feed.source.sequences import Sequences

ROWS, SECONDS = 16, 0.5
DATA = {"log-normal": 2048, "sst2": 512, "movie reviews": 2048}
"""Row lengths."""
Batch = tuple[int, int, int, int]
"""Slots, real tokens, rows, full rows."""


def word_counts(data: str) -> np.ndarray:
    folder = Path(os.environ["LADLE_DATA"])
    if data == "sst2":
        lines = [line for part in ("train", "dev", "test") for line in (folder / f"sst2/{part}.tsv").open()]
        return np.array([len(line.rsplit("\t", 1)[0].split()) for line in lines])
    with tarfile.open(folder / "movie_reviews/review_polarity.tar.gz") as archive:
        files = [archive.extractfile(member) for member in archive if member.name.endswith(".txt")]
        return np.array([len(file.read().split()) for file in files if file is not None])


@cache
def documents(data: str) -> Sequences:
    """Documents, none longer than a row: what is longer was cut, so that every program packs the same pieces."""
    rng, length = np.random.default_rng(0), DATA[data]
    if data == "log-normal":
        lengths = np.clip(rng.lognormal(5.5, 0.9, 60_000).astype(int), 8, length)
    else:
        whole = word_counts(data)
        pieces = -(-whole // length)
        lengths = np.full(pieces.sum(), length)
        lengths[np.cumsum(pieces) - 1] = whole - (pieces - 1) * length
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(rng.integers(1, 50_000, offsets[-1], dtype=np.int32), offsets)


def fed(feed: HostFeed, spec: BatchSpec, passes: float) -> Iterator[Any]:
    cursor = Cursor()
    while cursor.drawn < passes * feed.epoch_size:
        draw, cursor = feed.draw(cursor, spec)
        for update in range(len(draw.counts)):
            yield from draw.micro_batches(update, spec.micro_size)


def packed(method: str, data: str, passes: float) -> Iterator[Any]:
    source = Packed(documents(data), DATA[data], method=method)  # type: ignore[arg-type]
    spec = BatchSpec(ROWS, ROWS)
    for batch in fed(HostFeed(source, Permuted(len(source), 1), collate=Weighed()), spec, passes):
        # The last batch of a pass is filled up with rows that do not count: no doing of the packing.
        yield batch.data if batch.real == ROWS else {name: rows[: batch.real] for name, rows in batch.data.items()}


def taken(data: str, passes: float) -> Iterator[Any]:
    """The rows alone, without a feed's weights and sums."""
    source = Packed(documents(data), DATA[data])
    order, start = Permuted(len(source), 1), 0
    while start < passes * len(source):
        rows = min(ROWS, len(source) - start % len(source))
        yield source.take(order.ids(start, rows))
        start += rows


def bucketed(data: str, passes: float) -> Iterator[Any]:
    source, length = documents(data), DATA[data]
    pad = Pad(longest=length)
    order = Bucketed(Permuted(len(source), 1), source.lengths, window=16_384, bucket=1024)
    cut = ByTokens(source.lengths, pad.rungs)
    feed = HostFeed(source, order, collate=pad, cut=cut)
    for batch in fed(feed, BatchSpec(16 * ROWS, ROWS, length), passes):
        batch.data["mask"][batch.real :] = False  # Rows that do not count are padding, too.
        yield batch.data


def copied(data: str, passes: float) -> Iterator[Any]:
    """A bound: the tokens as they lie."""
    values, slots = documents(data).values["tokens"], ROWS * DATA[data]
    many = 0
    while many < passes * len(values):
        at = many % max(len(values) - slots, 1)
        yield {"tokens": values[at : at + slots].copy().reshape(-1, DATA[data])}
        many += slots


def grain_rows(operation: str, data: str, passes: float) -> Iterator[Any]:
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain asks for flags that only a program started by absl has.
    source = documents(data)
    values, offsets = source.values["tokens"], source.offsets.tolist()

    class Items:
        def __len__(self) -> int:
            return len(source)

        def __getitem__(self, id: int) -> dict[str, np.ndarray]:
            return {"tokens": values[offsets[id] : offsets[id + 1]]}

    stream = grain.MapDataset.source(Items()).shuffle(seed=1).repeat(None if passes > 1 else 1)
    stream = stream.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    bins = {} if operation == "ConcatThenSplit" else {"num_packing_bins": 64}
    pack = getattr(grain.experimental, f"{operation}{'' if not bins else 'Pack'}IterDataset")
    return iter(pack(stream, length_struct={"tokens": DATA[data]}, **bins).batch(ROWS))


PROGRAMS: dict[str, Callable[[str, float], Iterator[Any]]] = {
    "copy": copied,
    "ladle best": partial(packed, "best"),
    "ladle first": partial(packed, "first"),
    "ladle cut": partial(packed, "cut"),
    "ladle best, take alone": taken,
    "ladle bucketed and padded": bucketed,
    "grain BestFit": partial(grain_rows, "BestFit"),
    "grain FirstFit": partial(grain_rows, "FirstFit"),
    "grain ConcatThenSplit": partial(grain_rows, "ConcatThenSplit"),
}
PAIRS = [
    ("ladle best", "grain BestFit"),
    ("ladle first", "grain FirstFit"),
    ("ladle cut", "grain ConcatThenSplit"),
    ("ladle best, take alone", "grain BestFit"),
]


def count(rows: dict[str, np.ndarray]) -> Batch:
    """What a batch holds. Grain calls its segments otherwise; without segments or a mask all is real."""
    tokens = rows["tokens"]
    real = rows.get("mask", rows.get("segment", rows.get("tokens_segment_ids", np.ones_like(tokens)))) > 0
    used = real.sum(axis=1)
    return tokens.size, int(used.sum()), len(tokens), int((used == tokens.shape[1]).sum())


def answer(program: str, data: str, measure: str) -> dict[str, float]:
    if measure == "fill":
        slots, real, rows, full = np.sum([count(rows) for rows in PROGRAMS[program](data, 1)], axis=0).tolist()
        return {"fill": real / slots, "full": full / rows}
    begun = time.perf_counter()
    batches = PROGRAMS[program](data, 1e9)
    next(batches)
    started, slots = time.perf_counter(), 0
    for rows in batches:
        slots += rows["tokens"].size
        now = time.perf_counter()
        if now > started + SECONDS:
            break
    per_second, total = slots / (now - started), float(documents(data).lengths.sum())
    # One pass with all that came before its second batch (planning, filling bins).
    return {"per_second": per_second, "planned": total / (total / per_second + started - begun)}


def main(quick: bool, only: list[str] | None) -> None:
    names = [name for name in PROGRAMS if not only or name in only]
    data = [name for name in DATA if name == "log-normal" or "LADLE_DATA" in os.environ]
    results: dict[str, Any] = {}
    with workers(__file__, names) as started:
        for set_of in data:
            ask = {name: partial(worker, data=set_of) for name, worker in started.items()}
            fill = {name: asked(measure="fill") for name, asked in ask.items()}
            timed = {name: partial(asked, measure="speed") for name, asked in ask.items()}
            samples = interleave(timed, 2 if quick else 7)
            rates = {name: [sample["per_second"] for sample in of] for name, of in samples.items()}
            planned = {name: [sample["planned"] for sample in of] for name, of in samples.items()}
            pairs = [(a, b) for a, b in PAIRS if a in names and b in names]
            results[set_of] = {
                "row_length": DATA[set_of],
                "fill": fill,
                "slots_per_second": rates,
                "planned_per_second": planned,
                "ratios": {f"{a} / {b}": ratio(rates[a], rates[b]) for a, b in pairs},
                "planned_ratios": {f"{a} / {b}": ratio(planned[a], planned[b]) for a, b in pairs},
            }
            print(f"\n{set_of}, rows of {DATA[set_of]}; {headline()}")
            lines = [
                [name, f"{fill[name]['fill']:.4f}", f"{fill[name]['full']:.3f}"]
                + [show(spread([rate / 1e6 for rate in of[name]])) for of in (rates, planned)]
                for name in names
            ]
            print(table(["program", "fill", "full rows", "10^6 slots/s", "planning counted"], lines))
            compared = results[set_of]
            lines = [
                [name, show(compared["ratios"][name]), show(compared["planned_ratios"][name])]
                for name in compared["ratios"]
            ]
            print(table(["ratio", "median (low - high)", "planning counted"], lines))
    print(
        save("feed_packing", quick=quick or bool(only), n=2 if quick else 7, grain=metadata.version("grain"), **results)
    )


if __name__ == "__main__":
    found = arguments(__doc__)
    serve(partial(answer, found.worker)) if found.worker else main(found.quick, found.only)
