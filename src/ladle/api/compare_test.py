from __future__ import annotations

from typing import Any

import pytest

import ladle.api.compare as compare_
from ladle.api.compare import _unique
from ladle.api.comparison import Entrant, speed_of
from ladle.api.contest import Contest, Lot
from ladle.api.run import Run
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec
from ladle.monitor.console import Quiet


def test_the_speed_of_several_seeds_is_a_ratio_of_sums():
    """1,000 examples in 1 and in 3 seconds: 2,000 in 4, not the mean of 1,000 and 333 a second."""
    assert speed_of([{"examples": 1000.0, "seconds": 1.0}, {"examples": 1000.0, "seconds": 3.0}]) == 500
    assert speed_of([{"examples": 0.0, "seconds": 0.0}]) is None


def test_a_bad_size_is_refused_by_the_name_of_the_option():
    with pytest.raises(ArgumentError, match=r"sizes must be a whole number or 'full'; got 'x'.* try sizes=.64."):
        _unique(["64", "x"], 100)


def test_sizes_of_one_seed_are_run_in_turns(monkeypatch: pytest.MonkeyPatch):
    """So that what the machine does meanwhile is inside the spread of the seeds, not between the sizes."""
    trained: list[tuple[str, int]] = []
    sizes = [Entrant(name, BatchSpec(size, size), 0.1, {}) for name, size in (("8", 8), ("4", 4), ("planned", 8))]

    def train(contest: Contest, lot: Lot) -> Any:
        trained.append((lot.entrant.name, lot.seed))
        return Run("finished", "", {"of": trained[-1]}, [], None, None)  # type: ignore[arg-type]

    monkeypatch.setattr(Contest, "__call__", train)
    contest = Contest(None, Until(epochs=1), assembly=object())  # type: ignore[arg-type]
    found = compare_._runs(contest, None, sizes, 2, Quiet())
    assert trained == [("8", 0), ("4", 0), ("8", 1), ("4", 1)]
    of = [[run.final["of"] for run in runs] for runs in found]
    assert of == [[("8", 0), ("8", 1)], [("4", 0), ("4", 1)], [("8", 0), ("8", 1)]]
