from __future__ import annotations

from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.policy.noise_follow import NoiseFollow
from ladle.policy.range import Range

SIZES = Range(16, 2048, micro_size=256)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoiseFollow((32, 64)), "sizes must be a ladle.policy.Range; got (32, 64)"),  # type: ignore[arg-type]
        (lambda: NoiseFollow(SIZES, 0), "scale must be above 0"),
        (lambda: NoiseFollow(SIZES, coupling="cubic"), "cubic"),  # type: ignore[arg-type]
        (lambda: NoiseFollow(SIZES, coupling=3), "coupling must be a rule or have a method at(size)"),  # type: ignore[arg-type]
    ],
)
def test_impossible_policies_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
