"""A Redis stream: what the laws cannot know of it, and every way in which a log can be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from tests.servers import free_port, redis_server

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.stream.clients import close_clients
from ladle.feed.stream.redis_log import RedisStream


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with redis_server() as url:
        yield url
        close_clients()


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        yield client


def add(client: Any, count: int, key: str = "events") -> list[str]:
    return [client.xadd(key, {"id": number}).decode() for number in range(count)]


def test_an_event_is_the_entrys_fields_and_nothing_is_left_on_the_server(url, client):
    add(client, 3)
    stream = RedisStream(url, "events")
    assert stream.read(stream.start(), 2, 0)[0] == [{"id": b"0"}, {"id": b"1"}]
    assert client.xinfo_groups("events") == []


def test_since_now_leaves_out_what_is_there(url, client):
    add(client, 3)
    stream = RedisStream(url, "events", since="now")
    start = stream.start()
    client.xadd("events", {"id": 7})
    assert stream.read(start, 5, 0)[0] == [{"id": b"7"}]


def test_a_log_that_does_not_exist_yet_is_an_empty_one(url, client):
    stream = RedisStream(url, "later")
    start = stream.start()
    assert stream.read(start, 5, 0.01) == ([], start)
    add(client, 2, "later")
    assert len(stream.read(start, 5, 0)[0]) == 2


def test_trimming_what_was_read_is_no_loss(url, client):
    add(client, 10)
    stream = RedisStream(url, "events")
    _, position = stream.read(stream.start(), 6, 0)
    client.xtrim("events", maxlen=4, approximate=False)
    assert stream.read(position, 10, 0)[0] == [{"id": b"%d" % number} for number in range(6, 10)]
    assert len(stream.read(stream.start(), 10, 0)[0]) == 4, "a new run starts with the first there is"
    _, end = stream.read(position, 10, 0)
    client.xtrim("events", maxlen=0)
    assert stream.read(end, 10, 0) == ([], end)


@pytest.mark.parametrize("left", [3, 0])
def test_trimming_what_was_not_read_is_found(url, client, left):
    add(client, 10)
    stream = RedisStream(url, "events")
    _, position = stream.read(stream.start(), 6, 0)
    client.xtrim("events", maxlen=left, approximate=False)
    with pytest.raises(DataError, match=f"position must be on the log; got .*{4 - left} entries .* fell off the log"):
        stream.read(position, 10, 0)


def test_a_start_that_was_never_read_from_falls_off_as_well(url, client):
    add(client, 4)
    stream = RedisStream(url, "events")
    start = stream.start()
    client.xtrim("events", maxlen=3, approximate=False)
    with pytest.raises(DataError, match="1 entries after it were trimmed away"):
        stream.read(start, 10, 0)


@pytest.mark.parametrize("added", [0, 2])
def test_a_server_that_began_anew_is_found(url, client, added):
    add(client, 5)
    stream = RedisStream(url, "events")
    _, position = stream.read(stream.start(), 5, 0)
    client.flushall()
    add(client, added)
    with pytest.raises(DataError, match="position must be on the log; got .*has lost its log"):
        stream.read(position, 10, 0)


def test_ids_are_compared_as_numbers(url, client):
    for id in ("9-1", "10-0", "100-0"):
        client.xadd("events", {"id": 0}, id=id)
    stream = RedisStream(url, "events")
    _, position = stream.read(stream.start(), 1, 0)
    assert position == {"id": "9-1", "number": 1}
    client.xtrim("events", maxlen=1, approximate=False)
    with pytest.raises(DataError, match="1 entries after it"):
        stream.read(position, 1, 0)


def test_another_kind_of_key_is_refused(url, client):
    client.set("text", "x")
    with pytest.raises(
        DataError, match="key must be the key of a stream; got 'text'; because the server says: WRONGTYPE"
    ):
        RedisStream(url, "text").start()


def test_no_server_is_one_line_without_the_password():
    stream = RedisStream(f"redis://:secret@127.0.0.1:{free_port()}/0", "events")
    with pytest.raises(DataError, match="url must be a Redis server that answers; got '127.0.0.1.*refused") as refused:
        stream.start()
    assert "secret" not in str(refused.value) + repr(stream)
    assert "\n" not in str(refused.value)


def test_a_server_that_went_away_and_came_back_is_read_again(url, client):
    add(client, 2)
    stream = RedisStream(url, "events")
    _, position = stream.read(stream.start(), 1, 0)
    for connection in client.client_list():
        client.client_kill_filter(_id=connection["id"], skipme=True)
    assert stream.read(position, 1, 0)[0] == [{"id": b"1"}]


@pytest.mark.parametrize("wrong", ["localhost:6379", "http://localhost"])
def test_a_wrong_url_is_refused(wrong):
    with pytest.raises(ArgumentError, match="url must start with redis://"):
        RedisStream(wrong, "events")


def test_a_wrong_since_is_refused():
    with pytest.raises(ArgumentError, match="since must be 'first' or 'now'"):
        RedisStream("redis://localhost", "events", since="yesterday")  # type: ignore[arg-type]
