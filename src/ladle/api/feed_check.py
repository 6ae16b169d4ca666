"""`feed_check`: is the data sound, and is the feed fast enough? Reads and measures; trains nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ladle.api.assembly import assemble
from ladle.api.backend import backend_named
from ladle.api.options import TaskOptions
from ladle.api.streamed import on_disk, tables_of
from ladle.core.errors import ArgumentError, ExampleError, must
from ladle.core.seen import Seen
from ladle.data.loader import TEXT_TABLES
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.measure import FeedReport, measure
from ladle.feed.order import Permuted
from ladle.feed.orders import order_of
from ladle.feed.prefetch import PrefetchedFeed
from ladle.feed.resident import ResidentFeed
from ladle.feed.source.anything import as_source
from ladle.feed.source.nonfinite import find_nonfinite
from ladle.feed.source.open import open_source

SCAN = 100_000
"""Examples that are looked through for what cannot be trained on, unless all are asked for."""

OPENED = (".parquet", ".arrow", ".feather", ".npy", ".tar")
"""Endings that are read where they lie; what `ladle train` loads is looked at as loaded."""


@dataclass(frozen=True)
class FeedCheck:
    """A feed looked through and measured.

    - `examples`: in the data; `scanned`: looked through. `problems`: one line each, with where it is.
    - `report`: where the time goes, and what to change.
    """

    data: str
    examples: int
    scanned: int
    problems: tuple[str, ...]
    report: FeedReport

    def to_json(self) -> dict[str, Any]:
        facts = {"data": self.data, "examples": self.examples, "scanned": self.scanned, "problems": self.problems}
        return {**facts, **self.report.to_json()}

    def __str__(self) -> str:
        found = f"{len(self.problems)} problem{'s' * (len(self.problems) != 1)}" if self.problems else "no problem"
        head = f"{self.data}: {self.examples:,} examples; looked through {self.scanned:,}: {found}"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems), "", str(self.report)])


def feed_check(
    data: Any,
    size: int = 256,
    *,
    order: str = "auto",
    seconds: float = 1.0,
    whole: bool = False,
    options: TaskOptions | None = None,
) -> FeedCheck:
    """Look through `data` for what cannot be trained on, and measure how fast batches of `size` come.

    - `data`: a path that `ladle.feed` opens, a folder of images in one folder per class, anything that
      `ladle train` takes, a `HostFeed`, or what `ladle.feed.as_source` makes a source of.
    - `order`: "auto", "permuted", "blocks" or "sequential".
    - `seconds`: for each thing measured. `whole`: look through every example, not 100,000 of them at random.

    Raises `ArgumentError` (or `DataError`) for data that cannot be opened.

    >>> print(feed_check("digits", 64, seconds=0.02))  # doctest: +SKIP
    """
    if isinstance(data, HostFeed):
        feed, name = data, "feed"
    elif isinstance(data, str | Path):
        feed, name = _opened(str(data), order, options)
    else:
        source = as_source(data)
        feed, name = HostFeed(source, order_of(order, source)), type(data).__name__
    n = feed.epoch_size
    source = feed.source
    ids = np.arange(len(source))
    if not whole and len(source) > SCAN:
        ids = np.sort(Permuted(len(source)).ids(0, SCAN))
    problems = [*_nonfinite(source, ids), *_repeats(feed)]
    report = measure(feed, min(size, n), place=backend_named().put, seconds=seconds)
    return FeedCheck(name, len(source), len(ids), tuple(problems), report)


def _opened(data: str, order: str, options: TaskOptions | None) -> tuple[HostFeed, str]:
    path = Path(data)
    if options is not None and options.target is not None and _lies_on_disk(data):
        source = on_disk(data, target=options.target).train  # A table, as `ladle train --stream` reads it.
        return HostFeed(source, order_of(order, source)), data
    if "://" in data or "*" in data or path.is_dir() or path.suffix in OPENED:
        source = open_source(data)
        return HostFeed(source, order_of(order, source)), data
    options = options or TaskOptions(data)
    if data.partition(":")[0].endswith(".py"):
        feed = assemble(options.task()).feed(0)
        feed = feed.feed if isinstance(feed, PrefetchedFeed) else feed
        if isinstance(feed, ResidentFeed):
            feed = HostFeed(feed.source, feed.order, feed.weight)
        if not isinstance(feed, HostFeed):
            why = "a stream is consumed by reading it"
            raise ArgumentError(must("data", "be examples by number", type(feed).__name__, why, "a HostFeed"))
        return feed, data
    loaded = options.task().data
    source = Arrays(dict(loaded.train))
    return HostFeed(source, order_of(order, source, labels=loaded.train["y"])), loaded.name


def _lies_on_disk(data: str) -> bool:
    """Whether data is a table that is not read as text, or a folder or a pattern of tables."""
    files = tables_of(data)
    return files is not None and (len(files) > 1 or Path(data).is_dir() or not data.lower().endswith(TEXT_TABLES))


def _nonfinite(source: Any, ids: np.ndarray) -> list[str]:
    """What is not finite or cannot be read, in words."""
    problems: list[str] = []
    for start in range(0, len(ids), 4096):
        try:
            found = find_nonfinite(source, ids[start : start + 4096])
        except ExampleError as error:
            problems.append(str(error))
            continue
        problems += [f"{one.where}: {one.value}" for one in found]
        if len(problems) >= 16:
            return [*problems[:16], "and perhaps more"]
    return problems


def _repeats(feed: HostFeed) -> list[str]:
    """A pass that is not every example once, where its order promises that."""
    if not getattr(feed.order, "once", False) or feed.epoch_size > SCAN * 10:
        return []
    seen = Seen().add(feed.order.ids(0, feed.epoch_size), 0)
    return [] if seen.proves(feed.epoch_size) else ["a pass is not every example exactly once"]
