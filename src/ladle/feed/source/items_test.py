from __future__ import annotations

import pickle
import threading
from collections import namedtuple

import numpy as np
import pytest

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.source.items import Items
from ladle.feed.source.stack import stacked

Pair = namedtuple("Pair", "x y")


class Faulty:
    """Fifty items; some cannot be had."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad

    def __len__(self):
        return 50

    def __getitem__(self, id):
        if id in self.bad:
            raise RuntimeError(f"disk {id} is gone\nand more")
        return {"x": np.full(3, id, np.float32), "y": id}


class Many(Faulty):
    """The same, asked for many at a time."""

    def __getitems__(self, ids):
        return [self[id] for id in ids]


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("kind", [Faulty, Many])
def test_rows_are_the_items_asked_for(kind, threads):
    source = pickle.loads(pickle.dumps(Items(kind(), threads)))
    ids = np.array([17, 3, 17, 0])
    rows = source.take(ids)
    assert rows["x"].tolist() == [[id] * 3 for id in ids.tolist()]
    assert (rows["x"].dtype, rows["y"].dtype, rows["y"].tolist()) == (np.float32, np.int64, ids.tolist())
    assert source.take(np.array([], np.int64))["x"].shape == (0, 3)


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("kind", [Faulty, Many])
def test_what_a_dataset_raises_comes_with_the_ids_of_its_items(kind, threads):
    said = (
        "example 17 must be readable; got 'RuntimeError: disk 17 is gone'; .*try dataset.17. to see it.*2 bad examples"
    )
    with pytest.raises(ExampleError, match=said) as caught:
        Items(kind(40, 17), threads).take(np.array([40, 3, 17, 40]))
    assert sorted(caught.value.ids) == [17, 40]
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "\n" not in str(caught.value)


def test_threads_make_items_at_the_same_time():
    together = threading.Barrier(3, timeout=60)

    class Waiting(Faulty):
        def __getitem__(self, id):
            together.wait()
            return super().__getitem__(id)

    assert Items(Waiting(), threads=3).take(np.arange(3))["y"].tolist() == [0, 1, 2]


def test_getitems_that_fails_or_lies_is_named():
    class Fails(Faulty):
        def __getitems__(self, ids):
            raise KeyError("batch")

    class Short(Faulty):
        def __getitems__(self, ids):
            return [self[0]]

    with pytest.raises(DataError, match="dataset must answer for many items; got \"KeyError: 'batch'\"") as caught:
        Items(Fails()).take(np.arange(2))
    assert not isinstance(caught.value, ExampleError)
    with pytest.raises(DataError, match="dataset.__getitems__ must return every item; got '1 items for 2'"):
        Items(Short()).take(np.arange(2))


def test_trees_keep_their_kind():
    rows = stacked([Pair({"a": 1, "b": (True, [1.5, 2])}, np.int8(i)) for i in range(2)], [0, 1])
    assert isinstance(rows, Pair)
    assert (rows.y.dtype, rows.x["b"][0].dtype, rows.x["b"][1].tolist()) == (np.int8, bool, [[1.5, 2], [1.5, 2]])
    assert [leaf.shape for leaf in stacked([[np.ones(2), np.ones(3)]] * 4, range(4))] == [(4, 2), (4, 3)]
    assert stacked(["a", "longer"], [0, 1]).tolist() == ["a", "longer"]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([{"x": np.ones(2)}, {"x": np.ones(3)}], "got 'float64 of shape .2,. in example 5, .* .3,. in example 9'"),
        ([{"x": np.ones(2)}, {"x": np.ones(2, int)}], "int64 of shape .2,. in example 9"),
        ([{"x": 1}, {"x": 1.5}], "int64 of shape .*in example 5, float64 of shape .*in example 9"),
        ([{"x": 1}, {"y": 1}], "got 'entries x in example 5, entries y in example 9'"),
        ([{"x": 1}, 3], "got 'entries x in example 5, int in example 9'"),
        ([(1, 2), (1, 2, 3)], "got '2 parts in example 5, 3 parts in example 9'"),
        ([1, None], "example 9 must be numbers or arrays of one shape; got 'None'"),
        ([{"a": {"b": 1}}, {"a": {"b": object()}}], "example 9 at 'a.b' must be numbers or arrays .*; got 'object'"),
        ([2**70, 1], "example 5 must be numbers or arrays"),
        ([[1, 2], [1, [2]]], "example 9 must be an array of rows of one shape"),
    ],
    ids="shape type scalar entries kind parts none object huge ragged".split(),
)  # fmt: skip
def test_items_that_differ_are_refused_by_id(items, said):
    with pytest.raises(DataError, match=said):
        stacked(items, [5, 9])


def first_only(items):
    return {"x": [items[0]["y"]] * len(items)}


def test_a_collate_of_ones_own():
    assert Items(Faulty(), collate=first_only).take(np.array([4, 5]))["x"].tolist() == [4, 4]
    with pytest.raises(DataError, match="collate must make arrays of 2 rows; got \"int64 of shape .1,. at 'x'\""):
        Items(Faulty(), collate=lambda items: {"x": [1]}).take(np.array([4, 5]))


@pytest.mark.parametrize(
    ("dataset", "error", "said"),
    [
        ([], DataError, "dataset must hold at least one example; got 0"),
        (
            iter([1]),
            ArgumentError,
            "dataset must have a length and items; got 'list_iterator'.*ladle.feed.stream.iterator",
        ),
        (3, ArgumentError, "dataset must have a length and items; got 'int'"),
        ("name", ArgumentError, "dataset must have a length and items; got 'str'"),
    ],
    ids=["empty", "stream", "number", "text"],
)
def test_what_has_no_items_is_refused(dataset, error, said):
    with pytest.raises(error, match=said):
        Items(dataset)
