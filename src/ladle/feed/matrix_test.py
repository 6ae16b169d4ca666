"""Every source in every order, through whatever makes arrays of its rows: one global batch on any number of hosts, one
sequence across any stops. What a single feed promises besides is in `laws_test.py`; here they are crossed."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ladle.core.cursor import Cursor, Shard
from ladle.core.spec import BatchSpec
from ladle.data.holdout import Without
from ladle.feed import (  # fmt: skip
    Arrays,
    Balanced,
    Blob,
    Blocks,
    Bucketed,
    ByCount,
    ByTokens,
    Chosen,
    Curriculum,
    Graph,
    HostFeed,
    Items,
    Joined,
    Mapped,
    Mixture,
    Neighbours,
    Nested,
    Packed,
    Pad,
    PadNested,
    Parquet,
    Permuted,
    PrefetchedFeed,
    Sequences,
    Sequential,
    Stack,
    Stage,
    Stratified,
    TarShards,
    Tokens,
    Weighed,
    Weighted,
    as_source,
)
from ladle.feed.source.decode import Pixels

N = 24
IDS = np.arange(N)
LENGTHS = IDS * 5 % 13 + 1
FLAT, OFFSETS = np.arange(LENGTHS.sum()), np.cumsum([0, *LENGTHS])
LENGTH = 16
GREYS = b"".join(b"P5 1 1 255 %c" % id for id in IDS)
SIZES, EVEN, SHARES = {"a": 10, "b": 14}, {"a": 1, "b": 1}, {0: {"a": 1, "b": 0}, 30: {"a": 1, "b": 2}}


@cache
def folder() -> Path:
    """Files of every kind, each of `N` examples."""
    where = Path(mkdtemp(prefix="ladle-matrix-"))
    np.save(where / "id.npy", IDS)
    np.save(where / "tokens.npy", np.arange(N + 1, dtype=np.uint16))
    for part, ids in enumerate(np.split(IDS, [9])):
        pq.write_table(pa.table({"id": ids, "y": ids % 2}), where / f"{part}.parquet", row_group_size=5)
        with tarfile.open(where / f"{part}.tar", "w") as tar:
            for id in ids:
                member = tarfile.TarInfo(f"{id:03d}.cls")
                member.size = len(text := str(id).encode())
                tar.addfile(member, io.BytesIO(text))
    return where


SOURCES: dict[str, Callable[[], Any]] = {
    "arrays": lambda: Arrays({"id": IDS}),
    "mapped": lambda: Mapped({"id": str(folder() / "id.npy")}),
    "parquet": lambda: Parquet([str(folder() / "0.parquet"), str(folder() / "1.parquet")], y="y", cache_blocks=2),
    "shards": lambda: TarShards([folder() / "0.tar", folder() / "1.tar"]),
    "tokens": lambda: Tokens(str(folder() / "tokens.npy"), length=1, stride=1),
    "blob": lambda: Blob(np.frombuffer(GREYS, np.uint8), np.arange(N + 1) * 12, Pixels("L")),
    "items": lambda: Items([{"id": id} for id in range(N)], threads=2),
    "torch": lambda: as_source(torch.utils.data.TensorDataset(torch.arange(N))),
    "joined": lambda: Joined({"a": Arrays({"id": IDS[:10]}), "b": Arrays({"id": IDS[10:]})}),
    "chosen": lambda: Chosen(Arrays({"id": np.arange(50)}), IDS * 2),
    "without": lambda: Without(Arrays({"id": np.arange(N + 2)}), np.array([3, 17])),
    "sequences": lambda: Sequences(FLAT, OFFSETS, id=IDS),
    "nested": lambda: Nested(FLAT, np.arange(N + 1), OFFSETS, id=IDS),
    "packed": lambda: Packed(Sequences(np.arange(N * 10), np.arange(N + 1) * 10), 10),
    "graph": lambda: Graph.of_edges([(u, v) for u in range(N) for v in range(u)], np.eye(N, 2), IDS),
}  # fmt: skip
COLLATES = {"sequences": Pad(), "nested": PadNested(), "packed": Weighed(), "graph": Neighbours((3, 2), seed=1)}

ORDERS: dict[str, Callable[[int], Any]] = {
    "sequential": lambda seed: Sequential(N),
    "permuted": lambda seed: Permuted(N, seed),
    "weighted": lambda seed: Weighted(IDS + 1.0, seed),
    "stratified": lambda seed: Stratified(IDS % 5 // 2, seed),
    "balanced": lambda seed: Balanced(IDS % 5 // 2, seed),
    "blocks": lambda seed: Blocks([5, 9, 1, 9], seed, mix=2),
    "mixture": lambda seed: Mixture(SIZES, {"a": 3, "b": 1}, seed=seed),
    "mixture on average": lambda seed: Mixture(SIZES, EVEN, exact=False, block=8, seed=seed),
    "mixture on schedule": lambda seed: Mixture(SIZES, schedule=SHARES, seed=seed),
    "curriculum": lambda seed: Curriculum(-IDS % 7, (Stage(20, 6), Stage(11, 15)), seed),
    "buckets": lambda seed: Bucketed(Permuted(N, seed), LENGTHS, window=10, bucket=3, seed=seed),
    "buckets of a mixture": lambda seed: Bucketed(Mixture(SIZES, EVEN, seed=seed), LENGTHS, window=10, bucket=3),
}  # fmt: skip
ONCE = {"sequential", "permuted", "stratified", "blocks", "buckets"}
HOSTS = st.sampled_from([1, 2, 3, 4, 8])


@cache
def source(name: str) -> Any:
    return SOURCES[name]()


@st.composite
def feeds(draw: st.DrawFn) -> tuple[str, str, HostFeed]:
    name, order = draw(st.sampled_from(list(SOURCES))), draw(st.sampled_from(list(ORDERS)))
    cut = draw(st.sampled_from([ByCount(), ByTokens(LENGTHS)])) if name == "sequences" else ByCount()
    made = ORDERS[order](draw(st.integers(0, 3)))
    return name, order, HostFeed(source(name), made, collate=COLLATES.get(name, Stack()), cut=cut)


@st.composite
def specs(draw: st.DrawFn) -> BatchSpec:
    return BatchSpec(draw(st.integers(1, 40)), draw(st.integers(1, 9)), length=LENGTH)


def together(feed: Any, cursor: Cursor, spec: BatchSpec, hosts: int) -> tuple[list[int], list[str], Cursor]:
    """Ids of the next batch in order of position, from all hosts; the shapes each host saw; and the cursor after."""
    rows, shapes, after = [], [], cursor
    for host in range(hosts):
        draw, after = feed.draw(cursor, spec, Shard(host, hosts))
        batches = list(draw.micro_batches(0, spec.micro_size))
        shapes.append(str([jax.tree.map(np.shape, batch.data) for batch in batches]))
        for batch in batches:
            rows += zip(batch.position[: batch.real].tolist(), batch.ids[: batch.real].tolist(), strict=True)
    rows.sort()
    assert [position for position, _ in rows] == list(range(cursor.drawn, after.drawn))
    return [id for _, id in rows], shapes, after


@given(feeds(), st.data())
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
def test_the_global_batch_and_the_sequence_are_the_same_for_any_hosts_sizes_and_stops(made, data):
    _, order, feed = made
    cursor, seen = feed.start(), []
    for _ in range(data.draw(st.integers(1, 4))):
        spec, hosts = data.draw(specs()), data.draw(HOSTS)
        ids, shapes, after = together(feed, cursor, spec, hosts)
        assert len(set(shapes)) == 1, "every host compiles the same program"
        other = BatchSpec(spec.size, data.draw(st.integers(1, 9)), length=LENGTH)
        assert together(feed, cursor, other, data.draw(HOSTS))[0] == ids, "hosts and micro-size have no say"
        seen += ids
        cursor = Cursor.from_json(json.loads(json.dumps(after.to_json())))
    assert seen == feed.order.ids(0, len(seen)).tolist()
    for first in range(0, len(seen) - N + 1, N):
        if order in ONCE:
            assert sorted(seen[first : first + N]) == list(range(N))


@given(feeds(), st.data())
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_rows_are_what_the_source_answers_for_their_ids(made, data):
    name, _, feed = made
    cursor = Cursor(data.draw(st.integers(0, 3 * N)))
    draw, _ = feed.draw(cursor, data.draw(specs()), Shard(0, data.draw(HOSTS)))
    for batch in draw.micro_batches(0, draw.spec.micro_size):
        if isinstance(feed.collate, Stack):
            jax.tree.map(np.testing.assert_array_equal, batch.data, feed.source.take(batch.ids))
        elif name in ("sequences", "nested"):
            assert batch.data["id"].tolist() == batch.ids.tolist()
        assert not batch.weight[batch.real :].any()


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("order", ["permuted", "mixture", "curriculum"])
def test_reading_ahead_changes_nothing(name, order):
    feed = HostFeed(source(name), ORDERS[order](1), collate=COLLATES.get(name, Stack()))
    ahead, cursor = PrefetchedFeed(feed, workers=2), Cursor()
    for size in (7, 7, 3, 7):
        spec = BatchSpec(size, 4, length=LENGTH)
        (plain, after), (read, _) = feed.draw(cursor, spec), ahead.draw(cursor, spec)
        for a, b in itertools.zip_longest(plain.micro_batches(0, 4), read.micro_batches(0, 4)):
            jax.tree.map(np.testing.assert_array_equal, (a.data, a.weight, a.ids), (b.data, b.weight, b.ids))
        cursor = after
    ahead.close()
