from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ladle.core.batch import batch_ends, updates_until, window_end


def walked(start: int, size: int, epoch_size: int):
    """Ends of one batch after the other, by the definition."""
    while True:
        start = min(start + size, (start // epoch_size + 1) * epoch_size)
        yield start


@given(st.integers(0, 400), st.integers(1, 60), st.integers(1, 80), st.integers(1, 50))
def test_ends_are_those_of_cutting_one_batch_after_the_other(start, size, updates, epoch_size):
    cut = walked(start, size, epoch_size)
    slow = [next(cut) for _ in range(updates)]
    assert batch_ends(start, size, updates, epoch_size).tolist() == slow
    assert window_end(start, size, updates, epoch_size) == slow[-1]


@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 60), st.integers(1, 50))
def test_updates_until_is_the_first_batch_that_reaches_the_stop(start, ahead, size, epoch_size):
    stop, place, updates = start + ahead, start, 0
    cut = walked(start, size, epoch_size)
    while place < stop:
        place, updates = next(cut), updates + 1
    assert updates_until(start, stop, size, epoch_size) == updates


def test_numbers_beyond_32_bits_are_exact():
    terabyte = 10**12
    assert batch_ends(terabyte - 3, 2, 3, terabyte).tolist() == [terabyte - 1, terabyte, terabyte + 2]
    assert window_end(0, terabyte, 2**20, terabyte) == 2**20 * terabyte
    assert window_end(5, 2**62, 2**31 - 1, 10) == 10 * (2**31 - 1)
    assert updates_until(0, 2**20 * terabyte, 1000, terabyte) == 2**20 * 10**9
