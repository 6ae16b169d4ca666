from __future__ import annotations

import numpy as np
import pytest

from ladle.core.running import FEWEST, smallest_group, too_few, variance_error


def test_the_error_of_a_variance_is_that_of_normal_samples() -> None:
    values = np.random.default_rng(0).normal(size=(20_000, 9))
    # The standard error of a standard deviation of 20,000 near-normal numbers is 0.5 %; their tails make it some more.
    assert np.std(values.var(axis=1, ddof=1)) == pytest.approx(variance_error(9), rel=0.03)
    assert variance_error(1) == np.inf


@pytest.mark.parametrize(("size", "micro", "norm"), [(64, 64, 0), (64, 16, 0), (50, 32, 0), (64, 64, 24), (7, 64, 16)])
def test_the_smallest_group_is_that_of_a_loop_over_the_cuts(size: int, micro: int, norm: int) -> None:
    groups = []
    for start in range(0, size, micro):
        rows = min(micro, size - start)
        groups += [min(norm or rows, rows - first) for first in range(0, rows, norm or rows)]
    assert smallest_group(size, micro, norm) == min(groups)


def test_few_rows_are_said_with_their_number() -> None:
    assert too_few(64, 64, None) == too_few(64, FEWEST, 0) == ()
    (said,) = too_few(64, 8, 0)
    assert "8 rows together (size 64, micro_size 8)" in said and "53%" in said and "sqrt(2 / 7)" in said
    (said,) = too_few(33, 32, 32)
    assert "1 row alone" in said and "ghost_size 32" in said
