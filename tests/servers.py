"""Servers for tests: real ones, on a free port of this machine, with their data in a folder of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

POSTGRES_USER = "postgres"
"""The server refuses to run as root; there it runs as this user."""


def binary(name: str, package: str) -> str:
    """Path of a server. Without it tests are skipped; in continuous integration it must be there."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = shutil.which(name, path=os.pathsep.join([*map(str, reversed(versions)), os.environ.get("PATH", "")]))
    if found is None:
        say = f"{name} is not installed (Debian: apt-get install {package})"
        pytest.fail(say, pytrace=False) if os.environ.get("CI") else pytest.skip(say)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command: list[str], ready: Callable[[], bool], log: Path, as_user: str | None = None) -> Iterator[None]:
    """A server that has answered; ended at the end, and by the kernel where the tests themselves are killed."""
    guard = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
    if as_user and os.geteuid() == 0:
        guard = ["setpriv", "--reuid", as_user, "--regid", as_user, "--clear-groups", "--pdeathsig", "INT"]
    with log.open("wb") as output:
        server = subprocess.Popen([*guard, *command], stdout=output, stderr=output, cwd="/")
    try:
        end = time.monotonic() + 60
        while not ready():
            if server.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the server did not start: {log.read_text(errors='replace')[-2000:]}", pytrace=False)
            time.sleep(0.01)
        yield
    finally:
        server.send_signal(signal.SIGINT)  # Fast: without waiting for clients to leave.
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def redis_server() -> Iterator[str]:
    """The url of an empty Redis server."""
    import redis

    program, port = binary("redis-server", "redis-server"), free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        url = f"redis://127.0.0.1:{port}/0"

        def ready() -> bool:
            try:
                with redis.Redis.from_url(url) as client:
                    return bool(client.ping())
            except redis.RedisError:
                return False

        with running(command, ready, Path(folder) / "log"):
            yield url


@contextmanager
def postgres_server() -> Iterator[str]:
    """The dsn of an empty PostgreSQL database, whose writes need not outlive the machine."""
    import psycopg

    initdb, program, port = binary("initdb", "postgresql"), binary("postgres", "postgresql"), free_port()
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        if root:
            user = pwd.getpwnam(POSTGRES_USER)
            os.chown(folder, user.pw_uid, user.pw_gid)
        subprocess.run(
            [*(["setpriv", "--reuid", POSTGRES_USER, "--regid", POSTGRES_USER, "--clear-groups"] if root else []),
             initdb, "-D", str(data), "-A", "trust", "-U", "ladle", "-E", "UTF8", "--locale", "C", "--no-sync"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        settings = {
            "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off",
            "shared_buffers": "16MB", "autovacuum": "off", "max_wal_size": "128MB",
        }  # fmt: skip
        command = [program, "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]
        dsn = f"host=127.0.0.1 port={port} user=ladle dbname=postgres"

        def ready() -> bool:
            try:
                psycopg.connect(dsn).close()
            except psycopg.OperationalError:
                return False
            return True

        with running(command, ready, Path(folder) / "log", POSTGRES_USER):
            yield dsn


@contextmanager
def kafka_server() -> Iterator[tuple[str, object]]:
    """Addresses of librdkafka's mock cluster, and the producer in whose process it lives.

    The real client and the real protocol, for other processes as well. It is no broker: nothing is on disk, topics
    come into being when they are written to, with four partitions, and a partition keeps its last 5 MB.
    """
    from confluent_kafka import Producer

    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 2, "linger.ms": 1})
    brokers = producer.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers), producer
    producer.flush(10)
