"""What every stream promises, whatever log it reads: every case x every law. A new stream joins `CASES`.

- The same position gives the same events again, also in a process that has read nothing before.
- Events read in any portions are the events read at once.
- A position is small JSON. At the end of the log come no events, and the position stays.
- Reading waits for events, and ends as soon as they are there.
"""

from __future__ import annotations

import json
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.servers import kafka_server, postgres_server, redis_server

from ladle.feed.stream.clients import close_clients
from ladle.feed.stream.decode import Numbers
from ladle.feed.stream.directory import DirectoryStream
from ladle.feed.stream.iterator import IteratorStream
from ladle.feed.stream.kafka_log import KafkaTopic
from ladle.feed.stream.postgres_log import PostgresTable
from ladle.feed.stream.redis_log import RedisStream

N = 37
TABLE = "CREATE TABLE events (id bigint PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), x real)"


@dataclass(frozen=True)
class Case:
    """A stream whose log holds events 0 .. N; `add(ids)` writes further ones, None where that cannot be."""

    stream: Any
    add: Callable[[list[int]], object] | None


@contextmanager
def redis_case(folder: Path) -> Iterator[Case]:
    import redis

    with redis_server() as url, redis.Redis.from_url(url) as client:
        yield Case(RedisStream(url, "events"), lambda ids: [client.xadd("events", {"id": id, "x": 0.5}) for id in ids])


@contextmanager
def kafka_case(folder: Path) -> Iterator[Case]:
    with kafka_server() as (servers, producer):

        def add(ids: list[int]) -> None:
            for id in ids:
                producer.produce("events", json.dumps({"id": id, "x": 0.5}), partition=id % 3 if id % 2 else 3)
            assert producer.flush(10) == 0

        yield Case(KafkaTopic(servers, "events"), add)


@contextmanager
def postgres_case(folder: Path) -> Iterator[Case]:
    import psycopg

    with postgres_server() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLE)

        def add(ids: list[int]) -> None:
            for some in np.array_split(ids, 4):
                values = ", ".join(f"({id}, 0.5)" for id in some)
                if values:
                    connection.execute(f"INSERT INTO events (id, x) VALUES {values}")  # type: ignore[arg-type]

        yield Case(PostgresTable(dsn, "events", ("id", "x")), add)


def files_case(suffix: str) -> Callable[[Path], Any]:
    @contextmanager
    def case(folder: Path) -> Iterator[Case]:
        def add(ids: list[int]) -> None:
            for some in np.array_split(ids, 3):
                if len(some):
                    write(folder / f"{some[0]:06}.{suffix}", some)

        yield Case(DirectoryStream(folder, f"*.{suffix}"), add)

    return case


def write(path: Path, ids: np.ndarray) -> None:
    part = path.parent / f".{path.name}.tmp"
    with part.open("wb") as file:
        if path.suffix == ".npz":
            np.savez(file, id=ids, x=np.full(len(ids), 0.5))
        elif path.suffix == ".csv":
            file.write(b"id,x\n" + b"".join(b"%d,0.5\n" % id for id in ids))
        else:
            file.write(b"".join(b'{"id": %d, "x": 0.5}\n' % id for id in ids))
    os.rename(part, path)


def events(first: int = 0) -> list[dict[str, Any]]:
    return [{"id": id, "x": 0.5} for id in range(first, N)]


def iterator_case(make: Any) -> Callable[[Path], Any]:
    @contextmanager
    def case(folder: Path) -> Iterator[Case]:
        yield Case(IteratorStream(make), None)

    return case


CASES: dict[str, Callable[[Path], Any]] = {
    "redis": redis_case,
    "kafka": kafka_case,
    "postgres": postgres_case,
    "jsonl": files_case("jsonl"),
    "csv": files_case("csv"),
    "npz": files_case("npz"),
    "list": iterator_case(events()),
    "function": iterator_case(events),
    # One line for each that joins:
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with ExitStack() as stack:
        made = stack.enter_context(CASES[request.param](tmp_path_factory.mktemp("log")))
        if made.add is not None:
            made.add(list(range(N)))
        yield made
        close_clients()


few = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
cuts = st.lists(st.integers(1, 15), min_size=1, max_size=12)


def ids(found: list[Any]) -> list[int]:
    return Numbers(like={"id": np.int64(0), "x": np.float32(0)})(found)["id"].tolist() if found else []


def whole(stream: Any) -> tuple[list[int], Any]:
    found, end = stream.read(stream.start(), 1000, 0)
    return ids(found), end


def test_every_event_comes_once_and_the_end_is_the_end(case):
    found, end = whole(case.stream)
    assert sorted(found) == list(range(N))
    assert case.stream.read(end, 5, 0) == ([], end)


@given(cuts=cuts, restarts=st.sets(st.integers(0, 11)))
@few
def test_portions_and_restarts_change_nothing(case, cuts, restarts):
    expected, end = whole(case.stream)
    stream, position, seen = case.stream, case.stream.start(), []
    for number, count in enumerate(cuts):
        if number in restarts:
            close_clients()
            stream = pickle.loads(pickle.dumps(case.stream))
        found, after = stream.read(position, count, 0)
        again, same = stream.read(position, count, 0)
        assert (ids(found), after) == (ids(again), same)
        text = json.dumps(after)
        assert len(text) < 300
        position, seen = json.loads(text), seen + ids(found)
    assert seen == expected[: len(seen)]
    assert len(seen) == min(N, sum(cuts))
    rest, last = stream.read(position, 1000, 0)
    assert (seen + ids(rest), last) == (expected, end)


def test_reading_waits_for_events(case):
    if case.add is None:
        pytest.skip("what an iterator gives is known to it alone")
    _, end = whole(case.stream)
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.extend(case.stream.read(end, 3, 60.0)[0]))
    reader.start()
    case.add([1000, 1001, 1002])
    reader.join(50)
    assert sorted(ids(found)) == [1000, 1001, 1002]


@pytest.mark.parametrize("position", [None, "a", {}, {"other": 1}, {"taken": "x"}, {"id": "1"}, {"file": "../x"}])
def test_the_position_of_something_else_is_refused(case, position):
    with pytest.raises(Exception, match="position must (be one of a|hold the next offset)") as refused:
        case.stream.read(position, 1, 0)
    assert type(refused.value).__name__ == "DataError"
