from __future__ import annotations

import pytest

from ladle.core.plan import Plan
from ladle.planner.choose import choose
from ladle.planner.fakes_test import FakeProbe


def plan(probe: FakeProbe, rows: int) -> Plan:
    return choose(probe, rows=rows, optimizer="adam", reference_lr=1e-3, pilot_seconds=1e9)


@pytest.mark.parametrize("rows", [100, 5000])
def test_intervals_of_sizes_end_where_sizes_do(rows: int):
    """Times that are spread by half: alpha / beta could be anything."""
    made = plan(FakeProbe(example_seconds=1e-5, jitter=0.5), rows)
    found = [
        number for number in (made.number("knee"), made.number("target_size")) if number and number.low is not None
    ]
    assert found
    for number in found:
        assert number.low is not None and number.high is not None
        assert min(1, number.value) <= number.low <= number.value <= number.high <= max(rows, number.value)


def test_a_crooked_line_is_said():
    class Crooked(FakeProbe):
        def seconds(self, spec, repeats):
            return super().seconds(spec, repeats) * (5 if spec.size > 1000 else 1)

    assert any("no line in the size" in note for note in plan(Crooked(), 2**20).notes)
    assert not any("no line in the size" in note for note in plan(FakeProbe(), 2**20).notes)
