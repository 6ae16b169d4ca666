"""Numbers of a window cross as one array and are read by name."""

from __future__ import annotations

import jax
import numpy as np

from ladle.core.decision import Clock
from ladle.core.spec import BatchSpec
from ladle.feed.order import Permuted
from ladle.jax.operands import Pace, Rung, Window

WINDOW = Window.of(epoch=1, offset=2, size=3, updates=4, every=5)


def named(window: Window) -> list[int]:
    return [int(number) for number in (*window.place, window.size, window.updates, window.every)]


def test_a_window_is_read_by_name_as_it_was_written():
    assert len(jax.tree.leaves(WINDOW)) == 1
    assert named(WINDOW) == named(WINDOW.apart()) == named(jax.jit(Window.apart)(WINDOW)) == [1, 2, 3, 4, 5]


def test_a_pace_tells_the_time_of_its_clock():
    pace = Pace.of(0.5, Clock(1000.0, 0.25))
    assert len(jax.tree.leaves(pace)) == 1
    assert (float(pace.lr_factor), float(pace.time(np.float32(400)))) == (0.5, Clock(1000.0, 0.25).at(400))


def test_a_rung_is_that_of_every_size_with_its_micro_batch():
    one, other, whole = (Rung.of(BatchSpec(size, 8), Permuted(37, seed=size).program) for size in (9, 30, 8))
    assert one == other != whole and hash(one) == hash(other)
    assert whole.epoch_size == 37
