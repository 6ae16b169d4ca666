from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.scaling.devices import (
    Compute,
    Entry,
    Link,
    best_size,
    fit_growing,
    fit_link,
    knee,
    nonnegative,
    relative_time,
    require_divides,
    require_share,
    update_seconds,
    updates,
)

delays = st.floats(0, 1e-2)
rates = st.floats(1e-12, 1e-6)
counts = st.integers(1, 512)
noises = st.floats(0, 1e6)


@given(delay=delays, each=rates, size=st.floats(0, 1e10), devices=counts)
def test_an_all_reduce_is_a_ring_walked_step_by_step(delay: float, each: float, size: float, devices: int):
    """n - 1 steps that add and n - 1 that hand on, each of a part of the bytes: the slow reference."""
    walked = sum(delay + size / devices * each for _ in range(devices - 1)) * 2
    assert Link(delay, each).seconds(size, devices) == pytest.approx(walked, rel=1e-9)


@given(delay=delays, each=rates, size=st.floats(1, 1e10), devices=counts)
def test_an_all_reduce_grows_with_devices_and_bytes_and_one_device_sums_nothing(delay, each, size, devices):
    link = Link(delay, each)
    assert link.seconds(size, 1) == 0
    assert link.seconds(size, devices + 1) > link.seconds(size, devices)
    assert devices == 1 or link.seconds(2 * size, devices) > link.seconds(size, devices)
    assert Link(0, each).seconds(size, devices) < 2 * size * each


@pytest.mark.parametrize(
    ("text", "delay", "rate"),
    [
        ("25GB/s,5us", 5e-6, 25e9),
        ("50 Gbit/s, 1 ms", 1e-3, 6.25e9),
        ("1GiB/s", 0.0, 2**30),
        ("100MBps,0.5s", 0.5, 1e8),
        ("1e9B/s", 0.0, 1e9),
        ("10 gbit/s,20NS", 2e-8, 1.25e9),
    ],
)
def test_a_link_is_read_as_people_write_it(text: str, delay: float, rate: float):
    link = Link.from_text(text)
    assert link.latency_seconds == pytest.approx(delay) and 1 / link.byte_seconds == pytest.approx(rate)
    assert Link.from_text(link) is link


@pytest.mark.parametrize(
    "text", ["", "fast", "25GB", "0GB/s", "-1GB/s", "25GB/s,5", "25GB/s,5us,1", "1.2.3GB/s", "5us"]
)
def test_what_is_no_link_is_refused(text: str):
    with pytest.raises(ArgumentError, match=r"link must be a bandwidth and a delay; .*try link='25GB/s,5us'"):
        Link.from_text(text)


@given(delay=st.floats(1e-7, 1e-2), each=st.floats(1e-11, 1e-7), many=st.integers(2, 64))
def test_a_line_through_exact_sums_is_the_link_that_made_them(delay: float, each: float, many: int):
    true = Link(delay, each)
    points = [(size, n, true.seconds(size, n)) for n in (2, many) for size in (1e3, 1e6, 1e8)]
    found = fit_link(points)
    for size in (1e3, 1e5, 1e8):
        assert found.seconds(size, 7) == pytest.approx(true.seconds(size, 7), rel=1e-5)


def test_no_part_of_a_fitted_link_is_below_zero():
    falling = fit_link([(1e3, 2, 1e-3), (1e6, 2, 0.5e-3)])
    assert falling.byte_seconds == 0 and falling.latency_seconds > 0
    steep = fit_link([(1e3, 2, 1e-9), (1e6, 2, 1e-3)])
    assert steep.latency_seconds == 0 and steep.byte_seconds > 0


@pytest.mark.parametrize(
    "points", [[], [(1e3, 2, 1.0)], [(1e3, 1, 1.0), (1e6, 1, 1.0)], [(1e3, 2, 1.0), (1e6, 2, 0.0)]]
)
def test_too_few_sums_for_a_line_are_refused(points):
    with pytest.raises(ArgumentError, match="points must be measured sums of two sizes"):
        fit_link(points)


@pytest.mark.parametrize("seed", range(8))
def test_least_squares_without_negative_parts_is_the_best_of_a_fine_grid(seed: int):
    rng = np.random.default_rng(seed)
    columns, values = rng.uniform(0, 1, (5, 2)), rng.normal(0.5, 1, 5)
    found = np.array(nonnegative(columns, values))
    grid = np.stack(np.meshgrid(np.linspace(0, 3, 61), np.linspace(0, 3, 61))).reshape(2, -1)
    best = float(((values[:, None] - columns @ grid) ** 2).sum(axis=0).min())
    assert (found >= 0).all() and float(((values - columns @ found) ** 2).sum()) <= best + 1e-9


def line(alpha: float = 0.02, beta: float = 1e-4) -> Callable[[float], float]:
    return lambda rows: alpha + beta * rows


def test_a_share_that_is_cut_pays_for_each_micro_batch_and_each_sum():
    compute, link = Compute(line(), 100, own=0.01), Link(1e-3, 0.0)
    assert compute.seconds(100) == pytest.approx(0.03)
    assert compute.seconds(250) == pytest.approx(0.01 + 3 * 0.02)
    own, shared = update_seconds(compute, link, 1e6, 1000, 4)
    assert own == pytest.approx(0.07) and shared == pytest.approx(3 * 6e-3)


@given(devices=counts, size=st.integers(1, 1 << 20), delay=delays)
def test_seconds_on_one_device_are_those_of_its_compute_alone(devices: int, size: int, delay: float):
    compute, link = Compute(line(), 1 << 20), Link(delay, 1e-9)
    assert update_seconds(compute, link, 1e6, size, 1) == (compute.seconds(size), 0.0)
    own, shared = update_seconds(compute, link, 1e6, size, devices)
    assert own <= compute.seconds(size) and shared == link.seconds(1e6, devices)


@given(
    devices=st.sampled_from([1, 2, 3, 4, 7, 8, 16, 64]),
    noise=st.floats(1, 1e5),
    alpha=st.floats(1e-4, 1.0),
    beta=st.floats(1e-6, 1e-2),
    shared=st.floats(0, 1.0),
)
def test_the_best_batch_is_next_to_the_closed_form(devices, noise, alpha, beta, shared):
    """B* = sqrt(noise n (alpha + c) / beta), between the powers of two around it; every batch divides."""
    rows = 1 << 22
    size = best_size(lambda size: alpha + shared + beta * size / devices, devices, noise=noise, rows=rows)
    ideal = math.sqrt(noise * devices * (alpha + shared) / beta)
    assert size % devices == 0 and devices <= size <= rows
    assert size / 2 <= max(ideal, devices) <= 2 * size or size >= rows // devices * devices // 2


@given(noise=noises, alpha=st.floats(1e-4, 1.0), beta=st.floats(1e-6, 1e-2), power=st.integers(3, 14))
def test_more_devices_without_a_sum_never_take_longer(noise: float, alpha: float, beta: float, power: int):
    compute, free, rows = Compute(line(alpha, beta), 1 << 14), Link(0.0, 0.0), 1 << power

    def time(devices: int) -> float:
        def seconds(size: int) -> float:
            return sum(update_seconds(compute, free, 1e6, size, devices))

        size = best_size(seconds, devices, noise=noise, rows=rows)
        return updates(size, noise) * seconds(size)

    times = [time(devices) for devices in (1, 2, 4, 8)]
    assert all(more <= now * (1 + 1e-9) for now, more in pairwise(times))


@given(size=st.integers(1, 10**6), seconds=st.floats(1e-6, 10), noise=noises)
def test_one_device_takes_its_own_time(size: int, seconds: float, noise: float):
    assert relative_time(size, seconds, base_size=size, base_seconds=seconds, noise=noise) == pytest.approx(1)
    assert relative_time(2 * size, seconds, base_size=size, base_seconds=seconds, noise=noise) <= 1 + 1e-12


def entry(devices: int, time: float) -> Entry:
    return Entry(devices, 64 * devices, time, time, 0.0, "predicted", time)


def test_cost_and_efficiency_are_two_sides_of_one_number():
    four = entry(4, 0.4)
    assert four.cost == pytest.approx(1.6) and four.efficiency == pytest.approx(0.625) and four.share == 64


@given(fixed=st.floats(1e-3, 10))
def test_the_knee_of_amdahls_law_is_its_closed_form(fixed: float):
    """T(n) = (f + 1/n) / (f + 1): the added speed of a device falls as 1 / (f n + 1)^2."""
    entries = [entry(n, (fixed + 1 / n) / (fixed + 1)) for n in range(1, 200)]
    gains = {n: (fixed + 1) / (fixed * (n + 1) + 1) * 1 / (fixed * n + 1) for n in range(1, 199)}
    first = next((n for n, gain in gains.items() if gain < 0.5), None)
    assert knee(entries) == first


def test_a_knee_is_told_only_where_it_is_in_the_table():
    assert knee([entry(1, 1.0)]) is None
    assert knee([entry(n, 1 / n) for n in (1, 2, 4, 8)]) is None
    assert knee([entry(4, 0.6), entry(1, 1.0), entry(2, 0.55)]) == 2, "a time that grows pays for nothing"


@pytest.mark.parametrize(("devices", "size"), [(3, 64), (5, 256), (2, 7)])
def test_a_batch_that_does_not_divide_is_refused(devices: int, size: int):
    with pytest.raises(ArgumentError, match=f"devices must divide the batch size {size}; got {devices}; because every"):
        require_divides(devices, size)


@pytest.mark.parametrize("devices", [0, -2, 1.5, True, 11])
def test_devices_are_a_number_of_at_most_the_rows(devices):
    with pytest.raises(ArgumentError, match="devices must be"):
        require_share(devices, 10)


@given(own=st.floats(1e-3, 1), each=st.floats(1e-4, 1), delay=st.floats(1e-5, 1e-2))
def test_times_of_a_growing_batch_tell_their_parts(own: float, each: float, delay: float):
    link = Link(delay, each)
    points = [(n, rows, rows * own + link.seconds(1.0, n)) for n, rows in ((1, 8), (2, 8), (4, 6), (16, 5))]
    found, fitted = fit_growing(points, latency=True)
    for n in (1, 8, 64):
        assert 8 * found + fitted.seconds(1.0, n) == pytest.approx(8 * own + link.seconds(1.0, n), rel=1e-4)
    with pytest.raises(ArgumentError, match="points must be times at enough numbers of devices"):
        fit_growing(points[:2], latency=True)
