"""`RedisStream`: a Redis stream, read by position."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from ladle.core.errors import ArgumentError, DataError, must
from ladle.feed.stream.clients import check_since, dropped, kept, needs, until

ANSWER_SECONDS = 10.0
"""How long a server may take to answer. One that is asked to wait for events is asked in slices below this."""


@dataclass(frozen=True)
class RedisStream:
    """The entries of a Redis stream in order of id; implements `ladle.core.protocols.Stream`.

    - `url`: `redis://host:port/database`; `rediss://` for TLS. `key`: the stream's key.
    - `since`: a run starts with the "first" entry on the log, or with what is added from "now" on.

    An event is a dict of the entry's fields: `{"x": b"1.5", "y": b"0"}`. The position is the id of the last entry and
    the number of entries ever added up to it. No consumer group is made and nothing is acknowledged, so the server
    keeps no state of the reader. Needs Redis 7 or newer.

    Raises `DataError` where the server does not answer, the key holds something else, entries after the position have
    been trimmed away, or the log is not the one the position is of (a server that restarted empty). An entry that is
    deleted by hand (XDEL) ahead of the reader may be taken for trimmed: the two cannot be told apart.

    Source: Redis commands XRANGE, XREAD, XINFO STREAM (https://redis.io/docs/latest/commands/xinfo-stream/).
    """

    url: str = field(repr=False)
    key: str
    since: Literal["first", "now"] = "first"

    def __post_init__(self) -> None:
        check_since(self.since)
        if not re.match(r"(rediss?|unix)://", self.url):
            got, why = self.url.split("@")[-1], "it says where the server is"
            raise ArgumentError(must("url", "start with redis:// or rediss://", got, why, "redis://localhost:6379/0"))

    def start(self) -> dict[str, Any]:
        _, log = self._ask("0-0", 1)
        if self.since == "now":
            return {"id": log.last, "number": log.added}
        return {"id": "0-0", "number": log.added - log.length}

    def read(
        self, position: dict[str, Any], count: int, wait_seconds: float
    ) -> tuple[list[dict[str, bytes]], dict[str, Any]]:
        id, number = _checked(position)
        left = until(wait_seconds)
        events: list[dict[str, bytes]] = []
        while True:
            entries, log = self._ask(id, count - len(events))
            self._check_whole(id, number, log)
            events += [{name.decode(): value for name, value in fields.items()} for _, fields in entries]
            if entries:
                id, number = entries[-1][0].decode(), number + len(entries)
            if len(events) == count or left() <= 0:
                return events, {"id": id, "number": number}
            self._wait(id, min(left(), ANSWER_SECONDS / 4))

    def _ask(self, id: str, count: int) -> tuple[list[Any], _Log]:
        """The entries after `id`, and what the log was at that very moment: one transaction."""
        redis = _library()
        pipe = self._client().pipeline(transaction=True)
        pipe.xrange(self.key, f"({id}", "+", count=count).xinfo_stream(self.key)
        try:
            entries, info = pipe.execute(raise_on_error=False)
        except redis.RedisError as error:
            raise self._silent(error) from None
        if isinstance(entries, Exception):
            be, why = "be the key of a stream", "entries are read by their ids"
            raise DataError(must("key", be, self.key, f"the server says: {entries.args[0]}; {why}", "XADD")) from None
        if isinstance(info, Exception):  # No such key: a log to which nothing was added.
            return [], _Log("0-0", None, 0, 0)
        if "entries-added" not in info:
            why = "older ones do not count their entries, and trimming goes unseen"
            raise DataError(must("url", "be of Redis 7 or newer", self._where(), why, "a newer server"))
        first = info["first-entry"]
        return entries, _Log(
            info["last-generated-id"].decode(), first and first[0].decode(), info["entries-added"], info["length"]
        )

    def _check_whole(self, id: str, number: int, log: _Log) -> None:
        """Every entry added after the position must still be there."""
        if log.added < number or _pair(log.last) < _pair(id):
            got = f"{id}, the log's entry {number}, where {log.added} were added and {log.last} is the last"
            why = "the server has lost its log, or began another under this key"
            raise DataError(must("position", "be on the log", got, why, "a run from the start of this log"))
        removed = log.added - log.length
        # Where the first entry is after the position, all entries up to the position are gone; any more are lost.
        if (log.first is None or _pair(log.first) > _pair(id)) and removed > number:
            why = f"{removed - number} entries after it were trimmed away before they were read: it fell off the log"
            remedy = "a longer log (XADD MAXLEN), and a run from the start of this log"
            raise DataError(must("position", "be on the log", id, why, remedy))

    def _wait(self, id: str, seconds: float) -> None:
        redis = _library()
        try:
            self._client().xread({self.key: id}, count=1, block=max(1, int(seconds * 1000)))
        except redis.RedisError as error:
            raise self._silent(error) from None

    def _client(self) -> Any:
        redis = _library()
        return kept(
            ("redis", self.url),
            lambda: redis.Redis.from_url(self.url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=5),
        )

    def _silent(self, error: Exception) -> DataError:
        dropped(("redis", self.url))
        why = f"reading failed: {error}"
        return DataError(must("url", "be a Redis server that answers", self._where(), why, "redis-cli ping"))

    def _where(self) -> str:
        """The url without its password."""
        return urlsplit(self.url).netloc.split("@")[-1] or self.url


@dataclass(frozen=True)
class _Log:
    """What a log was: id of the last entry ever, id of the first there is, entries ever added, entries there are."""

    last: str
    first: str | None
    added: int
    length: int


def _library() -> Any:
    try:
        import redis
    except ImportError:
        raise needs("redis", "RedisStream", "redis") from None
    return redis


def _pair(id: str) -> tuple[int, int]:
    """Ids are compared as two numbers: 9-0 is before 10-0."""
    time, _, sequence = id.partition("-")
    return int(time), int(sequence)


def _checked(position: Any) -> tuple[str, int]:
    try:
        id, number = position["id"], int(position["number"])
        _pair(id)
        return id, number
    except (KeyError, TypeError, ValueError, AttributeError):
        be, why = "be one of a Redis stream", "it is where reading goes on"
        raise DataError(must("position", be, position, why, "the cursor of this feed")) from None
