from __future__ import annotations

from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.policy.late_switch import LateSwitch


def test_a_late_switch_by_hand() -> None:
    assert [s.size for s in LateSwitch(64, 1024, (8,), 64).table] == [64, 1024]
    assert [s.size for s in LateSwitch(10, 1000, (8, 9, 10), 64).table] == [10, 46, 215, 1000]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LateSwitch(64, 32, (10,), 1), "last must be at least first=64"),
        (lambda: LateSwitch(64, 128, 8000, 1), "at must be positions, one behind the other; got 8000"),  # type: ignore[arg-type]
        (lambda: LateSwitch(64, 128, (), 1), "at must hold a position"),
        (lambda: LateSwitch(64, 128, (0,), 1), "at must ascend"),
    ],
)
def test_impossible_schedules_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
