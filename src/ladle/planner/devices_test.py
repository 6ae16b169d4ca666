from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.noise import NoiseScale
from ladle.core.plan import Plan
from ladle.core.record import plain
from ladle.core.scaling.devices import Link
from ladle.planner.choose import choose
from ladle.planner.devices import (
    MeasuredLink,
    compute_of,
    forecast_devices,
    measure_link,
    require_devices,
    with_devices,
    with_measured,
)
from ladle.planner.fakes_test import FakeProbe

ROWS = 2**20
GIVEN = MeasuredLink(Link(1e-5, 1e-9), "given", "given")


@dataclass
class FakeReducer:
    """Sums by a link."""

    link: Link
    devices: int = 4
    asked: list[tuple[int, int]] = field(default_factory=list)

    def seconds(self, size_bytes: int, devices: int, repeats: int) -> float:
        self.asked.append((size_bytes, devices))
        return self.link.seconds(size_bytes, devices)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return choose(FakeProbe(), rows=ROWS, pilot_seconds=1e9)


@pytest.fixture(scope="module")
def cut() -> Plan:
    """Micro-batches of 8 alone fit, and an update has a cost of its own: batches of several."""
    return choose(FakeProbe(fixed_bytes=0, example_bytes=1000, limit=9000), rows=ROWS, pilot_seconds=1e9)


def test_one_device_is_the_plan(plan: Plan, cut: Plan):
    for made in (plan, cut):
        (one,) = forecast_devices(made, [1], GIVEN.link, 10**6, rows=ROWS)
        speed = made.number("examples_per_second")
        assert speed is not None and one.seconds == pytest.approx(made.size / speed.value)
        assert (one.devices, one.size, one.time, one.efficiency, one.source) == (1, made.size, 1.0, 1.0, "predicted")
        assert one.allreduce_seconds == 0


def test_a_batch_that_is_cut_keeps_what_an_update_costs_of_its_own(cut: Plan):
    """The probe takes 0.02 s an update and 1e-4 s an example, whatever it is cut into."""
    compute = compute_of(cut)
    assert cut.micro_size == compute.largest == 8 and cut.first.micro_steps > 4
    assert compute.own == pytest.approx(0.02, rel=1e-3)
    assert compute.seconds(80) == pytest.approx(0.02 + 80e-4, rel=1e-3)


def test_batches_grow_with_the_devices_and_the_sums_are_paid(plan: Plan):
    entries = forecast_devices(plan, [1, 2, 4, 8, 16], GIVEN.link, 10**6, rows=ROWS)
    assert all(more.size >= now.size for now, more in pairwise(entries))
    assert [one.size % one.devices for one in entries] == [0] * 5
    for one in entries:
        assert one.allreduce_seconds == pytest.approx(GIVEN.link.seconds(10**6, one.devices))
        assert one.compute_seconds == pytest.approx(0.02 + 1e-4 * one.share, rel=1e-3)
        assert one.seconds == one.predicted_seconds
    slow = forecast_devices(plan, [16], Link(0.0, 1e-6), 10**6, rows=ROWS)[-1]
    assert slow.time > 1 > entries[-1].time, "sums of 1.9 s make sixteen devices slower than one"


def test_a_batch_that_is_given_is_kept(plan: Plan):
    entries = forecast_devices(plan, [2, 4], GIVEN.link, 10**6, rows=ROWS, size=256)
    assert [one.size for one in entries] == [256, 256, 256]
    assert entries[2].time == pytest.approx(entries[2].seconds / entries[0].seconds), "as many updates"


def test_without_a_noise_scale_the_batch_is_kept_to_the_next_multiple(plan: Plan):
    blind = replace(plan, noise=NoiseScale.unknown())
    entries = forecast_devices(blind, [3, 4], GIVEN.link, 10**6, rows=ROWS)
    assert [one.size for one in entries] == [blind.size, 3 * round(blind.size / 3), blind.size]
    noted = with_devices(blind, entries, GIVEN, 10**6)
    assert "noise is not resolved" in noted.notes[-2]


def test_times_that_lie_on_no_line_are_read_between_those_that_were_measured(plan: Plan):
    points = [[1, 0.01, 0.01, 0.01], [256, 0.02, 0.02, 0.02], [8192, 9.0, 9.0, 9.0]]
    crooked = replace(plan, bound="unresolved speed", curves={**plan.curves, "throughput": points})
    assert compute_of(crooked).seconds(256) == pytest.approx(0.02)
    assert compute_of(replace(crooked, bound="optimum")).seconds(256) == pytest.approx(0.02 + 256e-4, rel=1e-3)


def test_a_plan_without_a_line_is_refused(plan: Plan):
    with pytest.raises(ArgumentError, match="plan must have a throughput line"):
        forecast_devices(replace(plan, evidence=()), [2], GIVEN.link, 1000, rows=ROWS)


def test_measured_updates_are_compared_with_a_measured_one(plan: Plan):
    entries = forecast_devices(plan, [2, 4], GIVEN.link, 10**6, rows=ROWS, size=512)
    seen = with_measured(plan, entries, {1: 1.0, 2: 0.75})
    assert [one.source for one in seen] == ["measured", "measured", "predicted"]
    assert [one.time for one in seen] == pytest.approx([1.0, 0.75, entries[2].time])
    assert seen[1].predicted_seconds == entries[1].seconds, "what was predicted of it stays"
    assert with_measured(plan, entries, {2: 0.75}) == entries, "with nothing to compare it with"


def test_the_link_is_the_line_through_the_least_sums():
    true = Link(2e-5, 3e-10)
    reducer = FakeReducer(true)
    found = measure_link(reducer, 10**6)
    assert found.source == "measured" and found.link.latency_seconds == pytest.approx(2e-5, rel=1e-6)
    assert found.link.byte_seconds == pytest.approx(3e-10, rel=1e-6)
    assert {devices for _, devices in reducer.asked} == {2, 4}
    assert found.method == "line through sums of 1,024 and 8,000,000 bytes over 2 and 4 devices"
    assert len(FakeReducer(true, 2).asked) == 0 and measure_link(FakeReducer(true, 2), 1).method.endswith(
        "over 2 devices"
    )


def test_a_plan_keeps_its_devices_and_says_them(plan: Plan):
    entries = forecast_devices(plan, [1, 2, 64], Link(1e-3, 1e-9), 10**6, rows=ROWS)
    made = with_devices(plan, entries, GIVEN, 10**6)
    assert made.devices == entries and Plan.from_json(plain(made.to_json())).devices == entries
    assert plan.devices == () and "device-seconds" not in plan.explain()
    told = made.explain().splitlines()
    link = "2 (n - 1) steps of 10 us + 1/n of the bytes at 1 GB/s (given)."
    assert f"A sum of the gradient (1 MB) over n devices takes {link}" in told
    rows = [line.split() for line in told if line.strip().startswith(("1 ", "2 ", "64 "))]
    assert [row[0] for row in rows] == ["1", "2", "64"] and rows[0][-2:] == ["100%", "predicted"]
    assert told[-1].startswith(
        "Knee: 1 device, after which one more device no longer brings 50% of what the first does"
    )
    assert made.number("devices_knee") is not None and made.number("gradient_bytes") is not None
    assert "are a forecast" in made.notes[-1]


def test_a_plan_without_a_knee_says_so(plan: Plan):
    entries = forecast_devices(plan, [1, 2], Link(0.0, 0.0), 1000, rows=ROWS, size=8192)
    made = with_devices(plan, entries, None, 1000)
    assert made.number("devices_knee") is None and made.number("allreduce_byte_seconds") is None
    assert made.explain().endswith("up to 2, every device brings at least 50% of what the first does.")
    alone = with_devices(plan, entries[:1], None, 1000)
    assert alone.explain().endswith("Knee: none among these numbers; one is one.") and alone.notes == plan.notes


@pytest.mark.parametrize(
    ("devices", "size", "said"),
    [
        ([], None, "devices must be a list of numbers"),
        ("1,2", None, "devices must be a list of numbers"),
        (4, None, "devices must be a list of numbers"),
        ([1, 0], None, "devices must be at least 1"),
        ([1, 2.5], None, "devices must be a whole number"),
        ([2, 101], None, "devices must be at most the 100 rows; got 101"),
        ([1, 2, 3], 64, "devices must divide the batch size 64; got 3; because every device gets as many rows"),
        ([1, 2], 128, "size must be at most the 100 rows; got 128"),
        ([1], 0, "size must be at least 1"),
    ],
)
def test_what_cannot_be_answered_is_refused(devices, size, said: str):
    with pytest.raises(ArgumentError, match=said):
        require_devices(devices, 100, size)
