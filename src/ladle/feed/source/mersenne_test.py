"""NumPy's shared generator, kept and put back: what is drawn afterwards is what would have been."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ladle.feed.source import mersenne


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    generator, state = np.random.get_bit_generator(), np.random.get_state(legacy=False)
    yield
    np.random.set_bit_generator(generator)  # type: ignore[arg-type]
    np.random.set_state(state)  # type: ignore[arg-type]


@pytest.mark.parametrize("before", [0, 1, 2, 3, 623, 624, 625, 1248])
@pytest.mark.parametrize("normals", [0, 1, 2], ids="{} normal numbers".format)
@pytest.mark.parametrize("known", [True, False], ids=["memory", "get_state"])
def test_what_is_drawn_goes_on(before: int, normals: int, known: bool, monkeypatch: pytest.MonkeyPatch):
    if not known:
        monkeypatch.setattr(mersenne, "_found", lambda generator: 0)
    np.random.seed(before)
    np.random.random(before)
    np.random.normal(size=normals)
    wanted = np.random.get_state(legacy=False)
    for spoil in (lambda: np.random.seed(7), lambda: np.random.normal(size=3), lambda: np.random.rand(700), int):
        state = mersenne.get()
        assert mersenne.same(state, mersenne.get())
        spoil()
        assert mersenne.same(state, mersenne.get()) == (spoil is int)
        mersenne.put(state)
        assert mersenne.same(state, mersenne.get())
    got: Any = np.random.get_state(legacy=False)
    np.testing.assert_equal(got, wanted)


def test_the_same_words_with_and_without_half_of_a_pair_are_told_apart():
    np.random.seed(0)
    np.random.normal(size=1)
    half = mersenne.get()
    np.random.normal(size=1)
    whole = mersenne.get()
    assert not mersenne.same(half, whole)
    mersenne.put(half)
    state, second = mersenne.get(), np.random.normal()
    mersenne.put(whole)
    third = np.random.normal()
    mersenne.put(state)
    assert (np.random.normal(), np.random.normal()) == (second, third)


def test_memory_is_known_here():
    np.random.set_bit_generator(np.random.MT19937(5))
    np.random.normal(size=1)
    state = mersenne.get()
    assert state.raw is not None
    np.testing.assert_equal(mersenne._told(state.raw), np.random.get_state(legacy=False))


def test_another_generator_is_asked_the_long_way():
    np.random.set_bit_generator(np.random.PCG64(3))
    state = mersenne.get()
    first = np.random.normal(size=3)
    assert state.raw is None and not mersenne.same(state, mersenne.get())
    mersenne.put(state)
    assert np.array_equal(np.random.normal(size=3), first)


def test_a_swapped_generator_is_noticed():
    mersenne.get()
    np.random.set_bit_generator(np.random.MT19937(5))
    state = mersenne.get()
    first = np.random.random(3)
    mersenne.put(state)
    assert np.array_equal(np.random.random(3), first)
