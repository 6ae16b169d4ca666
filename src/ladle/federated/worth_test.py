"""The worth of a round of some clients at the ends of its range."""

from __future__ import annotations

import math

import pytest

from ladle.core.errors import ArgumentError
from ladle.federated.worth import worth


def test_all_clients_are_worth_all_whatever_the_noise_and_an_unknown_noise_tells_nothing():
    assert worth(math.inf, 7, 7) == worth(math.nan, 7, 7) == 1.0
    assert worth(math.inf, 3, 7) == 0.0 and math.isnan(worth(math.nan, 3, 7))
    assert worth(0.0, 1, 7) == 1.0


def test_it_is_the_variance_of_a_mean_without_replacement():
    """Progress over the square of the mean update: 1 / (1 + tr / |mean|^2 (1/m - 1/K)), of six clients drawn two."""
    assert worth(3.0, 2, 6) == pytest.approx(1 / (1 + 3 * (1 / 2 - 1 / 6)))


@pytest.mark.parametrize("asked", [0, 8])
def test_more_clients_than_there_are_or_none_are_refused(asked: int):
    with pytest.raises(ArgumentError, match="asked must lie between 1 and 7"):
        worth(1.0, asked, 7)
