from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, ExampleError
from ladle.core.spec import BatchSpec
from ladle.feed.bucket import Bucketed
from ladle.feed.budget import ByTokens
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted, Sequential
from ladle.feed.pad import Pad, rung_up
from ladle.feed.source.sequences import Sequences

LENGTHS = np.random.default_rng(1).integers(0, 33, 150)
RUNGS = (8, 16, 33)
SOURCE = Sequences(np.arange(LENGTHS.sum()), np.cumsum([0, *LENGTHS]), id=np.arange(150))
FEED = HostFeed(SOURCE, Permuted(150, 2), collate=Pad(rungs=RUNGS), cut=ByTokens(LENGTHS, RUNGS))


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 400), st.integers(33, 60))
def test_batches_are_as_many_examples_as_fit_and_no_more(size, updates, start, length):
    ends = FEED.cut.ends(FEED.order, start, BatchSpec(size, 1, length, updates))
    assert FEED.cut.stop(FEED.order, start, BatchSpec(size, 1, length, updates)) == ends[-1]
    for begin, end in itertools.pairwise([start, *ends.tolist()]):
        used = LENGTHS[FEED.order.ids(begin, end - begin)].sum()
        assert end > begin and used <= size * length
        assert begin // 150 == (end - 1) // 150
        assert end % 150 == 0 or used + LENGTHS[FEED.order.ids(end, 1)[0]] > size * length


@settings(max_examples=40)
@given(st.integers(1, 30), st.integers(1, 9), st.sampled_from([1, 2, 3, 4]), st.integers(0, 300), st.integers(33, 60))
def test_micro_batches_keep_to_their_places_and_shapes_are_few(size, micro_size, shards, start, length):
    spec = BatchSpec(size, micro_size, length)
    draws = [FEED.draw(Cursor(start), spec, Shard(index, shards))[0] for index in range(shards)]
    seen, tokens = [], 0.0
    allowed = {(micro_size * length // rung, rung) for rung in RUNGS}
    for draw in draws:
        for batch in draw.micro_batches(0, micro_size):
            assert batch.data["tokens"].shape in allowed
            assert batch.data["tokens"].size <= micro_size * length
            seen += batch.ids[: batch.real].tolist()
            tokens += batch.sums["tokens"]
    ids = FEED.order.ids(start, draws[0].counts[0])
    assert sorted(seen) == sorted(ids.tolist())
    assert tokens == LENGTHS[ids].sum()


@given(st.integers(1, 9), st.sampled_from([1, 2, 3]), st.integers(0, 300))
@settings(max_examples=25)
def test_micro_batches_are_as_large_as_fits(micro_size, shards, start):
    spec = BatchSpec(20, micro_size, 40)
    count = FEED.draw(Cursor(start), spec)[0].counts[0]
    pieces = FEED.cut.pieces(FEED.order, start, count, spec, shards)
    assert [piece[0] for piece in pieces] == np.cumsum([start, *(piece[1] for piece in pieces)])[:-1].tolist()
    for begin, own, rows in pieces:
        lengths = LENGTHS[FEED.order.ids(begin, min(own + shards, start + count - begin))]
        assert rows == micro_size * 40 // rung_up(lengths[:own].max(), RUNGS)
        assert own <= rows * shards
        if begin + own < start + count:
            assert own % shards == 0
            assert len(lengths) > shards * (micro_size * 40 // rung_up(lengths.max(), RUNGS))


def test_bucketed_budgets_waste_little():
    order = Bucketed(Permuted(150, 2), LENGTHS, window=150, bucket=30)
    wasted = []
    for feed in (FEED, HostFeed(SOURCE, order, collate=Pad(rungs=RUNGS), cut=FEED.cut)):
        sums, cursor = np.zeros(2), feed.start()
        while cursor.drawn < 150:
            draw, cursor = feed.draw(cursor, BatchSpec(12, 4, 40))
            for batch in draw.micro_batches(0, 4):
                sums += batch.sums["tokens"], batch.sums["token_slots"]
        wasted.append(1 - sums[0] / sums[1])
    assert wasted[1] < wasted[0]


def test_the_default_rungs_are_those_of_pad():
    feed = HostFeed(SOURCE, Sequential(150), collate=Pad(), cut=ByTokens(LENGTHS))
    (draw, _), shapes = feed.draw(feed.start(), BatchSpec(150, 4, 48)), set()
    for batch in draw.micro_batches(0, 4):
        rows, length = batch.data["tokens"].shape
        assert rows == 4 * 48 // length
        shapes.add(length)
    assert shapes <= {8, 12, 16, 24, 32, 48}


@pytest.mark.parametrize(
    ("error", "spec", "message"),
    [
        (ArgumentError, BatchSpec(4, 4), "spec must have a length to be cut by tokens"),
        (ExampleError, BatchSpec(1, 9, 20), "examples must fit into the size \\* length = 20 tokens of a batch"),
        (
            ExampleError,
            BatchSpec(9, 1, 20),
            "examples must fit into the micro_size \\* length = 20 places of a micro-batch, padded to 33; got "
            "'32 tokens in example [0-9]+ \\([0-9]+ such examples\\)'; .*; try micro_size=2",
        ),
    ],
    ids=["length", "batch", "micro"],
)
def test_what_does_not_fit_is_refused_before_anything_is_read(error, spec, message):
    with pytest.raises(error, match=message) as raised:
        FEED.draw(Cursor(), spec)
    if error is ExampleError:
        assert len(raised.value.ids)
        limit = 20 if spec.size == 1 else 16
        assert set(raised.value.ids) == set(np.flatnonzero(limit < LENGTHS).tolist())


def test_lengths_are_of_the_examples_in_order():
    with pytest.raises(ArgumentError, match="lengths must be of 150 examples; got 3"):
        HostFeed(SOURCE, Sequential(150), cut=ByTokens([1, 2, 3])).draw(Cursor(), BatchSpec(4, 4, 40))
    with pytest.raises(ArgumentError, match="rungs must reach 32; got \\(8, 16\\)"):
        ByTokens(LENGTHS, rungs=(8, 16))
