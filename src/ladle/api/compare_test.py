from __future__ import annotations

import pytest

from ladle.api.compare import _speed, _unique
from ladle.core.errors import ArgumentError


def test_the_speed_of_several_seeds_is_a_ratio_of_sums():
    """1,000 examples in 1 and in 3 seconds: 2,000 in 4, not the mean of 1,000 and 333 a second."""
    assert _speed([{"examples": 1000.0, "seconds": 1.0}, {"examples": 1000.0, "seconds": 3.0}]) == 500
    assert _speed([{"examples": 0.0, "seconds": 0.0}]) is None


def test_a_bad_size_is_refused_by_the_name_of_the_option():
    with pytest.raises(ArgumentError, match=r"sizes must be a whole number or 'full'; got 'x'.* try --sizes 64"):
        _unique(["64", "x"], 100)
