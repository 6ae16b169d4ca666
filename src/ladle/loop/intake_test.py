from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ladle.core.batch import Batch
from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import RunError
from ladle.core.seen import Seen
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted
from ladle.feed.weighted import Weighted
from ladle.loop.intake import Intake

N = 10
FEED = HostFeed(Arrays({"id": np.arange(N)}), Permuted(N, 1))


def batch(ids: list[int], first: int = 0, **rest: Any) -> Batch:
    count = len(ids)
    return Batch(None, np.ones(count, np.float32), np.arange(first, first + count), np.array(ids), count, **rest)


def drawn(feed: Any, spec: BatchSpec, intake: Intake, cursor: Cursor = Cursor()) -> Cursor:
    draw, cursor = feed.draw(cursor, spec)
    watched = intake.of(draw)
    for update in range(spec.updates):
        list(watched.micro_batches(update, spec.micro_size))
    return cursor


def test_a_whole_pass_is_proved_and_the_digest_goes_into_the_cursor():
    intake = Intake(FEED, Seen())
    half = intake.proved(drawn(FEED, BatchSpec(5, 2), intake), Shard())
    assert half.carry["seen"]["count"] == 5
    again = Intake(FEED, Seen.from_json(half.carry["seen"]))
    whole = again.proved(drawn(FEED, BatchSpec(5, 3), again, half), Shard())
    assert whole.carry["seen"]["count"] == N


def test_an_example_used_twice_is_noticed_at_the_end_of_the_pass():
    intake = Intake(FEED, Seen())
    intake.note(batch([0, 1, 2, 3, 4, 5, 6, 7, 8, 8]))
    with pytest.raises(RunError, match="pass 0 of the data was not each of 10 examples exactly once"):
        intake.proved(Cursor(N), Shard())


def test_nothing_is_asked_of_an_order_with_repeats_or_of_one_host_among_several():
    weighted = Intake(HostFeed(FEED.source, Weighted(np.ones(N))), Seen())
    weighted.note(batch([0] * N))
    weighted.proved(Cursor(N), Shard())
    shared = Intake(FEED, Seen())
    shared.note(batch([0] * N))
    shared.proved(Cursor(N), Shard(0, 2))


def test_a_line_tells_of_waiting_padding_counts_and_what_was_left_out():
    intake = Intake(FEED, Seen(), seconds=0.5)
    intake.note(batch([1, 2], sums={"tokens": 30.0, "token_slots": 40.0, "nodes_1": 7.0}))
    intake.note(batch([3, 4], 2, sums={"tokens": 10.0, "token_slots": 40.0, "bad": 1.0}, bad=(4,)))
    assert intake.line(2.0) == {
        "data_wait_fraction": 0.25,
        "padding_fraction": 0.5,
        "bad_ids": [4],
        "tokens": 40.0,
        "nodes_1": 7.0,
        "bad": 1.0,
    }


def test_padding_rows_are_not_counted_as_seen():
    intake = Intake(FEED, Seen())
    drawn(FEED, BatchSpec(3, 8), intake)
    assert intake.seen.count == 3
