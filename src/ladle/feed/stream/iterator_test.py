"""Any iterator as a stream: begun anew, brought to a place by its state, or read once."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.stream.iterator import IteratorStream


class Counting:
    """A function that makes 0 .. 99 anew, and counts how often and how far."""

    def __init__(self) -> None:
        self.made = self.taken = 0

    def __call__(self) -> Iterator[int]:
        self.made += 1
        for number in range(100):
            self.taken += 1
            yield number


class Stateful:
    """An iterable with a state, as torch and datasets have it: a state that was loaded stays."""

    def __init__(self, extra: Any = None) -> None:
        self.at, self.begin, self.extra, self.loaded = 0, 0, extra, 0

    def __iter__(self) -> Iterator[int]:
        self.at = self.begin
        while self.at < 100:
            self.at += 1
            yield self.at - 1

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at, "extra": self.extra}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.begin, self.loaded = state["at"], self.loaded + 1


def test_going_on_takes_each_event_once_and_a_little_back_costs_nothing():
    make = Counting()
    stream = IteratorStream(make)
    position = stream.start()
    for _ in range(5):
        first, after = stream.read(position, 10, 0)
        again, _ = stream.read(position, 10, 0)
        assert first == again
        position = after
    assert (make.made, make.taken) == (1, 50)


def test_far_back_begins_anew_and_skips():
    make = Counting()
    stream = IteratorStream(make, memory=1)
    _, position = stream.read(stream.start(), 20, 0)
    stream.read(position, 40, 0)
    assert stream.read({"taken": 15}, 3, 0) == ([15, 16, 17], {"taken": 18})
    assert make.made == 2


def test_a_function_of_the_position_skips_nothing():
    asked = []

    def make(taken: int) -> range:
        asked.append(taken)
        return range(taken, 100)

    assert IteratorStream(make).read({"taken": 60}, 2, 0) == ([60, 61], {"taken": 62})
    assert asked == [60]


def test_a_state_is_used_where_there_is_one():
    source = Stateful()
    _, position = IteratorStream(source).read({"taken": 0}, 30, 0)
    assert position == {"taken": 30, "state": {"at": 30, "extra": None}}
    stream = IteratorStream(source)
    assert stream.read(position, 2, 0)[0] == [30, 31]
    assert stream.read({"taken": 3}, 2, 0)[0] == [3, 4], "begun anew, not from the state that was loaded"
    assert source.at == 0, "the source itself is not used up"
    without = IteratorStream(lambda: iter(range(100)))
    assert without.read(position, 2, 0)[0] == [30, 31], "a state that nobody can load is skipped to"


@pytest.mark.parametrize("extra", [b"bytes", "x" * 200_000, (1, 2)], ids=["bytes", "large", "tuple"])
def test_a_state_that_is_no_small_json_is_not_trusted(extra):
    stream = IteratorStream(Stateful(extra))
    _, position = stream.read(stream.start(), 30, 0)
    assert position == {"taken": 30}
    assert IteratorStream(Stateful(extra)).read(position, 2, 0)[0] == [30, 31]


def test_no_state_is_trusted_where_it_is_said():
    stream = IteratorStream(Stateful(), by_state=False)
    assert stream.read(stream.start(), 30, 0)[1] == {"taken": 30}


def test_a_generator_is_read_once():
    stream = IteratorStream((number for number in range(50)), memory=4)
    first, position = stream.read(stream.start(), 4, 0)
    assert stream.read(stream.start(), 4, 0)[0] == first
    second, _ = stream.read(position, 4, 0)
    assert second == [4, 5, 6, 7]
    with pytest.raises(DataError, match="position must be where the iterator stands or shortly before; got .*make"):
        stream.read(stream.start(), 4, 0)
    with pytest.raises(DataError, match="position must be where the iterator stands .* stands at 0"):
        IteratorStream(iter(range(9))).read({"taken": 4}, 1, 0)


def test_an_error_of_the_iterator_loses_nothing_before_it():
    def events() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("the line is dead")

    stream = IteratorStream(events())
    with pytest.raises(OSError, match="the line is dead"):
        stream.read(stream.start(), 5, 0)
    assert stream.read(stream.start(), 5, 0)[0] == [1, 2]


def test_an_iterator_that_became_shorter_is_found():
    with pytest.raises(DataError, match="position must be within what the iterator gives; got 60"):
        IteratorStream(lambda: range(50)).read({"taken": 60}, 1, 0)


def test_what_cannot_be_iterated_over_is_refused():
    with pytest.raises(ArgumentError, match="make must be an iterable or make one; got 5"):
        IteratorStream(5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="make must make an iterable; got 7"):
        IteratorStream(lambda: 7).read({"taken": 0}, 1, 0)  # type: ignore[arg-type, return-value]

    class Stuck(Stateful):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("it holds a socket")

    with pytest.raises(ArgumentError, match="make must be a function that makes it anew; got .*holds a socket"):
        IteratorStream(Stuck()).read({"taken": 0}, 1, 0)


def test_another_process_begins_anew():
    stream = IteratorStream(range(10))
    stream.read(stream.start(), 5, 0)
    assert pickle.loads(pickle.dumps(stream)).read({"taken": 2}, 2, 0)[0] == [2, 3]


@pytest.mark.slow
def test_a_torch_dataset():
    data = pytest.importorskip("torch.utils.data")

    class Squares(data.IterableDataset):
        def __iter__(self) -> Iterator[int]:
            return iter(number**2 for number in range(10))

    stream = IteratorStream(Squares())
    assert stream.read({"taken": 3}, 2, 0) == ([9, 16], {"taken": 5})


@pytest.mark.slow
def test_a_hugging_face_dataset_resumes_by_state_and_shuffled_by_skipping():
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_dict({"x": list(range(40))}).to_iterable_dataset(num_shards=4)
    shuffled = whole.shuffle(seed=1, buffer_size=10)
    for source, by_state in ((whole, True), (whole.map(dict), True), (shuffled, False), (shuffled.map(dict), False)):
        events, position = IteratorStream(source).read({"taken": 0}, 15, 0)
        assert ("state" in position) == by_state
        events += IteratorStream(source).read(position, 100, 0)[0]
        assert sorted(event["x"] for event in events) == list(range(40))
