"""`serve`: the board on a port of this machine, until it is interrupted."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from pathlib import Path

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import Server

from ladle.board.page import Page
from ladle.board.shelf import Outcome, Shelf
from ladle.core.errors import ArgumentError, must

TICK_MILLISECONDS, READING_MILLISECONDS = 1000, 60
"""From one look at the folder to the next; and while a long record is being read."""

LOOPBACK = ("127.0.0.1", "localhost")
EVERYWHERE = ("0.0.0.0",)


def make_server(root: Path, outcome: Outcome, *, port: int, address: str = "127.0.0.1") -> Server:
    """A server that listens already; `start()` and its loop make it answer. Port 0 takes a free one.

    - `outcome`: see `ladle.board.shelf`.

    Raises `ArgumentError` for a port that is taken or may not be had, and for an address that is not this machine's.
    """
    shelf = Shelf(root, outcome)
    application = Application(FunctionHandler(lambda document: _open(document, shelf)))
    for name in ("bokeh", "tornado.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # A page of another host, which a name server may point here, gets no answer.
    hosts = ("127.0.0.1", "localhost", *(() if address in LOOPBACK else (address,)))
    port = _require_free(address, port)
    origins = ["*"] if address in EVERYWHERE else [f"{host}:{port}" for host in hosts]
    return Server(
        {"/": application}, port=port, address=address, allow_websocket_origin=origins,
        unused_session_lifetime_milliseconds=10_000, check_unused_sessions_milliseconds=5_000,
    )  # fmt: skip


def serve(server: Server, ready: Callable[[str], None]) -> None:
    """Answer until an interrupt (Ctrl-C). `ready` is told the address once the server answers."""
    server.start()
    host = "localhost" if server.address in (*LOOPBACK, *EVERYWHERE) else server.address
    try:
        ready(f"http://{host}:{server.port}/")
        server.io_loop.start()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop(wait=False)


def _require_free(address: str, port: int) -> int:
    """`port`, or for 0 one that nobody listens on. The server itself would leave its socket open where it fails."""
    try:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address, port))
            one.listen()
            return int(one.getsockname()[1])
    except OSError as error:
        name, value, why, remedy = "port", port, error.strerror or str(error), f"port={port + 1}"
        if error.errno == errno.EADDRINUSE:
            why = "something else listens there, perhaps another board"
        elif error.errno in (errno.EACCES, errno.EPERM):
            remedy = "port=5006"
        else:
            name, value, remedy = "address", address, "address='127.0.0.1'"
        raise ArgumentError(must(name, "be free to listen on", value, why, remedy)) from None


def _open(document: Document, shelf: Shelf) -> None:
    """A new page: drawn at once, then kept up to date while it is open."""
    page = Page(document, shelf)

    def look(*_: object) -> None:
        page.tick()

    def read_on(*_: object) -> None:
        if page.tick():
            document.add_timeout_callback(read_on, READING_MILLISECONDS)

    def chosen(name: str, old: object, new: object) -> None:
        document.add_timeout_callback(read_on, READING_MILLISECONDS)

    document.add_periodic_callback(look, TICK_MILLISECONDS)
    document.add_timeout_callback(read_on, READING_MILLISECONDS)
    page.board.on_change("chosen", chosen)
