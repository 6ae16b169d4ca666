"""A trainer that is killed: it draws batches of a stream, and saves what it learned together with its cursor.

Run by `streams_test.py`: `python stream_consumer.py FOLDER KIND ADDRESS`. For each line on its input it forks a
trainer, prints the trainer's process id, and when that has ended its exit code: Python is started once, not after every
kill.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np

from ladle.core.cursor import Cursor
from ladle.core.spec import BatchSpec
from ladle.feed.stream.decode import Numbers
from ladle.feed.stream.feed import EndOfStream, StreamFeed
from ladle.feed.stream.kafka_log import KafkaTopic
from ladle.feed.stream.postgres_log import PostgresTable
from ladle.feed.stream.redis_log import RedisStream

SPEC = BatchSpec(size=16, micro_size=16)
EVERY = 5
"""Batches between two checkpoints."""

LIBRARIES = {"redis": "redis", "kafka": "confluent_kafka", "postgres": "psycopg"}
STREAMS = {
    "redis": lambda address: RedisStream(address, "events"),
    "kafka": lambda address: KafkaTopic(address, "events"),
    "postgres": lambda address: PostgresTable(address, "events", ("id",)),
}


def consume(folder: Path, kind: str, address: str) -> None:
    """Train until the stream ends. What happens is noted in `progress`: a line for start, each batch and checkpoint."""
    feed = StreamFeed(STREAMS[kind](address), Numbers(like={"id": np.int64(0)}), wait_seconds=0.02, idle_seconds=1.0)
    progress = os.open(folder / "progress", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(progress, b"start\n")
    cursor, counts = restore(folder) or (feed.start(), np.zeros(200_000, np.uint8))
    batches = 0
    while True:
        try:
            draw, cursor = feed.draw(cursor, SPEC)
        except EndOfStream:
            save(folder, cursor, counts)
            return
        for batch in draw.micro_batches(0, SPEC.micro_size):
            np.add.at(counts, batch.data["id"][: batch.real], 1)
        os.write(progress, b"batch %d\n" % cursor.drawn)
        batches += 1
        if batches % EVERY == 0:
            save(folder, cursor, counts)
            os.write(progress, b"saved\n")


def save(folder: Path, cursor: Cursor, counts: np.ndarray) -> None:
    """Cursor and counts in one file that is there whole or not at all."""
    content = io.BytesIO()
    np.savez(content, counts=counts, cursor=np.array(json.dumps(cursor.to_json())))
    (folder / "state.tmp").write_bytes(content.getvalue())
    os.replace(folder / "state.tmp", folder / "state.npz")


def restore(folder: Path) -> tuple[Cursor, np.ndarray] | None:
    if not (folder / "state.npz").exists():
        return None
    with np.load(folder / "state.npz") as state:
        return Cursor.from_json(json.loads(str(state["cursor"]))), state["counts"]


def serve(folder: Path, kind: str, address: str) -> None:
    importlib.import_module(LIBRARIES[kind])  # Once, not after every kill.
    assert "jax" not in sys.modules
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            consume(folder, kind, address)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), *sys.argv[2:])
