"""What a search is asked for, and what is refused before any work."""

import numpy as np
import pytest

from ladle import models
from ladle.api.assembly import assemble
from ladle.api.search_space import require_way, space_of
from ladle.api.task import Task
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError
from ladle.data import arrays
from ladle.models import losses

RNG = np.random.default_rng(0)
Y = np.arange(60) % 3
DATA = arrays(RNG.standard_normal((60, 4)), Y, valid=0.2)
TASK = Task(models.linear(4, 3), losses.cross_entropy, DATA)
WHAT = {"sizes": [4], "lrs": [0.03], "folds": 3, "seeds": 1, "until": "9 epochs", "metric": None, "seed": 0}
WAY = {"method": "grid", "trials": None, "prefer": "seconds", "workers": "auto", "micro_size": None, "refit": False}


@pytest.fixture(scope="module")
def assembly():
    return assemble(TASK)


def asked(assembly, **change):
    require_way(assembly, **{**WAY, **{name: value for name, value in change.items() if name in WAY}})
    return space_of(assembly, **{**WHAT, **{name: value for name, value in change.items() if name in WHAT}})


def test_words_become_a_space(assembly):
    space = asked(assembly, sizes=np.array([8, 4, 8]), lrs=np.float32([0.5, 0.25]), refit=True)
    assert (space.sizes, space.lrs, space.until) == ((4, 8), (0.25, 0.5), Until(epochs=9.0))
    assert (space.metric, space.higher) == ("valid_accuracy", True)
    assert asked(assembly, sizes=["full", 4]).sizes == (4, 32)
    assert asked(assembly, lrs=None).lrs == pytest.approx([factor * assembly.reference_lr for factor in (0.3, 1, 3)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 49}, "folds must be at most the 48 training rows; got 49"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"folds": 40}, "folds must hold two classes each"),
        ({"lrs": [0.0]}, "lrs must be positive numbers; got 0.0; because a rate of zero learns nothing"),
        ({"lrs": [-1e-3]}, "lrs must be positive numbers; got -0.001"),
        ({"lrs": [True]}, "lrs must be positive numbers; got True"),
        ({"lrs": []}, "lrs must name a rate"),
        ({"lrs": 0.1}, r"lrs must be a list; got 0.1; because all of them are tried; try lrs=\[0.1\]"),
        ({"sizes": [33]}, "sizes must be at most the 32 rows that a fold trains on; got 33"),
        ({"sizes": [49]}, "sizes must be at most the 48 training examples"),
        ({"sizes": [0]}, "sizes must be at least 1"),
        ({"sizes": []}, "sizes must name a size"),
        ({"sizes": 16}, r"sizes must be a list; got 16; because all of them are tried; try sizes=\[16\]"),
        ({"sizes": "16,32"}, "sizes must be a list; got '16,32'"),
        ({"metric": "valid_f1"}, "metric must be measured; got '?valid_f1'?"),
        ({"metric": 3}, "metric must be measured; got 3"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"seed": -1}, "seed must be a whole number from 0 to .*; got -1"),
        ({"until": "10 s"}, "until must be epochs, examples or steps"),
        ({"until": "3 epochs, patience 2"}, "until must be epochs, examples or steps"),
        ({"trials": 9}, "trials must be at least 2, with method='model'"),
        ({"method": "magic"}, "method must be a known word"),
        ({"prefer": "money"}, "prefer must be a known word"),
        ({"workers": "elves"}, "workers must be a known name"),
        ({"workers": 3}, "workers must be a name or have a method map; got 3"),
        ({"micro_size": 0}, "micro_size must be at least 1"),
    ],
)
def test_what_cannot_be_searched_is_one_line(assembly, change, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        asked(assembly, **change)
    assert "\n" not in str(caught.value)


def test_a_refit_that_nothing_could_judge_is_refused():
    bare = assemble(TASK.with_(data=arrays(DATA.train["x"], DATA.train["y"], valid=0)))
    with pytest.raises(
        ArgumentError, match="refit must have validation rows; .* try valid=0.2 for the data, or refit=False"
    ):
        asked(bare, refit=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": "sequential"}, "order must be 'permuted'"),
        ({"lr": lambda examples: 0.1}, "lr must be left to the search"),
        ({"lane": "host"}, "data must be arrays in memory"),
    ],
)
def test_tasks_that_leave_nothing_to_search_are_refused(change, message):
    with pytest.raises(ArgumentError, match=message):
        asked(assemble(TASK.with_(**change)))
