"""Events as arrays: each bad event is named, whatever is wrong with it."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from ladle.core.errors import ArgumentError, ExampleError
from ladle.feed.stream.decode import Numbers

LIKE = Numbers(like={"x": np.zeros(2, np.float32), "y": np.int32(0)})
GOOD = {"x": [1, 2.5], "y": 3}


def test_json_text_bytes_mappings_and_arrays_are_the_same_event():
    same = ['{"x": [1, 2.5], "y": 3}', b'{"x": [1, 2.5], "y": 3, "more": "text"}', GOOD, {"x": b"[1, 2.5]", "y": "3"}]
    same += [{"x": np.array([1, 2.5]), "y": np.int64(3)}, {"x": [Decimal(1), Decimal("2.5")], "y": Decimal(3)}]
    rows = LIKE(same)
    assert rows["x"].dtype == np.float32 and rows["y"].dtype == np.int32
    assert rows["x"].tolist() == [[1.0, 2.5]] * 6 and rows["y"].tolist() == [3] * 6


def test_without_an_example_the_first_event_says_what_they_are():
    rows = Numbers()([{"x": [1, 2], "y": True}, {"y": 0.5, "x": [3, 4]}])
    assert rows["x"].tolist() == [[1.0, 2.0], [3.0, 4.0]] and rows["y"].tolist() == [1.0, 0.5]
    with pytest.raises(ExampleError, match="event must have x and no more") as refused:
        Numbers()([{"x": 1}, {"x": 1, "y": 2}, {"x": 3}, "oh"])
    assert refused.value.ids == (1, 3)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (b"{", "event must be JSON"),
        (b"\xff", "event must be JSON"),
        ("[" * 100_000, "event must be JSON"),
        (b"[1, 2]", "event must be an object of numbers"),
        (None, "event must be an object of numbers"),
        ({}, "event must be an object of numbers"),
        ({"x": [1, 2]}, "event must have x, y"),
        ({"x": [1, 2, 3], "y": 0}, r"event's 'x' must have shape \(2,\)"),
        ({"x": [1, [2]], "y": 0}, "event's 'x' must be numbers in rows of one length"),
        ({"x": [1, None], "y": 0}, "event's 'x' must be numbers"),
        ({"x": ["a", "b"], "y": 0}, "event's 'x' must be numbers"),
        ({"x": "word", "y": 0}, "event's 'x' must be JSON"),
        (b'{"x": [1, NaN], "y": 0}', "event's 'x' must be finite and fit float32"),
        ({"x": [1, 1e300], "y": 0}, "event's 'x' must be finite and fit float32"),
        ({"x": [1, 2], "y": 0.5}, "event's 'y' must be finite and fit int32"),
        ({"x": [1, 2], "y": 2**40}, "event's 'y' must be finite and fit int32"),
        ({"x": [1, 2], "y": 10**40}, "event's 'y' must be finite and fit int32"),
        ({"x": [1, 2], "y": float("nan")}, "event's 'y' must be finite and fit int32"),
    ],
    ids=range(18),
)
def test_a_bad_event_is_named_and_cut_short(event, says):
    with pytest.raises(ExampleError, match=says) as refused:
        LIKE([GOOD, event, GOOD])
    assert refused.value.ids == (1,)
    assert len(str(refused.value)) < 400


def test_all_at_once_is_the_same_as_one_by_one():
    rng = np.random.default_rng(0)
    events = [{"x": rng.normal(size=2).tolist(), "y": int(rng.integers(-9, 9))} for _ in range(50)]
    at_once = LIKE(events)
    for place, event in enumerate(events):
        (x,), (y,) = LIKE([event]).values()
        np.testing.assert_array_equal(at_once["x"][place], x)
        assert at_once["y"][place] == y
    np.testing.assert_array_equal(at_once["x"], Numbers()(events)["x"])


def test_all_bad_events_are_named_at_once():
    with pytest.raises(ExampleError) as refused:
        LIKE(["a", GOOD, "b", GOOD, "c"])
    assert refused.value.ids == (0, 2, 4)


@pytest.mark.parametrize("like", [{}, {"x": "text"}, {"x": None}], ids=["empty", "text", "none"])
def test_an_example_without_numbers_is_refused(like):
    with pytest.raises(ArgumentError, match="like must be a dict of numbers"):
        Numbers(like=like)
