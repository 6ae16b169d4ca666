"""Every order x every feed x every law. A new order or feed joins with one line."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from jax import lax

from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, DataError
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted, Sequential
from ladle.feed.resident import ResidentFeed
from ladle.feed.stratified import Stratified
from ladle.feed.weighted import Weighted

N = 101
SOURCE = Arrays(
    {"x": (np.arange(N, dtype=np.float32)[:, None] * [1, 2], np.arange(N, dtype=np.int8)), "id": np.arange(N)}
)
ORDERS: dict[str, Any] = {
    "sequential": Sequential(N),
    "permuted": Permuted(N, 5),
    "weighted": Weighted(np.arange(1.0, N + 1), 5),
    "stratified": Stratified(np.arange(N) % 7 // 3, 5),
}
FEEDS: dict[str, Any] = {"array": HostFeed, "resident": ResidentFeed}

MATRIX = {f"{lane}-{name}": feed(SOURCE, order) for lane, feed in FEEDS.items() for name, order in ORDERS.items()}
laws = pytest.mark.parametrize("feed", MATRIX.values(), ids=MATRIX)
few = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
specs = st.builds(BatchSpec, size=st.integers(1, 150), micro_size=st.integers(1, 40), updates=st.integers(1, 6))
shard_counts = st.sampled_from([1, 2, 3, 4, 8])


def read(draw: Any, update: int, micro_size: int) -> tuple[list[int], list[int]]:
    """Ids and positions of the rows that count, as the batches themselves say."""
    ids, positions = [], []
    for batch in draw.micro_batches(update, micro_size):
        real = batch.weight > 0
        ids += batch.data["id"][real].tolist()
        positions += batch.position[real].tolist()
    return ids, positions


def together(feed: Any, cursor: Cursor, spec: BatchSpec, shards: int) -> tuple[list[list[int]], Cursor]:
    """Ids of each update in order of position, put together from all shards; and where every shard says it stands."""
    parts = [feed.draw(cursor, spec, Shard(index, shards)) for index in range(shards)]
    after = {draw_cursor[1].drawn for draw_cursor in parts}
    assert len(after) == 1
    updates = []
    for update in range(spec.updates):
        rows = [read(draw, update, spec.micro_size) for draw, _ in parts]
        placed = sorted(itertools.chain(*(zip(positions, ids, strict=True) for ids, positions in rows)))
        assert len({position for position, _ in placed}) == len(placed) == parts[0][0].counts[update]
        updates.append([id for _, id in placed])
    return updates, parts[0][1]


@laws
def test_padding_repeats_the_real_rows_in_turn(feed):
    draw, _ = feed.draw(Cursor(0), BatchSpec(size=5, micro_size=3))
    first, last = draw.micro_batches(0, 3)
    ids = feed.order.ids(0, 5)
    assert first.data["id"].tolist() == ids[:3].tolist()
    assert last.data["id"].tolist() == ids[[3, 4, 3]].tolist()
    assert last.weight.tolist() == [1, 1, 0]
    assert last.position.tolist() == [3, 4, 3]


@laws
def test_a_shard_without_rows_hands_out_padding_only(feed):
    draw, _ = feed.draw(Cursor(10), BatchSpec(size=2, micro_size=4), Shard(5, 8))
    (batch,) = draw.micro_batches(0, 4)
    assert draw.ids()[0].tolist() == []
    assert batch.weight.tolist() == [0, 0, 0, 0]
    assert batch.position.tolist() == [10, 10, 10, 10]


@laws
def test_draws_are_pure_and_the_carry_goes_through(feed):
    cursor, spec = Cursor(37, {"kept": 1}), BatchSpec(size=30, micro_size=8, updates=4)
    (one, after), (two, _) = feed.draw(cursor, spec), feed.draw(cursor, spec)
    assert after == Cursor(37 + 30 + 30 + 4 + 30, {"kept": 1})
    assert one.counts == two.counts == (30, 30, 4, 30)
    for _ in range(2):  # Reading twice, or reading one of two, changes nothing.
        assert [ids.tolist() for ids in one.ids()] == [ids.tolist() for ids in two.ids()]
        assert read(one, 3, 8) == read(two, 3, 8)


@laws
def test_the_middle_of_a_large_batch_is_never_in_memory_at_once(feed):
    """Micro-batches come one by one, and only when asked for."""
    asked = []

    class Counting(NamedTuple):
        def __len__(self) -> int:
            return N

        def take(self, ids: np.ndarray) -> Any:
            asked.append(len(ids))
            return SOURCE.take(ids)

    draw, _ = HostFeed(Counting(), feed.order).draw(Cursor(), BatchSpec(size=100, micro_size=8))
    batches = draw.micro_batches(0, 8)
    assert asked == []
    next(batches)
    assert asked == [8]
    assert len(list(batches)) == 12
    assert set(asked) == {8}


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_weights_travel_with_their_examples(feed):
    weight = np.linspace(0, 2, N)
    draw, _ = feed(SOURCE, Permuted(N, 1), weight=weight).draw(Cursor(), BatchSpec(size=N, micro_size=25))
    for batch in draw.micro_batches(0, 25):
        full = weight.astype(np.float32)[batch.data["id"]]
        padding = np.arange(25) >= (25 if batch.position[0] < 100 else 1)
        np.testing.assert_array_equal(batch.weight, np.where(padding, 0, full))


# --- the resident lane --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_device_gathers_the_rows_that_the_host_would_send(order):
    feed = ResidentFeed(SOURCE, order).placed(jax.device_put)
    assert isinstance(jax.tree.leaves(feed.data)[0], jax.Array)
    draw, _ = feed.draw(Cursor(2 * N + 60), BatchSpec(size=30, micro_size=8, updates=2))
    assert (draw.epoch, draw.offset) == (2, 60)

    @jax.jit
    def rows(data, tables, epoch, offset):
        ids = order.program(tables, epoch, offset + jnp.arange(8, dtype=jnp.uint32), jnp, lax.while_loop)
        return jax.tree.map(lambda leaf: leaf[ids], data)

    gathered = rows(draw.data, dict(draw.order.tables()), np.uint32(draw.epoch), np.uint32(draw.offset))
    sent = next(iter(draw.micro_batches(0, 8)))
    jax.tree.map(np.testing.assert_array_equal, gathered, sent.data)


def test_a_resident_draw_of_two_thousand_million_updates_costs_nothing():
    feed = ResidentFeed(SOURCE, Permuted(N, 1))
    draw, cursor = feed.draw(Cursor(), BatchSpec(size=N, micro_size=8, updates=2**31 - 1))
    assert cursor.drawn == N * (2**31 - 1)
    assert (draw.start, draw.epoch, draw.offset) == (0, 0, 0)


def test_placing_leaves_the_host_lane_as_it_was():
    feed = ResidentFeed(SOURCE, Permuted(N, 1), weight=np.ones(N)).placed(jax.device_put)
    draw, _ = feed.draw(Cursor(), BatchSpec(size=4, micro_size=4))
    (batch,) = draw.micro_batches(0, 4)
    assert isinstance(draw.weight, jax.Array)
    assert isinstance(batch.weight, np.ndarray)
    assert isinstance(batch.data["id"], np.ndarray)


class Endless(NamedTuple):
    """A source that claims any number of examples."""

    n: int

    def __len__(self) -> int:
        return self.n


def test_a_pass_too_long_for_the_device_is_refused():
    with pytest.raises(ArgumentError, match="order must have at most 2147483648 places"):
        ResidentFeed(Endless(2**31 + 1), Permuted(2**31 + 1))  # type: ignore[arg-type]


def test_a_pass_of_another_length_than_the_data_stays_on_the_host():
    order = Weighted(np.ones(N), draws=10)
    assert HostFeed(SOURCE, order).epoch_size == 10
    with pytest.raises(ArgumentError, match="order must have 101 places in a pass; got 10"):
        ResidentFeed(SOURCE, order)


# --- arrays and arguments -----------------------------------------------------------------------------------------


class Pair(NamedTuple):
    left: Any
    right: Any


def test_arrays_keep_their_nesting_and_types():
    tree = {
        "pair": Pair(np.arange(3, dtype=np.int8), [[1.0], [2.0], [3.0]]),
        "deep": ({"z": np.array(["a", "b", "c"])},),
    }
    taken = Arrays(tree).take(np.array([2, 2]))
    assert isinstance(taken["pair"], Pair)
    assert taken["pair"].left.dtype == np.int8
    assert taken["pair"].right.tolist() == [[3.0], [3.0]]
    assert taken["deep"][0]["z"].tolist() == ["c", "c"]
    assert Arrays(np.arange(4)).take(np.array([3])).tolist() == [3]


def test_arrays_are_not_copied():
    x = np.zeros((4, 2))
    assert Arrays({"x": x}).tree["x"] is x


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({}, "data must hold an array"),
        ({"x": np.zeros(3), "y": np.zeros(2)}, r"equally many rows in every array; got \{'x': 3, 'y': 2\}"),
        ({"x": np.zeros((0, 3))}, "at least one example"),
        ({"x": 1.0}, "data 'x' must count examples along its first axis"),
        ({"x": {"deep": None}}, "data 'x.deep' must be an array of numbers"),
        (
            {"x": [[1], [1, 2]]},
            "data 'x' must be an array of rows of one shape; got 'shape .1,. in row 0, .2,. in row 1'",
        ),
    ],
)
def test_trees_that_are_no_data_are_refused(tree, says):
    with pytest.raises(DataError, match=says):
        Arrays(tree)


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
@pytest.mark.parametrize("order", [Permuted(N - 1), Weighted(np.ones(N + 1)), Stratified([0, 1])], ids=str)
def test_an_order_of_other_data_is_refused(feed, order):
    with pytest.raises(ArgumentError, match="order must be over 101 examples"):
        feed(SOURCE, order)


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
@pytest.mark.parametrize(
    ("weight", "says"),
    [
        (np.ones(N - 1), r"have shape \(101,\)"),
        (np.full(N, np.nan), "be finite"),
        (np.full(N, 1e300), "be finite"),
        (-np.ones(N), "not negative"),
        (np.zeros(N), "not all be zero"),
    ],
)
def test_weights_that_do_not_weigh_are_refused(feed, weight, says):
    with pytest.raises(ArgumentError, match=says):
        feed(SOURCE, Sequential(N), weight=weight)


@laws
@pytest.mark.parametrize("shard", [Shard(1, 1), Shard(-1, 2), Shard(0, 0)], ids=str)
def test_a_shard_that_does_not_exist_is_refused(feed, shard):
    with pytest.raises(ArgumentError, match="shard must have an index below its count"):
        feed.draw(Cursor(), BatchSpec(size=4, micro_size=4), shard)
