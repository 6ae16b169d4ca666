"""Who comes to a round: the same for the same seed, in the shares that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from ladle.core.errors import ArgumentError, RunError
from ladle.federated import Absence, Attendance

UPDATES = np.arange(1, 41)


def test_a_round_asks_as_many_as_it_says_each_as_often():
    attendance = Attendance(UPDATES, 10, seed=3)
    rounds = [attendance.at(number) for number in range(400)]
    assert all(len(one.clients) == 10 and len(set(one.clients.tolist())) == 10 for one in rounds)
    times = np.bincount(np.concatenate([one.clients for one in rounds]), minlength=40)
    assert abs(times - 100).max() < 40  # 4.6 standard errors of 8.7.
    again = Attendance(UPDATES, 10, seed=3).at(17).clients
    np.testing.assert_array_equal(again, rounds[17].clients)
    assert not np.array_equal(Attendance(UPDATES, 10, seed=4).at(17).clients, again)


def test_by_chance_numbers_of_clients_vary():
    attendance = Attendance(UPDATES, 10, seed=3, way="poisson")
    counts = [len(attendance.at(number).clients) for number in range(400)]
    assert abs(np.mean(counts) - 10) < 0.6 and 2 < np.std(counts) < 3.5


def test_shares_of_those_who_leave():
    attendance = Attendance(np.full(40, 100), 40, 0, absence=Absence(drop=0.25, early=0.5, least=0.5))
    rounds = [attendance.at(number) for number in range(100)]
    assert abs(np.mean([one.there for one in rounds]) - 0.75) < 0.03
    limits = np.concatenate([one.limit for one in rounds])
    assert abs(np.mean(limits < 100) - 0.5) < 0.04 and limits.min() >= 50


def test_a_client_is_drawn_for_whoever_is_beside_it():
    all_, some = (Attendance(UPDATES, 40, 1, absence=Absence(0.3, 0.3), available=a) for a in (None, lambda r: [5, 9]))
    whole, part = all_.at(2), some.at(2)
    assert part.clients.tolist() == [5, 9]
    np.testing.assert_array_equal(whole.there[[5, 9]], part.there)
    np.testing.assert_array_equal(whole.limit[[5, 9]], part.limit)


@pytest.mark.parametrize("given", [{"drop": -0.1}, {"early": 2}, {"least": True}])
def test_chances_that_cannot_be(given):
    with pytest.raises(ArgumentError, match="must lie between 0 and 1"):
        Absence(**given)


@pytest.mark.parametrize("names", [[-1], [1.5], ["ann"], [True, False], [10**6]])
def test_names_of_clients_are_their_numbers(names):
    with pytest.raises(RunError, match="available must name clients by their numbers"):
        Attendance(UPDATES, 40, 1, available=lambda _: names).at(0)
