"""Connections to servers, opened once per process and closed at its end. They never decide what is read."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from ladle.core.errors import ArgumentError, must

_OPEN: dict[tuple[Any, ...], Any] = {}
_LOCK = threading.RLock()


def kept(key: tuple[Any, ...], open: Callable[[], Any]) -> Any:
    """The client of this process under `key`, which `open` makes when there is none. It must have `close()`.

    A forked child opens its own: a socket that two processes read from serves neither.
    """
    mine = (os.getpid(), *key)
    with _LOCK:
        if mine not in _OPEN:
            _OPEN[mine] = open()
        return _OPEN[mine]


def dropped(key: tuple[Any, ...]) -> None:
    """Close and forget the client under `key`: the next read opens a new one."""
    with _LOCK:
        client = _OPEN.pop((os.getpid(), *key), None)
    if client is not None:
        with contextlib.suppress(Exception):  # It is broken already; whatever it says now is no news.
            client.close()


@atexit.register
def close_clients() -> None:
    """Close all clients that this process opened."""
    for process, *key in list(_OPEN):
        if process == os.getpid():
            dropped(tuple(key))


def needs(library: str, argument: str, extra: str) -> ArgumentError:
    """The error for a library that is not installed."""
    why, remedy = f"{library} speaks to the server", f"pip install 'ladle[{extra}]'"
    return ArgumentError(must(argument, f"be used with {library} installed", "no such library", why, remedy))


def check_since(since: str) -> None:
    if since not in ("first", "now"):
        why, remedy = "a run starts with the oldest event or with the next one", "since='first'"
        raise ArgumentError(must("since", "be 'first' or 'now'", since, why, remedy))


def until(wait_seconds: float) -> Callable[[], float]:
    """A function that says how many seconds are left of `wait_seconds` from now on; negative when none are.

    >>> until(float("inf"))()
    inf
    """
    end = time.monotonic() + wait_seconds
    return lambda: end - time.monotonic()
