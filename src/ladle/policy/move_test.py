from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.noise import NoiseScale
from ladle.policy.move import Wanted, next_size
from ladle.policy.range import BAND, Range

SIZES = Range(16, 1024, micro_size=64)


@given(
    present=st.integers(16, 1024),
    value=st.floats(0.01, 1e7),
    down=st.floats(0.01, 1),
    up=st.floats(1, 100),
    at_least=st.booleans(),
)
def test_a_move_is_bounded_justified_and_on_the_grid(
    present: int, value: float, down: float, up: float, at_least: bool
) -> None:
    wanted = Wanted(value, value * down, value * up)
    size = next_size(SIZES, present, wanted, at_least=at_least)
    assert size == present or size in SIZES.grid
    assert present / 2 <= size <= present * 2
    if size > present:
        assert wanted.low > present
        assert at_least or value > BAND * present
    if size < present:
        assert wanted.high < present
        assert value * BAND < present
        assert not at_least


@given(wanted=st.floats(20, 800), at_least=st.booleans())
def test_a_known_size_is_reached_and_kept(wanted: float, at_least: bool) -> None:
    size, seen = 16, []
    for _ in range(10):
        size = next_size(SIZES, size, Wanted(wanted, wanted, wanted), at_least=at_least)
        seen.append(size)
    assert seen[-3:] == [size] * 3
    assert seen == sorted(seen)
    assert size >= wanted if at_least else 1 / BAND <= size / wanted <= BAND


@pytest.mark.parametrize(("low", "size"), [(0.0, 64), (63, 64), (127, 64), (129, 128), (1e9, 128)])
def test_a_one_sided_bound_is_not_passed(low: float, size: int) -> None:
    for at_least in (False, True):
        assert next_size(SIZES, 64, Wanted(math.inf, low, math.inf), at_least=at_least) == size


def test_the_way_back_is_longer() -> None:
    for went, sizes in ((0, [128, 64, 32]), (1, [128, 64, 64]), (-1, [64, 64, 32])):
        values = (64 * 1.6, 64, 64 / 1.6)
        assert [next_size(SIZES, 64, Wanted(v, v, v), went=went) for v in values] == sizes
    assert next_size(SIZES, 64, Wanted(26, 26, 26), went=1) == 32
    assert next_size(SIZES, 64, Wanted(156, 156, 156), went=-1) == 128


def test_nothing_known_moves_nothing() -> None:
    assert next_size(SIZES, 64, Wanted.of(NoiseScale.unknown())) == 64
    assert next_size(SIZES, 64, Wanted(math.nan, 0.0, math.nan), at_least=True) == 64


def test_a_long_leap_goes_as_far_as_the_whole_interval() -> None:
    fast = Range(16, 4096, micro_size=64, most=100)
    assert next_size(fast, 16, Wanted(1000, 900, 1100)) == 1024
    assert next_size(fast, 16, Wanted(1000, 130, 9000)) == 128
    assert next_size(fast, 16, Wanted(1000, 20, 9000)) == 32
    assert next_size(fast, 4096, Wanted(100, 20, 500)) == 512
