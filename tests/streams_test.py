"""Every event exactly once, whatever is killed: counted by id, against real servers that are written to meanwhile.

A trainer is killed twenty times with SIGKILL, each time some batches after it began, while others write to the log. It
goes on from its last checkpoint. In the end no event may be missing and none may have been counted twice.
Kafka's broker is librdkafka's mock cluster: the real client and protocol, without disk.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.servers import kafka_server, postgres_server, redis_server
from tests.stream_consumer import SPEC, restore

KILLS = 20
AHEAD = 32
"""How many events the writers may be ahead of the trainer: few, so that it reads where they write."""


class Log:
    """Events 0, 1, ... as several threads write them, until they are told to stop."""

    def __init__(self, progress: Path) -> None:
        self.progress, self.count, self.lock = progress, 0, threading.Lock()
        self.stop = threading.Event()
        self.failed: list[BaseException] = []

    def take(self, count: int) -> range | None:
        """Numbers for the next events, once the trainer is near; None at the end."""
        while not self.stop.is_set():
            with self.lock:
                if self.count - drawn(seen(self.progress)) < AHEAD:
                    self.count += count
                    return range(self.count - count, self.count)
            time.sleep(0.005)
        return None

    def take_back(self, count: int) -> None:
        with self.lock:
            self.count -= count

    @contextmanager
    def written(self, write: Callable[[range, random.Random], None], writers: int) -> Iterator[None]:
        def run(number: int) -> None:
            chance = random.Random(number)
            try:
                while ids := self.take(chance.randint(1, 8)):
                    write(ids, chance)
            except BaseException as error:
                self.failed.append(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(writers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()
        assert not self.failed


def seen(progress: Path) -> list[str]:
    """What trainers have noted so far, without a last line that is being written."""
    return progress.read_text().split("\n")[:-1] if progress.exists() else []


def batches(lines: list[str]) -> int:
    return sum(line.startswith("batch") for line in lines)


def drawn(lines: list[str]) -> int:
    """Events drawn by the trainer that came furthest."""
    return max((int(line.split()[1]) for line in lines if line.startswith("batch")), default=0)


@contextmanager
def trainer(folder: Path, kind: str, address: str) -> Iterator[Callable[[], tuple[int, Callable[[], int]]]]:
    """A function that starts a trainer: its process id, and what waits for its exit code."""
    path = os.pathsep.join([str(Path(__file__).parents[1] / "src"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("stream_consumer.py")), str(folder), kind, address],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdin and process.stdout
    ask, answer = process.stdin, process.stdout

    def start() -> tuple[int, Callable[[], int]]:
        ask.write("go\n")
        return int(answer.readline()), lambda: int(answer.readline())

    with process:
        yield start
        ask.close()


def killed_until_done(folder: Path, kind: str, address: str, log: Log, writing: Any) -> np.ndarray:
    """How often each event was counted by a trainer that was killed `KILLS` times while `writing`."""
    chance, progress, lost_work, sittings = random.Random(0), folder / "progress", 0, 0
    with trainer(folder, kind, address) as start:
        with writing:
            for _ in range(KILLS):
                before = seen(progress)
                goal = batches(before) + chance.randint(1, 12)
                process, ended = start()
                end = time.monotonic() + 60
                while batches(seen(progress)) < goal:
                    assert time.monotonic() < end, "the trainer stands still"
                    time.sleep(0.001)
                os.kill(process, signal.SIGKILL)
                assert ended() == -signal.SIGKILL
                sitting = seen(progress)[len(before) :]
                assert sitting[0] == "start" and batches(sitting)
                sittings += 1
                lost_work += sitting[-1].startswith("batch")
        assert start()[1]() == 0
    assert sittings == KILLS
    assert lost_work >= KILLS // 4, "kills have to fall between checkpoints"
    restored = restore(folder)
    assert restored is not None
    cursor, counts = restored
    assert cursor.drawn == counts.sum()
    return counts


def check_once(counts: np.ndarray, written: np.ndarray) -> None:
    assert len(written) > KILLS * SPEC.size
    expected = np.zeros_like(counts)
    expected[written] = 1
    lost, twice = np.flatnonzero(counts < expected), np.flatnonzero(counts > expected)
    assert (len(lost), len(twice)) == (0, 0), f"lost {lost[:10]}, twice {twice[:10]}"


@pytest.mark.slow
def test_redis(tmp_path):
    import redis

    with redis_server() as url, redis.Redis.from_url(url) as client:

        def write(ids: range, chance: random.Random) -> None:
            pipe = client.pipeline(transaction=False)
            for id in ids:
                pipe.xadd("events", {"id": id})
            pipe.execute()

        log = Log(tmp_path / "progress")
        counts = killed_until_done(tmp_path, "redis", url, log, log.written(write, writers=2))
        check_once(counts, np.arange(log.count))
        assert client.xlen("events") == log.count
        assert client.xinfo_groups("events") == []


@pytest.mark.slow
def test_kafka(tmp_path):
    with kafka_server() as (address, producer):

        def write(ids: range, chance: random.Random) -> None:
            for id in ids:
                producer.produce("events", json.dumps({"id": id}), partition=min(chance.randint(0, 5), 3))
            assert producer.flush(30) == 0

        log = Log(tmp_path / "progress")
        write(log.take(1) or range(0), random.Random(0))  # The topic comes into being.
        counts = killed_until_done(tmp_path, "kafka", address, log, log.written(write, writers=2))
        check_once(counts, np.arange(log.count))


@pytest.mark.slow
def test_postgres_with_four_writers_whose_transactions_overlap(tmp_path):
    import psycopg

    with postgres_server() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY (MINVALUE 0),"
            " xid xid8 NOT NULL DEFAULT pg_current_xact_id()); CREATE INDEX ON events (xid, id)"
        )
        mine = threading.local()

        def write(ids: range, chance: random.Random) -> None:
            """One transaction of several inserts, open for a while; some are rolled back."""
            if not hasattr(mine, "connection"):
                mine.connection = psycopg.connect(dsn)
                opened.append(mine.connection)
            for _ in ids:
                mine.connection.execute("INSERT INTO events DEFAULT VALUES")
                time.sleep(chance.random() * 0.005)
            if chance.random() < 0.9:
                mine.connection.commit()
            else:
                mine.connection.rollback()
                log.take_back(len(ids))

        log, opened = Log(tmp_path / "progress"), []
        counts = killed_until_done(tmp_path, "postgres", dsn, log, log.written(write, writers=4))
        written = np.array(connection.execute("SELECT id FROM events ORDER BY xid, id").fetchall())[:, 0]
        for each in opened:
            each.close()
        assert (np.diff(written) < 0).any(), "transactions have to overlap"
        check_once(counts, written)
