"""Labels that come later, are of nobody, or never come; and that reading is a function of the position."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.stream.iterator import IteratorStream
from ladle.online.labels import Labelled


def stream(events: list[Any], **how: Any) -> Labelled:
    return Labelled(IteratorStream(events), "id", "y", **how)


def late(count: int, most: int) -> list[Any]:
    """Events whose labels come up to `most` events later; some are whole at once."""
    chance, timed = random.Random(0), []
    for id in range(count):
        if chance.random() < 0.2:
            timed.append((id, {"id": id, "x": 2 * id, "y": id % 3}))
            continue
        timed.append((id, {"id": id, "x": 2 * id, "y": ""} if id % 2 else {"id": id, "x": 2 * id}))
        timed.append((id + chance.random() * most, json.dumps({"id": id, "y": id % 3})))
    return [event for _, event in sorted(timed, key=lambda one: one[0])]


def test_every_event_comes_once_with_its_label():
    own = stream(late(300, 40))
    got, after = own.read(own.start(), 1000, 0)
    assert sorted(event["id"] for event in got) == list(range(300))
    assert all((event["x"], event["y"]) == (2 * event["id"], event["id"] % 3) for event in got)
    assert after["waiting"] == [] and (after["labels"], after["unknown"], after["expired"]) == (300, 0, 0)


@pytest.mark.parametrize("count", [1, 7, 64])
def test_reading_in_pieces_from_json_is_reading_at_once(count: int):
    own, events = stream(late(120, 30)), []
    position = own.start()
    while True:
        position = json.loads(json.dumps(position))
        got, position = own.read(position, count, 0)
        assert own.read(json.loads(json.dumps(position)), 0, 0)[0] == []
        events += got
        if not got:
            break
    assert events == own.read(own.start(), 1000, 0)[0]


def test_what_waits_too_long_expires_and_its_label_is_of_nobody():
    own = stream([*({"id": id, "x": id} for id in range(6)), {"id": 5, "y": 1}, {"id": 0, "y": 1}], keep=5)
    start = own.start()
    got, after = own.read(start, 10, 0)
    assert [event["id"] for event in got] == [5]
    assert [event["id"] for _, event in after["waiting"]] == [3, 4]
    assert own.sums(start, after) == {"labels_unknown": 1.0, "labels_expired": 3.0}
    assert own.sums(after, after) == {}


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([{"x": 1}], "event 1 must have an id under 'id'"),
        ([{"id": 1, "x": 1}, {"id": 1, "x": 2}], "event 2 must have an id of its own"),
        (["[1]"], "event 1 must be an object with names"),
        (["{"], "event 1 must be an object with names"),
        (
            [{"id": id, "x": 1} for id in range(20)],
            "labels must come within 10 events; got '20 events and no label in y'",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused_in_one_line(events: list[Any], says: str):
    own = stream(events, keep=10)
    with pytest.raises(DataError, match=says) as refused:
        own.read(own.start(), 5, 0)
    assert "\n" not in str(refused.value)


def test_another_position_and_columns_that_are_one_are_refused():
    with pytest.raises(DataError, match="position must be one of labels that come later"):
        stream([]).read({"taken": 3}, 1, 0)
    with pytest.raises(ArgumentError, match="id must be another column than the target"):
        Labelled(IteratorStream([]), "y", "y")
