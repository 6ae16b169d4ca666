"""Shared memory: what crosses is what was written, for as long as anyone looks at it; what does not fit travels."""

from __future__ import annotations

import gc
import os
from typing import Any

import numpy as np
import pytest

from ladle.feed.loader import Loader
from ladle.feed.slabs import LEAST, MOST, Lent, Written
from ladle.feed.workers import Processes
from ladle.feed.workers_test import alone

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no shared memory without a name here")


def crossed(written: Written, lent: Lent, *arrays: np.ndarray) -> tuple[int | None, list[Any]]:
    """Arrays that went through a slab, in one process."""
    raws = [memoryview(array).cast("B") for array in arrays]
    written.free(lent.gone())
    number, file = written.write(raws)
    if number is None:
        return None, []
    if file >= 0:
        lent.take(number, file)
    views = lent.read(number, [len(raw) for raw in raws])
    return number, [np.frombuffer(view, array.dtype) for view, array in zip(views, arrays, strict=True)]


def test_what_is_looked_at_is_not_written_over():
    written, lent = Written(), Lent()
    sent = [np.full(LEAST, number, np.int64) for number in range(MOST)]
    kept = [crossed(written, lent, array, array[:5]) for array in sent]
    assert [number for number, _ in kept] == list(range(MOST))
    for (_, arrays), array in zip(kept, sent, strict=True):
        assert np.array_equal(arrays[0], array) and np.array_equal(arrays[1], array[:5])
        assert arrays[0].flags.writeable and arrays[0].ctypes.data % 64 == 0 == arrays[1].ctypes.data % 64
    assert crossed(written, lent, sent[0])[0] is None  # All are looked at: it travels.
    del kept[2]
    del arrays
    assert crossed(written, lent, sent[0])[0] == 2


def test_a_larger_answer_takes_the_place_of_a_smaller_one():
    written, lent = Written(), Lent()
    for count in (1, 2, 4, 8, 16, 32, 3, 1):
        array = np.arange(count * LEAST)
        number, (got,) = crossed(written, lent, array)
        assert number is not None and number < MOST and np.array_equal(got, array)
    assert crossed(written, lent, np.arange(3))[0] is None


def test_no_file_stays_open_for_a_slab_that_is_gone():
    before = len(os.listdir("/proc/self/fd"))
    written, lent = Written(), Lent()
    kept = [crossed(written, lent, np.arange(LEAST)) for _ in range(MOST)]
    del kept, written, lent
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def large(number: int) -> dict[str, Any]:
    if number == 3:
        raise ValueError("three")
    return {"x": np.full((number + 1) * LEAST, number), "empty": np.zeros((0, 3)), "text": str(number)}


def batches_are_kept() -> None:
    processes = Processes(large, 1)
    kept = [processes(number) for number in (0, 1, 2, 4, 5, 6, 7, 0)]
    for answer, number in zip(kept, (0, 1, 2, 4, 5, 6, 7, 0), strict=True):
        assert answer["text"] == str(number) and (answer["x"] == number).all() and answer["empty"].shape == (0, 3)
    kept[0]["x"][:] = -1
    try:
        processes(3)
    except ValueError as error:
        assert str(error) == "three"
    del kept
    assert (processes(8)["x"] == 8).all()
    processes.close()


def a_pass_is_that_of_one_process() -> None:
    data = [{"x": np.full(3000, number, np.float32), "y": number} for number in range(70)]
    one = list(Loader(data, 8))
    two = list(Loader(data, 8, num_workers=2))
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(one, two, strict=True) for name in "xy")


def test_batches_that_are_kept_stay_as_they_were():
    alone("ladle.feed.slabs_test", "batches_are_kept")


def test_a_pass_in_processes_is_that_of_one():
    alone("ladle.feed.slabs_test", "a_pass_is_that_of_one_process")
