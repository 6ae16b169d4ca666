"""Every way to deal rows gives each row to one client, and nobody is left without one."""

from __future__ import annotations

import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.federated import by_class, dirichlet, even, members

Y = np.repeat(np.arange(5), [40, 10, 25, 5, 20])


@pytest.mark.parametrize(
    "parts",
    [even(100, 7, 1), by_class(Y, 10, 2, 1), dirichlet(Y, 12, 0.05, 1), dirichlet(Y, 3, 100.0)],
    ids=["even", "class", "uneven", "alike"],
)
def test_every_row_is_dealt_once(parts):
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(100))
    group = members(parts, 100)
    assert group.counts.min() > 0 and group.share.sum() == pytest.approx(1)


def test_shares_differ_as_they_are_meant_to():
    assert {len(part) for part in even(100, 7)} == {14, 15}
    assert max(len(set(Y[part])) for part in by_class(Y, 10, 1)) <= 3
    most = [max(np.bincount(Y[part]) / len(part)) for part in dirichlet(Y, 5, 0.1)]
    alike = [max(np.bincount(Y[part]) / len(part)) for part in dirichlet(Y, 5, 1000.0)]
    assert np.mean(most) > 0.55 > 0.45 > np.mean(alike)


def test_names_of_rows_are_clients():
    group = members(np.array(["bo", "al", "bo", "cy"]), 4)
    assert group.names == ("al", "bo", "cy")
    assert [rows.tolist() for rows in group.rows] == [[1], [0, 2], [3]]
    assert group.table(2).tolist() == [[1, 1], [0, 2], [3, 3]]
    assert members(group, 4).digest == group.digest != members(2, 4).digest


def test_too_few_rows_are_refused():
    with pytest.raises(ArgumentError, match="y must be at least 202 rows; got 100; because a client would be without"):
        by_class(Y, 101)
    for alpha in (0.0, "few"):
        with pytest.raises(ArgumentError, match="alpha must be above 0"):
            dirichlet(Y, 3, alpha)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="y must be at least 101 rows"):
        dirichlet(Y, 101)


@pytest.mark.parametrize("deal", [lambda: even(10, 0), lambda: by_class(Y, 0), lambda: dirichlet(Y, 0)])
def test_no_client_is_refused(deal):
    with pytest.raises(ArgumentError, match="clients must be at least 1; got 0"):
        deal()
