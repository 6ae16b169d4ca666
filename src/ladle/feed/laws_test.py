"""What every feed promises, whatever it feeds: every case x every law. A new source, order or collate joins `CASES`.

- The shards together are the global batch, for any number of them.
- Stopping anywhere and going on with another size, micro-size or number of hosts gives the same sequence of examples.
- No batch crosses a pass; a pass holds every example exactly once (where the order promises that).
- All hosts have as many micro-batches, of the same shapes.
- Rows are those of their ids; padding repeats real rows.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ladle.core.batch import Batch
from ladle.core.cursor import Cursor, Shard
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays, map_tree
from ladle.feed.balanced import Balanced
from ladle.feed.blocks import Blocks
from ladle.feed.bucket import Bucketed
from ladle.feed.budget import ByTokens
from ladle.feed.curriculum import Curriculum
from ladle.feed.fold import Fold
from ladle.feed.graph import Graph
from ladle.feed.host import HostFeed
from ladle.feed.mixture import Mixture
from ladle.feed.neighbours import Neighbours
from ladle.feed.nest import Nested, PadNested
from ladle.feed.order import Permuted, Sequential
from ladle.feed.pack import Packed, Weighed
from ladle.feed.pad import Pad
from ladle.feed.prefetch import PrefetchedFeed
from ladle.feed.resident import ResidentFeed
from ladle.feed.source.blob import Blob
from ladle.feed.source.decode import Pixels
from ladle.feed.source.items import Items
from ladle.feed.source.join import Joined
from ladle.feed.source.memmap_test import mapped_feed
from ladle.feed.source.parquet_test import parquet_feed
from ladle.feed.source.replay import Replay
from ladle.feed.source.sequences import Sequences
from ladle.feed.source.subset import Chosen
from ladle.feed.stratified import Stratified
from ladle.feed.weighted import Weighted

N = 53
SOURCE = Arrays(
    {"x": (np.arange(N, dtype=np.float32)[:, None] * [1, 2], np.arange(N, dtype=np.int8)), "id": np.arange(N)}
)
ORDERS: dict[str, Any] = {
    "sequential": Sequential(N),
    "permuted": Permuted(N, 5),
    "weighted": Weighted(np.arange(1.0, N + 1), 5),
    "stratified": Stratified(np.arange(N) % 7 // 3, 5),
}
SIZES, SHARES = {"a": 20, "b": 33}, {0: {"a": 1, "b": 0}, 60: {"a": 1, "b": 2}}
GRAPH = Graph.of_edges([(u, v) for u in range(N) for v in range(u)], np.eye(N, 2), np.arange(N))

GREYS = Blob(
    np.frombuffer(b"".join(b"P5 1 1 255 %c" % id for id in range(N)), np.uint8), np.arange(N + 1) * 12, Pixels("L")
)

LENGTHS = np.arange(N) * 7 % 25
TEXTS = Sequences(np.arange(LENGTHS.sum()), np.cumsum([0, *LENGTHS]), id=np.arange(N))
NESTED = Nested(np.arange(LENGTHS.sum()), np.arange(N + 1), np.cumsum([0, *LENGTHS]), id=np.arange(N))
ROWS = Packed(TEXTS, 31)
FIRSTS = ROWS.take(np.arange(len(ROWS)))["tokens"][:, 0]


def replay_of(source: Arrays) -> Replay:
    """A full one, whose places hold the examples of their numbers."""
    replay = Replay(len(source), map_tree(lambda leaf: leaf[0], source.tree))
    replay.add(source.tree)
    return replay


@dataclass(frozen=True)
class Case:
    """A feed for the laws.

    - `make`: the feed; made once, when its first law is tried.
    - `once`: every pass holds every example exactly once. `length`: `spec.length` of its draws.
    - `ids`: which examples the rows of a batch are, as its data says: `i64[rows]`, or None where data does not say.
    """

    make: Callable[[], Any]
    once: bool = True
    length: int | None = None
    ids: Callable[[Batch], np.ndarray] | None = lambda batch: batch.data["id"]


CASES: dict[str, Case] = {
    **{f"host-{name}": Case(lambda o=order: HostFeed(SOURCE, o), name != "weighted") for name, order in ORDERS.items()},
    **{
        f"resident-{name}": Case(lambda o=order: ResidentFeed(SOURCE, o), name != "weighted")
        for name, order in ORDERS.items()
    },
    "prefetched": Case(lambda: PrefetchedFeed(HostFeed(SOURCE, ORDERS["permuted"]), workers=2, depth=3)),
    # One line for each that joins:
    "mapped": Case(mapped_feed),
    "replay": Case(lambda: HostFeed(replay_of(SOURCE), ORDERS["permuted"])),
    "parquet": Case(parquet_feed, ids=lambda batch: batch.data["x"][:, 0].astype(int)),
    "blocks": Case(lambda: HostFeed(SOURCE, Blocks([20, 1, 25, 7], 5, mix=2))),
    "fold": Case(lambda: HostFeed(SOURCE, Fold(np.arange(N), N, 5, room=N + 4))),
    "joined": Case(
        lambda: HostFeed(
            Joined({"a": Chosen(SOURCE, np.arange(20)), "b": Chosen(SOURCE, np.arange(20, N))}), ORDERS["permuted"]
        )
    ),
    "items": Case(lambda: HostFeed(Items([{"id": id} for id in range(N)], threads=2), ORDERS["permuted"])),
    "images": Case(lambda: HostFeed(GREYS, ORDERS["permuted"]), ids=lambda batch: batch.data["x"][:, 0, 0, 0]),
    "padded": Case(lambda: HostFeed(TEXTS, ORDERS["weighted"], collate=Pad((4, 9, 24), weigh="tokens")), False),
    "bucketed": Case(lambda: HostFeed(TEXTS, Bucketed(ORDERS["permuted"], LENGTHS, 20, 4), collate=Pad())),
    "budget": Case(lambda: HostFeed(TEXTS, ORDERS["permuted"], collate=Pad(), cut=ByTokens(LENGTHS)), length=24),
    "packed": Case(
        lambda: HostFeed(ROWS, Permuted(len(ROWS), 5), collate=Weighed()),
        ids=lambda batch: np.argmax(batch.data["tokens"][:, :1] == FIRSTS, axis=1),
    ),
    "nested": Case(lambda: HostFeed(NESTED, ORDERS["permuted"], collate=PadNested((1,), (9, 24)))),
    "mixture": Case(lambda: HostFeed(SOURCE, Mixture(SIZES, {"a": 0.7, "b": 0.3}, seed=5)), False),
    "mixture-average": Case(lambda: HostFeed(SOURCE, Mixture(SIZES, schedule=SHARES, exact=False, block=9)), False),
    "balanced": Case(lambda: HostFeed(SOURCE, Balanced(np.arange(N) % 7 // 3, 5)), False),
    "curriculum": Case(lambda: HostFeed(SOURCE, Curriculum(-np.arange(N) % 9, [(70, 10), (21, 30)], 5)), False),
    "graph-tree": Case(
        lambda: HostFeed(GRAPH, ORDERS["permuted"], collate=Neighbours((3, 2))), ids=lambda batch: batch.data["node"]
    ),
    "graph-node-sets": Case(
        lambda: HostFeed(GRAPH, ORDERS["permuted"], collate=Neighbours((3,), (32, 128))),
        ids=lambda batch: batch.data["node"],
    ),
}

laws = pytest.mark.parametrize("name", CASES)
few = settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
shard_counts = st.sampled_from([1, 2, 3, 4, 8])


@cache
def made(name: str) -> Any:
    return CASES[name].make()


def specs(name: str) -> st.SearchStrategy[BatchSpec]:
    sizes, micro, updates = st.integers(1, 80), st.integers(1, 24), st.integers(1, 4)
    return st.builds(BatchSpec, size=sizes, micro_size=micro, updates=updates, length=st.just(CASES[name].length))


def read(draw: Any, update: int, micro_size: int) -> list[tuple[int, int]]:
    """(position, id) of the rows that count."""
    rows = []
    for batch in draw.micro_batches(update, micro_size):
        rows += zip(batch.position[: batch.real].tolist(), batch.ids[: batch.real].tolist(), strict=True)
    return rows


def together(feed: Any, cursor: Cursor, spec: BatchSpec, shards: int) -> tuple[list[list[int]], Cursor]:
    """Ids of each update in order of position, put together from all shards; and where every shard says it stands."""
    parts = [feed.draw(cursor, spec, Shard(index, shards)) for index in range(shards)]
    (after,) = {after.drawn for _, after in parts}
    updates, position = [], cursor.drawn
    for update, count in enumerate(parts[0][0].counts):
        placed = sorted(itertools.chain(*(read(draw, update, spec.micro_size) for draw, _ in parts)))
        assert [place for place, _ in placed] == list(range(position, position + count))
        updates.append([id for _, id in placed])
        position += count
    assert position == after
    return updates, parts[0][1]


@laws
@given(data=st.data())
@few
def test_the_shards_together_are_the_global_batch(name, data):
    feed, spec, shards = made(name), data.draw(specs(name)), data.draw(shard_counts)
    cursor = Cursor(data.draw(st.integers(0, 3 * feed.epoch_size)))
    updates, after = together(feed, cursor, spec, shards)
    whole, _ = together(feed, cursor, spec, 1)
    assert updates == whole
    assert list(itertools.chain(*updates)) == feed.order.ids(cursor.drawn, after.drawn - cursor.drawn).tolist()


@laws
@given(data=st.data())
@few
def test_stopping_anywhere_is_as_if_it_had_never_happened(name, data):
    """Any sizes, any number of shards, the cursor through JSON each time: one unbroken sequence of positions."""
    feed, seen = made(name), []
    cursor = feed.start()
    for _ in range(data.draw(st.integers(1, 5))):
        updates, cursor = together(feed, cursor, data.draw(specs(name)), data.draw(shard_counts))
        text = json.dumps(cursor.to_json())
        assert len(text) < 1000
        cursor = Cursor.from_json(json.loads(text))
        seen += list(itertools.chain(*updates))
    assert cursor.drawn == len(seen)
    assert seen == feed.order.ids(0, len(seen)).tolist()


@laws
@given(data=st.data())
@few
def test_no_batch_crosses_a_pass_and_every_pass_is_whole(name, data):
    feed, seen = made(name), []
    cursor, n = feed.start(), feed.epoch_size
    while len(seen) < n:
        spec = BatchSpec(data.draw(st.integers(5, 80)), 24, CASES[name].length)
        (ids,), after = together(feed, cursor, spec, data.draw(shard_counts))
        assert cursor.drawn // n == (after.drawn - 1) // n
        seen, cursor = seen + ids, after
    if CASES[name].once:
        assert sorted(seen) == list(range(n))


@laws
@given(data=st.data())
@few
def test_all_hosts_have_as_many_micro_batches_of_the_same_shapes(name, data):
    feed, spec, shards = made(name), data.draw(specs(name)), data.draw(shard_counts)
    cursor = Cursor(data.draw(st.integers(0, 3 * feed.epoch_size)))
    draws = [feed.draw(cursor, spec, Shard(index, shards))[0] for index in range(shards)]
    for update in range(len(draws[0].counts)):
        shapes = {
            str([jax.tree.map(np.shape, b.data) for b in d.micro_batches(update, spec.micro_size)]) for d in draws
        }
        assert len(shapes) == 1


@laws
@given(data=st.data())
@few
def test_rows_are_those_of_their_ids_and_padding_is_made_of_real_rows(name, data):
    feed, spec, shards = made(name), data.draw(specs(name)), data.draw(shard_counts)
    shard = Shard(data.draw(st.integers(0, shards - 1)), shards)
    draw, _ = feed.draw(Cursor(data.draw(st.integers(0, 3 * feed.epoch_size))), spec, shard)
    for update, own in enumerate(draw.ids()):
        seen = []
        for batch in draw.micro_batches(update, spec.micro_size):
            rows = len(batch.weight)
            assert batch.position.shape == batch.ids.shape == (rows,)
            assert (batch.weight.dtype, batch.position.dtype, batch.ids.dtype) == (np.float32, np.int64, np.int64)
            assert not batch.weight[batch.real :].any()
            assert all(np.isfinite(total) for total in batch.sums.values())
            if CASES[name].ids is not None:
                np.testing.assert_array_equal(CASES[name].ids(batch), batch.ids)
            for place, id in zip(batch.position.tolist(), batch.ids.tolist(), strict=True):
                assert feed.order.ids(place, 1)[0] == id
            if batch.real:
                np.testing.assert_array_equal(batch.position, np.resize(batch.position[: batch.real], rows))
            seen += batch.ids[: batch.real].tolist()
        assert seen == own.tolist()


@laws
def test_draws_are_pure_and_the_carry_goes_through(name):
    feed, cursor = made(name), Cursor(37, {"kept": 1})
    spec = BatchSpec(size=30, micro_size=8, length=CASES[name].length, updates=3)
    (one, after), (two, _) = feed.draw(cursor, spec), feed.draw(cursor, spec)
    assert after.carry == {"kept": 1}
    assert one.counts == two.counts
    for _ in range(2):  # Reading twice, or reading one of two, changes nothing.
        assert [ids.tolist() for ids in one.ids()] == [ids.tolist() for ids in two.ids()]
        last = len(one.counts) - 1
        for a, b in zip(one.micro_batches(last, 8), two.micro_batches(last, 8), strict=True):
            jax.tree.map(np.testing.assert_array_equal, (a.data, a.weight), (b.data, b.weight))
