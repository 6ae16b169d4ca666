"""`training_rows`: rows of the training part on the host, for what is counted over them after a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ladle.api.assembly import SAMPLE, Assembly
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import BatchSpec, require_count
from ladle.feed.host import HostFeed
from ladle.feed.prefetch import PrefetchedFeed


def training_rows(assembly: Assembly, sample: int | None = None) -> tuple[Any, np.ndarray | None]:
    """`(rows, weight)` of the training part: all rows that are in memory, of a feed the first `SAMPLE` of its order.

    - `sample`: so many instead, drawn at random, always the same.

    Raises `ArgumentError` for a live stream, which would lose what is read of it, and for a sample that is no number.
    """
    if sample is not None:
        sample = require_count("reestimate", sample)
    task = assembly.task
    if task.feed is None and task.data.resident:
        rows, weight = dict(task.data.train), task.data.weight
        count = task.data.rows
        if sample is None or sample >= count:
            return rows, weight
        ids = np.sort(np.random.default_rng(0).choice(count, sample, replace=False))
        return _taken(rows, ids), None if weight is None else np.asarray(weight)[ids]
    feed = assembly.feed(0)
    if not isinstance(feed, HostFeed | PrefetchedFeed):
        why = "what is read of a stream is gone from it"
        raise ArgumentError(must("reestimate", "have rows that can be read again", "a stream", why, "reestimate=False"))
    count = min(sample or SAMPLE, feed.epoch_size)
    draw, _ = feed.draw(feed.start(), BatchSpec(count, count))
    batch = next(iter(draw.micro_batches(0, count)))
    getattr(feed, "close", lambda: None)()
    return batch.data, batch.weight


def _taken(tree: Any, ids: np.ndarray) -> Any:
    if isinstance(tree, Mapping):
        return {name: _taken(leaf, ids) for name, leaf in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_taken(leaf, ids) for leaf in tree)
    return np.asarray(tree)[ids]
