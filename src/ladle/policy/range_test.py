from __future__ import annotations

from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.policy.range import Range


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"smallest": 0}, "smallest must be at least 1"),
        ({"largest": 8}, "largest must be at least smallest=16; got 8"),
        ({"micro_size": 0}, "micro_size must be at least 1"),
        ({"first": 2000}, "first must lie in 16 to 1024; got 2000"),
        ({"most": 1.5}, "most must lie in 2 to"),
        ({"band": 0.5}, "band must lie in 1 to 100"),
        ({"half_life": 0}, "half_life must lie in 1 to"),
        ({"every": -1}, "every must lie in 0 to"),
    ],
)
def test_contradictions_are_one_line(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Range(**{"smallest": 16, "largest": 1024, "micro_size": 64, **how})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
