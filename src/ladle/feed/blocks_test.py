from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.feed.arrays import Arrays
from ladle.feed.blocks import Blocks, _piece, _windows, mixed
from ladle.feed.order import BLOCK, Permuted
from ladle.feed.quality import variance_ratio

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def clear() -> None:
    _piece.cache_clear()
    _windows.cache_clear()


@given(SIZES, st.integers(0, 2**64 - 1), st.integers(1, 40), st.integers(0, 2**34))
@settings(max_examples=60)
def test_every_pass_holds_every_example_once_and_windows_hold_whole_blocks(sizes, seed, mix, epoch):
    order = Blocks(sizes, seed, mix)
    n = sum(sizes)
    ids = order.ids(epoch * n, n)
    assert sorted(ids.tolist()) == list(range(n))
    block = np.repeat(np.arange(len(sizes)), sizes)[ids]
    seen: list[int] = []
    while len(seen) < len(sizes):  # The next `mix` blocks come together, all their rows before any other block's.
        own = list(dict.fromkeys(block.tolist()))
        window = sum(sizes[b] for b in _windows(order, epoch % 2**32)[0][len(seen) : len(seen) + order.mix])
        assert set(block[:window]).isdisjoint(block[window:])
        seen += [b for b in own if b in set(block[:window].tolist())]
        block = block[window:]


@given(SIZES, st.integers(1, 9), st.data())
@settings(max_examples=60)
def test_any_stretch_is_that_part_of_the_whole_and_nothing_is_remembered(sizes, mix, data):
    order, n = Blocks(sizes, 7, mix), sum(sizes)
    whole = order.ids(0, 3 * n)
    start = data.draw(st.integers(0, 3 * n))
    count = data.draw(st.integers(0, 3 * n - start))
    clear()
    assert order.ids(start, count).tolist() == whole[start : start + count].tolist()


def test_windows_longer_than_a_piece():
    order = Blocks([BLOCK + 5, 3, 2 * BLOCK], 1, 3)
    ids = order.ids(0, order.epoch_size)
    assert np.array_equal(np.sort(ids), np.arange(order.epoch_size))
    assert order.ids(BLOCK - 2, 5).tolist() == ids[BLOCK - 2 : BLOCK + 3].tolist()


def test_passes_seeds_and_windows_share_no_order():
    sizes = [50] * 40
    first = Blocks(sizes, 0, 1)
    n = first.epoch_size
    a, b, c = first.ids(0, n), first.ids(n, n), Blocks(sizes, 1, 1).ids(0, n)
    for one, two in ((a, b), (a, c), (b, c), (a, Permuted(n, 0).ids(0, n))):
        assert np.mean(one == two) < 0.01
    within = {tuple(window % 50) for window in a.reshape(40, 50)}
    assert len(within) == 40


def test_copies_and_threads_agree():
    order = Blocks([17, 30, 5], 3, 2)
    copy = pickle.loads(pickle.dumps(order))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: copy.ids(start, 13), range(0, 104, 13)))
    assert np.concatenate(parts).tolist() == order.ids(0, 104).tolist()


@pytest.mark.parametrize(
    ("batch", "mix", "rows", "passes"), [(32, 8, 64, 30), (256, 16, 64, 40), (128, 1, 128, 3), (512, 4, 64, 30)]
)
def test_quality_is_what_simulation_says(batch, mix, rows, passes):
    """Two classes in whole blocks, 128 blocks: variance of a batch's share over that of a true shuffle."""
    blocks = 128
    order, n = Blocks([rows] * blocks, 11, mix), blocks * rows
    label = np.repeat(np.arange(blocks) % 2, rows)
    simulated = variance_ratio(order.ids(0, passes * n).reshape(passes, n), label, batch)
    assert order.quality(batch) == pytest.approx(simulated, rel=0.15)


def test_quality_of_a_true_shuffle_is_one():
    assert Blocks([5, 6], mix=2).quality(3) == 1
    assert Blocks([5] * 4, mix=1).quality(10**6) == 1
    assert "10 blocks, 5 mixed (about 500 rows)" in Blocks([100] * 10, mix=5).describe(32)


class Grouped:
    blocks = np.array([4, 4, 2])

    def __len__(self) -> int:
        return 10

    def take(self, ids: np.ndarray) -> Any:
        return ids


def test_of_a_source():
    order = Blocks.of(Grouped(), seed=3)
    assert (order.epoch_size, order.mix, order.seed) == (10, 3, 3)
    assert Blocks.of(Grouped(), mix=2).mix == 2
    assert mixed([65536] * 100) == 8
    with pytest.raises(ArgumentError, match="source must have blocks; got 'Arrays'"):
        Blocks.of(Arrays(np.arange(3)))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([], "an array of shape (0,)"),
        ([3, 0], "a block of 0"),
        ([1.5], "type float64"),
        ([[1]], "shape (1, 1)"),
        ([2, -1], "a block of -1"),
    ],
)
def test_bad_sizes(sizes, message):
    with pytest.raises(ArgumentError) as caught:
        Blocks(sizes)
    assert message in str(caught.value)
    assert "sizes must be one whole number >= 1 per block" in str(caught.value)


def test_bad_mix_seed_and_batch():
    with pytest.raises(ArgumentError, match="mix must be at least 1"):
        Blocks([1], mix=0)
    with pytest.raises(ArgumentError, match="seed must be"):
        Blocks([1], seed=-1)
    with pytest.raises(ArgumentError, match="batch must be at least 1"):
        Blocks([1]).quality(0)
