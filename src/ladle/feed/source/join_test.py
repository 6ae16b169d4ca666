from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.arrays import Arrays
from ladle.feed.blocks import Blocks
from ladle.feed.orders import order_of
from ladle.feed.source.join import Joined
from ladle.feed.source.request import require_ids


class Faulty:
    """Five examples, of which some cannot be read."""

    def __init__(self, *bad: int) -> None:
        self.bad, self.asked = bad, []

    def __len__(self) -> int:
        return 5

    def take(self, ids):
        self.asked.append(ids.tolist())
        if found := [id for id in ids.tolist() if id in self.bad]:
            raise ExampleError(f"example {found[0]} is bad", found)
        return {"x": ids * 1.0}


def counted(start: int, n: int) -> Arrays:
    return Arrays({"x": np.arange(start, start + n), "y": (np.arange(n, dtype=np.int8)[:, None] * [1, 2],)})


@given(st.lists(st.integers(0, 9), max_size=20))
def test_rows_are_those_of_the_sources_end_to_end(ids):
    joined = Joined({"a": counted(0, 3), "b": counted(3, 6), "c": counted(9, 1)})
    rows = joined.take(np.array(ids, np.int64))
    assert rows["x"].tolist() == ids
    assert rows["source"].tolist() == [(id >= 3) + (id >= 9) for id in ids]
    assert rows["source"].dtype == np.int32
    assert rows["y"][0].shape == (len(ids), 2)


def test_each_source_is_asked_once():
    a, b = Faulty(), Faulty()
    Joined({"a": a, "b": b}).take(np.array([7, 1, 5, 0, 7]))
    assert (a.asked, b.asked) == ([[1, 0]], [[2, 0, 2]])


def test_rows_that_are_no_dict_stay_as_they_are():
    joined = Joined({"a": Arrays(np.arange(3)), "b": Arrays(np.arange(3, 5))})
    assert joined.take(np.array([4, 0])).tolist() == [4, 0]
    pairs = Joined({"a": Arrays((np.arange(3), np.ones(3))), "b": Arrays((np.arange(3), np.zeros(3)))})
    assert [leaf.tolist() for leaf in pairs.take(np.array([4, 0]))] == [[1, 0], [0.0, 1.0]]


def test_all_bad_examples_are_named_by_their_ids_here():
    joined = pickle.loads(pickle.dumps(Joined({"a": Faulty(1), "b": Faulty(2, 3)})))
    with pytest.raises(ExampleError, match="source 'a': example 1 is bad .3 bad examples in all.") as caught:
        joined.take(np.array([8, 0, 1, 7]))
    assert caught.value.ids == (1, 8, 7)


def test_blocks_and_memory_are_there_where_a_source_has_them():
    plain = Arrays(np.arange(4))
    assert not hasattr(Joined({"a": plain}), "blocks")
    assert not hasattr(Joined({"a": plain}), "memory_bytes")
    blocked = type("Blocked", (Faulty,), {"blocks": np.array([2, 3]), "memory_bytes": 7})()
    joined = Joined({"a": plain, "b": blocked})
    assert (joined.blocks.tolist(), joined.memory_bytes) == ([4, 2, 3], 7)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({}, "sources must be one or more, each with examples; got {}"),
        ({"a": type("Empty", (Faulty,), {"__len__": lambda self: 0})()}, "got {'a': 0}"),
    ],
    ids=["none", "empty"],
)
def test_nothing_to_join_is_refused(sources, said):
    with pytest.raises(ArgumentError, match=said):
        Joined(sources)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"x": np.arange(2.0)},
            "data 'x' must be alike in all sources; got .int64 rows of shape \\(\\) in 'a' and float64",
        ),
        ({"x": np.ones((2, 3), np.int64)}, "rows of shape \\(3,\\) in 'b'"),
        (
            {"z": np.arange(2)},
            "data 'x' must be alike in all sources; got .int64 rows of shape \\(\\) in 'a' and none in",
        ),
    ],
    ids=["type", "shape", "entry"],
)
def test_rows_that_differ_are_refused(other, said):
    joined = Joined({"a": Arrays({"x": np.arange(2)}), "b": Arrays(other)})
    with pytest.raises(DataError, match=said):
        joined.take(np.array([0, 2]))


def test_an_entry_named_source_is_refused():
    with pytest.raises(DataError, match="data must have no entry 'source'"):
        Joined({"a": Arrays({"source": np.arange(2)})}).take(np.array([0]))


@pytest.mark.parametrize(
    ("ids", "said"),
    [([-1], "ids must be in 0 .. 2; got -1"), ([1, 3], "got 3"), ([0.5], "whole numbers"), ([[1]], "in one row")],
    ids=["negative", "beyond", "fraction", "matrix"],
)
def test_ids_of_no_example_are_refused(ids, said):
    with pytest.raises(ArgumentError, match=said):
        require_ids(ids, 3)


def test_a_source_that_reads_whole_blocks_makes_the_whole_do_so():
    class Grouped(Arrays):
        reads_blocks, blocks = True, np.array([2, 2])

    numbers = {"x": np.arange(4)}
    assert Joined({"a": Grouped(numbers), "b": Arrays(numbers)}).reads_blocks
    assert not Joined({"a": Arrays(numbers), "b": Arrays(numbers)}).reads_blocks
    assert isinstance(order_of("auto", Joined({"a": Grouped(numbers), "b": Arrays(numbers)})), Blocks)
