"""The port: uvicorn around `App`. The one file that knows uvicorn.

A connection that takes more than `HEADER_BYTES` to say what it wants is refused, one that takes longer than
`REQUEST_SECONDS` is closed. SIGTERM and ctrl-C stop it gracefully: nothing new is accepted, what was is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ladle.core.errors import ArgumentError, must
from ladle.serve.app import App
from ladle.serve.desk import Desk
from ladle.serve.forecast import Load

HEADER_BYTES = 64 << 10
REQUEST_SECONDS = 30.0
STOP_SECONDS = 30.0
"""After which a graceful stop no longer waits for clients that do not take their answers."""

TICK_SECONDS = 0.005
"""Between two looks at how late the event loop is."""

SWITCH_SECONDS = 0.0005
"""How long one thread may keep Python to itself: five milliseconds, the usual, are a quarter of a target of twenty."""

ASKED_SECONDS = 0.4
"""For which each number of connections is tried, beforehand."""


def bound(host: str, port: int) -> socket.socket:
    """A socket with its address, which nobody can connect to yet. Port 0 is any free one. Raises `ArgumentError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        why = getattr(error, "strerror", None) or str(error)
        remedy = "port=0 for any free one" if isinstance(error, OSError) and error.errno == 98 else "host='127.0.0.1'"
        raise ArgumentError(must("port", "be free at the host", f"{host}:{port}", why, remedy)) from None
    made.set_inheritable(False)
    return made


def run(app: App, at: socket.socket, opened: Callable[[int], None]) -> None:
    """Serve until SIGTERM or ctrl-C. `opened(port)` is called once the port is open."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        _Server(app, opened).run(sockets=[at])
    finally:
        sys.setswitchinterval(before)


class _Connection(HttpToolsProtocol):
    """A connection whose requests are bounded in bytes of head and in seconds. `began`: when the one at work did."""

    began: float | None = None
    _head_bytes = 0
    _in_head = True
    _heads = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.began = time.monotonic()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.began is None:
            self.began = time.monotonic()
        of_head, heads = self._in_head, self._heads
        super().data_received(data)
        of_head = of_head and self._heads == heads  # A head that ended in these bytes was short enough to be read.
        self._head_bytes = self._head_bytes + len(data) if of_head else 0
        if self._head_bytes > HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {HEADER_BYTES:,} bytes here.")

    def on_headers_complete(self) -> None:
        self._in_head, self._heads = False, self._heads + 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes, self.began = True, 0, None
        super().on_message_complete()


class _Server(uvicorn.Server):
    def __init__(self, app: App, opened: Callable[[int], None]) -> None:
        """Nothing is open yet."""
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                http=_Connection,
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,  # A configuration of its own would close everyone's handlers of logs.
                log_level="critical",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=int(STOP_SECONDS),
            )
        )
        self.desk: Desk = app.desk
        self._opened = opened

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.desk.open(loop)
        await super().startup(sockets)
        self._watch = loop.create_task(self._watched())
        assert sockets
        self._opened(sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._watch.cancel()
        await asyncio.to_thread(self.desk.close)

    async def _watched(self) -> None:
        """How late the loop is, now; and connections that take too long are closed."""
        swept = time.monotonic()
        while True:
            due = time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self.desk.woken(time.perf_counter() - due, TICK_SECONDS)
            now = time.monotonic()
            if now - swept > 1:
                swept = now
                for one in list(self.server_state.connections):
                    began = getattr(one, "began", None)
                    if began is not None and now - began > REQUEST_SECONDS:
                        one.transport.close()  # type: ignore[union-attr]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal, and end as a program that did what it was asked; a second ctrl-C waits for nobody."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        old = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.should_exit = True


class Opened:
    """A server in a thread of its own, on loopback: `with Opened(app) as port`. For measuring, and for tests."""

    def __init__(self, app: App, at: socket.socket | None = None) -> None:
        """`at`: where; any free port of loopback where left out."""
        self.app, self._at = app, at or bound("127.0.0.1", 0)
        self._ready = threading.Event()
        self.port = 0
        self._server = _Server(app, self._open)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._at]}, name="door")

    def _open(self, port: int) -> None:
        self.port, self._loop = port, asyncio.get_running_loop()
        self._ready.set()

    def __enter__(self) -> Opened:
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError("the server did not open its port")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """As SIGTERM would, and wait."""
        self._server.should_exit = True
        self._thread.join()

    def load(self, body: bytes, connections: int) -> Load:
        """Ask for predictions over so many connections at once, from a process of its own."""
        head = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\n\r\n"
        command = [sys.executable, "-m", "ladle.serve.asker", str(self.port), str(ASKED_SECONDS), str(connections)]
        done = subprocess.run(command, input=head.encode() + body, capture_output=True, check=True, env=_paths())
        told = json.loads(done.stdout)
        took, count = told["seconds"], sum(told["statuses"].values())
        if not took:
            return Load(connections, 0.0, math.inf, math.inf, 1.0)
        p50, p99 = (took[min(int(share * len(took)), len(took) - 1)] for share in (0.5, 0.99))
        return Load(connections, len(took) / ASKED_SECONDS, p50, p99, 1 - len(took) / count)


def _paths() -> dict[str, str]:
    """The environment of a child that finds the ladle of this process."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
