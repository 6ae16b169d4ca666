"""Batches of a stream: the laws of every feed, as far as a stream can keep them, and what is its own."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.batch import Batch
from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.core.spec import BatchSpec
from ladle.feed.stream.decode import Numbers
from ladle.feed.stream.feed import BAD_BATCHES, EPOCH, EndOfStream, StreamFeed
from ladle.feed.stream.iterator import IteratorStream

N = 53
LIKE = Numbers(like={"id": np.int64(0), "x": np.zeros(2, np.float32)})
EVENTS = [{"id": id, "x": [id, 0.5]} for id in range(N)]
few = settings(max_examples=30)
specs = st.builds(BatchSpec, size=st.integers(1, 30), micro_size=st.integers(1, 12))
shard_counts = st.sampled_from([1, 2, 3, 4, 8])


def feed_of(events: list[Any], **words: Any) -> StreamFeed:
    return StreamFeed(IteratorStream(lambda: events), LIKE, **{"wait_seconds": math.inf, **words})


def real(batch: Batch) -> list[tuple[int, int]]:
    return list(zip(batch.ids[: batch.real].tolist(), batch.data["id"][: batch.real].tolist(), strict=True))


def together(feed: StreamFeed, cursor: Cursor, spec: BatchSpec, shards: int) -> tuple[list[tuple[int, int]], Cursor]:
    """(event number, id in its data) of the next batch, put together from all shards."""
    parts = [feed.draw(cursor, spec, Shard(index, shards)) for index in range(shards)]
    rows = [real(batch) for draw, _ in parts for batch in draw.micro_batches(0, spec.micro_size)]
    assert len({json.dumps(after.to_json()) for _, after in parts}) == 1
    return sorted(itertools.chain(*rows)), parts[0][1]


def drawn(feed: StreamFeed, cursor: Cursor, spec: BatchSpec) -> Iterator[tuple[Any, Cursor]]:
    """Draws until the stream ends."""
    while True:
        try:
            draw, cursor = feed.draw(cursor, spec)
        except EndOfStream:
            return
        yield draw, cursor


@given(data=st.data())
@few
def test_any_sizes_hosts_and_restarts_give_every_event_once(data):
    feed, seen = feed_of(EVENTS), []
    cursor = feed.start()
    while cursor.drawn < N:
        rows, cursor = together(feed, cursor, data.draw(specs), data.draw(shard_counts))
        seen += rows
        text = json.dumps(cursor.to_json())
        assert len(text) < 200
        if data.draw(st.booleans()):
            feed, cursor = feed_of(EVENTS), Cursor.from_json(json.loads(text))
    assert seen == [(id, id) for id in range(N)]
    with pytest.raises(EndOfStream):
        feed.draw(cursor, BatchSpec(1, 1))


@given(spec=specs, shards=shard_counts, start=st.integers(0, N - 1), bad=st.sets(st.integers(0, N - 1)))
@few
def test_hosts_have_the_same_shapes_and_padding_is_made_of_real_rows(spec, shards, start, bad):
    events = ["?" if id in bad else event for id, event in enumerate(EVENTS)]
    feed = feed_of(events, bad="skip")
    try:
        parts = [
            feed.draw(Cursor(start, {"position": {"taken": start}}), spec, Shard(i, shards)) for i in range(shards)
        ]
    except (EndOfStream, ExampleError):
        assert set(range(start, N)) <= bad or len(bad) >= BAD_BATCHES
        return
    named: list[int] = []
    for (draw, _), own in zip(parts, range(shards), strict=True):
        batches = list(draw.micro_batches(0, spec.micro_size))
        assert [batch.data["x"].shape for batch in batches] == [
            (spec.micro_size, 2) for _ in range(-(-draw.counts[0] // (spec.micro_size * shards)))
        ]
        assert [id for batch in batches for id in batch.ids[: batch.real].tolist()] == draw.ids()[0].tolist()
        for batch in batches:
            named += batch.bad
            assert batch.sums.get("bad", 0.0) == len(batch.bad)
            assert not batch.weight[batch.real :].any()
            weights = [0.0 if id in bad else 1.0 for id in batch.ids[: batch.real].tolist()]
            assert batch.weight[: batch.real].tolist() == weights
            assert (batch.weight.dtype, batch.position.dtype, batch.ids.dtype) == (np.float32, np.int64, np.int64)
            for id, row in zip(batch.ids.tolist(), batch.data["id"].tolist(), strict=True):
                assert id in bad or id == row
            if batch.real:
                np.testing.assert_array_equal(batch.position, np.resize(batch.position[: batch.real], spec.micro_size))
        assert own == draw.shard.index
    end = parts[0][1].drawn
    assert sorted(named) == sorted(id for id in bad if start <= id < end)


def test_a_draw_may_hold_several_updates_and_fewer_where_the_stream_ends():
    feed = feed_of(EVENTS[:10])
    draw, cursor = feed.draw(feed.start(), BatchSpec(4, 4, updates=5))
    assert (draw.counts, draw.start, cursor.drawn) == ((4, 4, 2), 0, 10)
    assert [ids.tolist() for ids in draw.ids()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [real(batch) for batch in draw.micro_batches(2, 4)] == [[(8, 8), (9, 9)]]


def test_no_batch_crosses_what_stands_for_a_pass():
    feed = feed_of(EVENTS)
    draw, cursor = feed.draw(Cursor(EPOCH - 3, {"position": {"taken": 0}}), BatchSpec(8, 8))
    assert (draw.counts, cursor.drawn) == ((3,), EPOCH)
    assert feed.epoch_size == draw.epoch_size == EPOCH
    assert not feed.resident


def test_other_words_of_the_carry_go_through():
    cursor = Cursor(0, {"position": {"taken": 0}, "kept": 1})
    assert feed_of(EVENTS).draw(cursor, BatchSpec(2, 2))[1].carry == {"position": {"taken": 2}, "kept": 1}


def test_a_bad_event_is_named_by_its_number_and_its_place():
    events: list[Any] = list(EVENTS)
    events[5], events[6] = b"{broken", {"id": 1}
    feed = feed_of(events)
    _, cursor = feed.draw(feed.start(), BatchSpec(4, 4))
    with pytest.raises(ExampleError, match=r"event 5 \(number 1 after \{'taken': 4\}\): event must be JSON") as refused:
        feed.draw(cursor, BatchSpec(4, 4))
    assert refused.value.ids == (5, 6)


def test_batches_of_bad_events_are_passed_over_and_named():
    events: list[Any] = ["?"] * 5 + EVENTS[5:8]
    feed = feed_of(events, bad="skip")
    draw, cursor = feed.draw(feed.start(), BatchSpec(2, 2))
    (batch,) = draw.micro_batches(0, 2)
    assert (draw.start, cursor.drawn) == (4, 6)
    assert batch.bad == (0, 1, 2, 3, 4) and batch.sums == {"bad": 5.0}
    assert batch.weight.tolist() == [0.0, 1.0] and batch.data["id"].tolist() == [5, 5]


def test_a_stream_of_bad_events_only_is_refused():
    feed = feed_of(["?"] * 1000, bad="skip")
    with pytest.raises(
        ExampleError, match="stream must have readable events; got .32 bad ones in a row, up to position"
    ):
        feed.draw(feed.start(), BatchSpec(2, 2))


@dataclass(frozen=True)
class Arriving:
    """A log on which each reading finds what `portions` says; it notes how long it was asked to wait."""

    portions: list[int]
    asked: list[tuple[int, float]] = field(default_factory=list)

    def start(self) -> int:
        return 0

    def read(self, position: int, count: int, wait_seconds: float) -> tuple[list[Any], int]:
        self.asked.append((count, wait_seconds))
        found = min(count, self.portions.pop(0)) if self.portions else 0
        return EVENTS[position : position + found], position + found


def test_what_has_come_is_the_batch():
    stream = Arriving([3, 8])
    feed = StreamFeed(stream, LIKE, wait_seconds=0.5)
    draws = list(drawn(feed, feed.start(), BatchSpec(8, 8)))
    assert [draw.counts for draw, _ in draws] == [(3,), (8,)]
    assert draws[-1][1].carry["position"] == 11
    assert stream.asked == [(8, 0.5)] * 3, "nothing is read ahead"


def test_the_first_event_is_waited_for_longer_than_the_others():
    stream = Arriving([0, 1, 4])
    feed = StreamFeed(stream, LIKE, wait_seconds=0.5, idle_seconds=60.0)
    draw, _ = feed.draw(feed.start(), BatchSpec(8, 8))
    assert draw.counts == (4,)
    assert stream.asked == [(8, 0.5), (1, 59.5), (8, 0.5)]


def test_the_end_is_not_an_error_of_the_user():
    feed = feed_of([])
    with pytest.raises(EndOfStream, match="no event after position {'taken': 0} within inf s") as ended:
        feed.draw(feed.start(), BatchSpec(2, 2))
    assert not isinstance(ended.value, ArgumentError)


def test_several_hosts_wait_for_full_batches():
    with pytest.raises(ArgumentError, match="wait_seconds must be inf with several hosts; got 1.0"):
        feed_of(EVENTS, wait_seconds=1.0).draw(Cursor(0, {"position": {"taken": 0}}), BatchSpec(2, 2), Shard(0, 2))


def test_wrong_arguments_are_refused():
    with pytest.raises(ArgumentError, match="bad must be 'raise' or 'skip'; got 'drop'"):
        feed_of(EVENTS, bad="drop")
    for name in ("wait_seconds", "idle_seconds"):
        for seconds in (-1.0, math.nan):
            with pytest.raises(ArgumentError, match=f"{name} must be at least 0"):
                feed_of(EVENTS, **{name: seconds})
    with pytest.raises(ArgumentError, match="shard must have an index below its count"):
        feed_of(EVENTS).draw(feed_of(EVENTS).start(), BatchSpec(2, 2), Shard(2, 2))
    with pytest.raises(DataError, match="cursor must carry the position in the stream"):
        feed_of(EVENTS).draw(Cursor(5), BatchSpec(2, 2))


@pytest.mark.parametrize("ids", [(), (2,), (-1,)])
def test_a_decode_that_names_no_event_of_its_own_is_refused(ids):
    def decode(events: list[Any]) -> Any:
        raise ExampleError("bad", ids)

    feed = StreamFeed(IteratorStream(EVENTS), decode, bad="skip")
    with pytest.raises(DataError, match="decode must raise ExampleError with places of its events"):
        feed.draw(feed.start(), BatchSpec(2, 2))


def test_a_decode_without_a_row_for_each_event_is_refused():
    feed = StreamFeed(IteratorStream(EVENTS), lambda events: {"x": np.zeros(3)})
    with pytest.raises(DataError, match="decode must give a row for each event; got '3 rows of 2 events'"):
        feed.draw(feed.start(), BatchSpec(2, 2))
