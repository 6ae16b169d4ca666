import math
import sys

import pytest

from ladle.core.errors import ArgumentError
from ladle.search.optuna import Proposals
from ladle.search.trial import Candidate


def proposed(seed: int, count: int = 8) -> list[Candidate]:
    """A study of (log lr + 5)^2, whose sixth candidate diverges."""
    proposals, found = Proposals([8, 128], [1e-3, 1e-1], higher=False, seed=seed, factor=3), []
    for number in range(count):
        ticket, candidate = proposals.ask()
        found.append(candidate)
        value = (math.log(candidate.lr) + 5) ** 2
        hopeless = proposals.hopeless(ticket, 1, value)
        proposals.tell(ticket, None if hopeless or number == 5 else value)
    return found


def test_the_same_seed_gives_the_same_proposals_between_the_ends():
    pytest.importorskip("optuna")
    found = proposed(0)
    assert found == proposed(0)
    assert found != proposed(1)
    assert all(8 <= one.size <= 128 and 1e-3 <= one.lr <= 1e-1 for one in found)


def test_the_worst_of_many_is_hopeless_and_one_that_broke_is_told():
    pytest.importorskip("optuna")
    proposals = Proposals([8], [1e-3], higher=True, seed=0, factor=3)
    answers = []
    for value in (0.9, 0.95, 0.1):
        ticket, candidate = proposals.ask()
        assert candidate == Candidate(8, 1e-3)
        answers.append(proposals.hopeless(ticket, 1, value))
        proposals.tell(ticket, None if answers[-1] else value)
    assert answers == [False, False, True]
    proposals.tell(proposals.ask()[0], None)
    assert [trial.state.name for trial in proposals.study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]


def test_without_optuna_another_method_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ArgumentError, match=r"pip install 'ladle\[search\]', or method='halving'"):
        Proposals([8], [1e-3], higher=True, seed=0, factor=3)
