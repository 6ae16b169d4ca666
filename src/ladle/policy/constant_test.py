from __future__ import annotations

import pytest

from ladle.core.errors import ArgumentError
from ladle.policy.constant import Constant


def test_a_size_is_at_least_one() -> None:
    with pytest.raises(ArgumentError, match="size must be at least 1"):
        Constant(0, 1)
