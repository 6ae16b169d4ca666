from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.cursor import Cursor
from ladle.core.errors import ArgumentError, ExampleError
from ladle.core.spec import BatchSpec
from ladle.data.holdout import Without, held_out
from ladle.feed import HostFeed, Permuted


class Numbers:
    """The numbers below `n`, perhaps in blocks."""

    def __init__(self, n: int, blocks: list[int] | None = None) -> None:
        self.n = n
        if blocks is not None:
            self.blocks = np.array(blocks)

    def __len__(self) -> int:
        return self.n

    def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": ids}


@given(st.integers(2, 200), st.data())
def test_what_is_held_and_what_is_left_are_the_whole(n, data):
    count = data.draw(st.integers(1, n - 1))
    held = held_out(Numbers(n), count, data.draw(st.integers(0, 5)))
    assert len(set(held.tolist())) == count
    left = Without(Numbers(n), held)
    assert sorted(left.take(np.arange(len(left)))["x"].tolist() + held.tolist()) == list(range(n))
    assert not hasattr(left, "blocks")


@given(st.lists(st.integers(1, 40), min_size=2, max_size=30), st.data())
def test_blocks_lose_what_was_held_of_them(sizes, data):
    n = sum(sizes)
    if n < 2:
        return
    count = data.draw(st.integers(1, n - 1))
    source = Numbers(n, sizes)
    held = held_out(source, count, 3)
    assert len(set(held.tolist())) == len(held) == count
    left = Without(source, held)
    assert left.blocks.sum() == len(left)
    kept = np.setdiff1d(np.arange(n), held)
    ends = np.cumsum(sizes)
    counts = np.bincount(np.searchsorted(ends, kept, side="right"), minlength=len(sizes))
    np.testing.assert_array_equal(left.blocks, counts)


def test_damaged_examples_are_named_as_the_kept_ones_are_numbered():
    class Damaged(Numbers):
        def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
            if bad := [int(id) for id in np.unique(ids) if id in (3, 30)]:
                raise ExampleError(f"{bad} are damaged", bad)
            return super().take(ids)

    left = Without(Damaged(50), np.array([0, 1, 10]))
    with pytest.raises(ExampleError) as caught:
        left.take(np.arange(len(left)))
    assert caught.value.ids == (1, 27)
    feed = HostFeed(left, Permuted(len(left)), bad="skip")
    (batch,) = feed.draw(Cursor(), BatchSpec(47, 47))[0].micro_batches(0, 47)
    assert sorted(batch.data["x"][batch.weight > 0].tolist()) == [id for id in range(50) if id not in (0, 1, 3, 10, 30)]


def test_a_run_of_blocks_reads_few_of_them():
    source = Numbers(10_000, [100] * 100)
    held = held_out(source, 400, 0)
    assert len(held) == 400
    assert len(np.unique(held // 100)) <= 8


@pytest.mark.parametrize("valid", [-1, 1.5, True, "3"])
def test_shares_that_are_none_are_refused(valid):
    with pytest.raises(ArgumentError, match="valid must be a share"):
        held_out(Numbers(10), valid, 0)


def test_training_needs_rows():
    with pytest.raises(ArgumentError, match="valid must leave some of 10 examples"):
        held_out(Numbers(10), 10, 0)
