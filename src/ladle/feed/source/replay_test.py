from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import DataError
from ladle.core.spec import BatchSpec
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted
from ladle.feed.prefetch import PrefetchedFeed
from ladle.feed.source.replay import Replay


def numbered(capacity: int, *counts: int) -> Replay:
    """A replay of examples 0, 1, 2, ..., added so many at a time."""
    replay, ends = Replay(capacity, {"id": np.int64(0), "x": (np.zeros(2, np.float32),)}), np.cumsum([0, *counts])
    for start, end in itertools.pairwise(ends.tolist()):
        ids = np.arange(start, end)
        replay.add({"id": ids, "x": (np.stack([ids, -ids], 1),)})
    return replay


@given(st.integers(1, 9), st.lists(st.integers(0, 20), max_size=5))
@settings(max_examples=60)
def test_the_newest_are_kept_whole_and_in_order(capacity, counts):
    replay, total = numbered(capacity, *counts), sum(counts)
    newest = np.arange(max(total - capacity, 0), total)
    assert (replay.added, replay.held, len(replay)) == (total, len(newest), capacity)
    rows = replay.rows()
    assert rows["id"].tolist() == newest.tolist()
    assert rows["x"][0].tolist() == [[id, -id] for id in newest.tolist()]
    if total:
        drawn = np.bincount(replay.take(np.arange(capacity))["id"], minlength=total)
        assert set(drawn[newest]) <= {capacity // len(newest), -(-capacity // len(newest))}
        assert drawn.sum() == capacity


def test_a_feed_reads_what_was_added_just_now():
    replay = numbered(8, 8)
    feed = PrefetchedFeed(HostFeed(replay, Permuted(8, seed=3)))  # As a task wraps it.
    spec = BatchSpec(4, 2)
    draw, cursor = feed.draw(feed.start(), spec)
    seen = [id for batch in draw.micro_batches(0, 2) for id in batch.data["id"].tolist()]
    replay.add({"id": np.arange(100, 108), "x": (np.zeros((8, 2)),)})
    draw, _ = feed.draw(cursor, spec)
    after = [id for batch in draw.micro_batches(0, 2) for id in batch.data["id"].tolist()]
    assert len({*seen, *(id - 100 for id in after)}) == 8 and min(after) >= 100


@pytest.mark.parametrize("counts", [(5, 6), (4,), (6,), (20, 3, 1)])
def test_rows_put_back_answer_as_before(counts):
    """Place for place, and so does what is added afterwards: a run that goes on draws the same batches."""
    replay, more = numbered(6, *counts), {"id": [90, 91], "x": (np.zeros((2, 2)),)}
    again = numbered(6, 2)
    again.put_back(replay.rows(), replay.added)
    for one in (replay, again):
        one.add(more)
    assert again.added == replay.added
    assert again.take(np.arange(6))["id"].tolist() == replay.take(np.arange(6))["id"].tolist()


def test_rows_of_another_moment_are_not_put_back():
    replay = numbered(6, 9)
    rows = replay.rows()
    with pytest.raises(DataError, match="rows must be 4 examples; got 6; because 4 were added to 6 places"):
        replay.put_back(rows, 4)
    with pytest.raises(DataError, match="rows must have the arrays"):
        replay.put_back({"id": rows["id"]}, 9)
    assert replay.added == 9 and replay.rows()["id"].tolist() == rows["id"].tolist()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"id": [1]}, r"rows must have the arrays \['id', 'x.0'\]"),
        ({"id": [1], "x": ([[1.0, 2.0, 3.0]],)}, "rows 'x.0' must have shape"),
        ({"id": 1, "x": ([[1.0, 2.0]],)}, "rows 'id' must have shape"),
        ({"id": [1.5], "x": ([[1.0, 2.0]],)}, "rows 'id' must be int64; got dtype.'float64'."),
        ({"id": [1, 2], "x": ([[1.0, 2.0]],)}, "rows must have equally many rows"),
    ],
)
def test_rows_unlike_the_others_are_refused_and_change_nothing(rows, said):
    replay = numbered(4, 3)
    before = replay.rows()
    with pytest.raises(DataError, match=said):
        replay.add(rows)
    assert replay.added == 3 and replay.rows()["id"].tolist() == before["id"].tolist()


def test_an_empty_one_is_refused_in_a_line():
    with pytest.raises(DataError, match="replay must hold an example; got 0") as refused:
        numbered(4).take(np.arange(2))
    assert "\n" not in str(refused.value)
