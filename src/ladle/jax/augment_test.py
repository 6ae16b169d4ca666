"""Rows changed inside a compiled program are those of the host: same keys, same pixels, wherever a batch begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from ladle.core.cursor import Cursor
from ladle.core.seed import seed_words
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.augment import Augment, below, draws, staged
from ladle.feed.augment_images import RandomImages
from ladle.feed.order import Permuted, Sequential
from ladle.feed.resident import ResidentFeed
from ladle.jax.augment import why_not
from ladle.jax.mesh import layout
from ladle.jax.operands import on_device
from ladle.jax.rows import Place, Resident, gather
from ladle.jax.state import State

N = 150
BYTES = np.random.default_rng(0).integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)


class OfRows:
    """A function of one row that does with NumPy's arrays what it does with JAX's, and keeps them exact."""

    def __call__(self, row: Any, key: Any) -> Any:
        return {**row, "x": row["x"] + below(key, 1, 40)[0].astype(row["x"].dtype), "place": below(key, 2, 1000)}


STAGES = {
    "bytes": (Augment(RandomImages(pad=2), whole=True), BYTES, 0),
    "fractions": (Augment(RandomImages(pad=3), whole=True), (BYTES / 255).astype(np.float32), 0),
    "as large as they are": (Augment(RandomImages(pad=9, flip=False), whole=True), BYTES, 0),
    "nothing moved": (Augment(RandomImages(pad=0), whole=True), BYTES, 0),
    "row by row": (Augment(RandomImages(pad=2)), BYTES, 0),
    "a function of a row": (Augment(OfRows()), BYTES[:, 0, 0, 0].astype(np.int32), 0),
    "jitter of bytes": (Augment(RandomImages(pad=1, jitter=0.4), whole=True), BYTES, 1),
    "jitter of fractions": (Augment(RandomImages(pad=1, jitter=0.4), whole=True), BYTES.astype(np.float32) / 255, 1e-6),
}


@pytest.mark.parametrize(("stage", "x", "within"), STAGES.values(), ids=STAGES)
def test_pixels_are_those_of_the_host(stage: Augment, x: np.ndarray, within: float):
    seed, epoch, places = 2**40 + 5, 3, np.array([5, 149, 0, 77, 5], np.uint32)
    source, ids = Arrays({"x": x, "id": np.arange(N, dtype=np.int32)}), np.array([9, 8, 7, 6, 5])
    host = replace(stage, seed=seed)(source, ids, 3 * N + places.astype(np.int64), (), 5).data
    traced = jax.jit(lambda *of: stage.traced(*of, jax.vmap))
    found: Any = traced(source.take(ids), seed_words(seed), np.uint32(epoch), places)
    assert sorted(found) == sorted(host)
    for name, wanted in host.items():
        one = np.asarray(found[name])
        assert one.shape == wanted.shape and one.dtype == wanted.dtype
        assert np.abs(one.astype(np.float64) - wanted).max() <= within
    assert not np.array_equal(host["x"], x[ids]) or stage.function == RandomImages(pad=0)


def gathered(feed: ResidentFeed, start: int, size: int, stage: Augment | None) -> tuple[Any, Any]:
    """The first micro-batch from `start` on, as a compiled update finds it, and as the host does."""
    draw: Any = feed.draw(Cursor(start), BatchSpec(size, size))[0]
    of = on_device(draw)
    assert of is not None
    state: Any = State(params=(), opt_state=(), model_state=(), key=np.zeros(2, np.uint32), hyper={})
    resident, place = Resident(of.data, None, dict(of.order.tables())), Place(np.uint32(of.epoch), np.uint32(of.offset))
    rows = ROWS(layout(1), of.order.program, resident, state, place, np.uint32(draw.counts[0]), size, stage)
    return rows, next(iter(draw.micro_batches(0, size)))


ROWS = jax.jit(gather, static_argnums=(0, 1, 6, 7))


@pytest.mark.parametrize("size", [32, 128])
def test_any_batch_anywhere_has_the_pixels_of_the_host(size: int):
    stage = Augment(RandomImages(pad=2), whole=True)
    source = Arrays({"x": BYTES, "id": np.arange(N, dtype=np.int32)})
    feed = ResidentFeed(source, Permuted(N, 7), augment=replace(stage, seed=11))
    for start in (0, 97, N, 5 * N + 77):
        rows, host = gathered(feed, start, size, stage)
        for name in ("id", "x"):  # Rows that only fill up are there, too.
            assert np.array_equal(np.asarray(rows.data[name]), host.data[name])
        assert not np.array_equal(host.data["x"], BYTES[host.data["id"]])


def test_rows_that_no_seed_comes_with_stay_as_they_are():
    rows, _ = gathered(ResidentFeed(Arrays({"x": BYTES}), Sequential(N)), 0, 8, staged(RandomImages()))
    assert np.array_equal(np.asarray(rows.data["x"]), BYTES[:8])


def test_random_numbers_of_a_key_are_the_same_to_the_last_bit_that_there_is():
    keys = np.random.default_rng(1).integers(0, 2**32, (4000, 2), dtype=np.uint32)
    for limit in (1, 2, 9, 1000, 65536):
        whole = below(keys, 3, limit)
        assert np.array_equal(jax.jit(lambda keys, limit=limit: below(keys, 3, limit))(keys), whole)
        assert np.array_equal(whole, np.floor(draws(keys, 3) * limit)) and 0 <= whole.min() <= whole.max() < limit
    found: Any = jax.jit(lambda keys: draws(keys, 3))(keys)
    assert found.dtype == np.float32 and np.array_equal(found, np.floor(draws(keys, 3) * 2**24) / 2**24)


def test_what_cannot_be_traced_is_told():
    data = {"x": BYTES, "y": np.zeros(N, np.int64)}
    assert why_not(staged(RandomImages()), data) is None
    assert "TracerArrayConversionError" in str(why_not(staged(lambda row, key: {"x": np.sort(row["x"])}), data))
    assert why_not(Augment(lambda rows, keys: {"x": rows["x"][:1]}, whole=True), data) == (
        "two rows became an array of shape (1, 6, 5, 3)"
    )
