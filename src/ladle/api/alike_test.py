from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import ladle
from ladle.api import alike
from ladle.api.assembly import Assembly, assemble
from ladle.api.setup import Terms
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError
from ladle.core.world import Alone


@dataclasses.dataclass(frozen=True)
class Two(Alone):
    """Two processes, of which the other one told `other`."""

    size: int = 2
    other: Any = None

    def gathered(self, value: Any) -> list[Any]:
        return [value, {**value, **self.other}]


@pytest.fixture(scope="module")
def assembly() -> Assembly:
    return assemble(ladle.Task(ladle.models.mlp(64, 8, 10), "cross_entropy", ladle.data.load("digits")))


@pytest.mark.parametrize("name", ["versions", "data", "lane", "code", "model", "settings"])
def test_a_rank_with_something_else_is_refused_by_all(name: str, assembly: Assembly):
    with pytest.raises(ArgumentError, match=f"rank 1 must have the {name} of rank 0, .*; got 'other'"):
        alike.require_alike(Two(other={name: "other"}), assembly, Terms(Until.parse("1 epochs")))


def test_equal_ranks_are_not_asked_for_more(assembly: Assembly):
    alike.require_alike(Two(other={}), assembly, None)
    alike.require_alike(Alone(), assembly, None)


def test_settings_do_not_depend_on_where_values_lie_in_memory():
    assert alike._settings(lambda: 1) == alike._settings(lambda: 1)
    assert alike._settings(1) != alike._settings(2)
