"""What processes tell each other through the key-value store of JAX's coordinator: values (`Talk`) and `Signs`.

Values are those of one's own run, pickled; processes of a run trust each other. The coordinator is not encrypted.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jax

from ladle.core.errors import RunError

PIECE = 1 << 20
"""Bytes of a value that travel at once."""

ABSENT = "NOT_FOUND"
LATE = "DEADLINE_EXCEEDED"
THERE = "ALREADY_EXISTS"


class Talk:
    """Values by name. `client`: JAX's, of this process. `alive()`: raises where waiting on has no sense."""

    def __init__(self, client: Any, alive: Callable[[], None]) -> None:
        self.client, self.alive = client, alive

    def put(self, key: str, value: Any) -> list[str]:
        """Leave `value` there; answers the names that it takes, for `drop`."""
        content = pickle.dumps(value)
        pieces = [content[at : at + PIECE] for at in range(0, len(content), PIECE)]
        names = [f"{key}/{number}" for number in range(len(pieces))]
        for name, piece in zip(names, pieces, strict=True):
            self.client.key_value_set_bytes(name, piece)
        self.client.key_value_set_bytes(key, str(len(pieces)).encode())  # Last: who finds it finds all.
        return [key, *names]

    def get(self, key: str, seconds: float) -> Any:
        """The value there, once it is. Raises `RunError` after `seconds`."""
        until = time.monotonic() + seconds
        count = int(self._waited(key, until))
        return pickle.loads(b"".join(self._waited(f"{key}/{number}", until) for number in range(count)))

    def drop(self, names: list[str]) -> None:
        for name in names:
            self.client.key_value_delete(name)

    def _waited(self, name: str, until: float) -> bytes:
        while time.monotonic() < until:
            try:
                return self.client.blocking_key_value_get_bytes(name, 1000)  # Short, so that Ctrl-C is heard.
            except jax.errors.JaxRuntimeError as error:
                if LATE not in str(error):
                    raise
            self.alive()
        raise RunError(f"nothing was heard of another process in time ({name})")


class Signs:
    """Implements `ladle.core.watch.Store`."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def set_timeout(self, timeout: timedelta, /) -> None:
        """Calls that do not wait have JAX's own."""

    def set(self, key: str, value: str, /) -> None:
        self.client.key_value_set(key, value, allow_overwrite=True)

    def get(self, key: str, /) -> bytes:
        return self.client.key_value_try_get(key).encode()

    def check(self, keys: list[str], /) -> bool:
        try:
            for key in keys:
                self.client.key_value_try_get(key)
        except jax.errors.JaxRuntimeError as error:
            if ABSENT not in str(error):
                raise
            return False
        return True

    def compare_set(self, key: str, expected: str, value: str, /) -> bytes:
        try:
            self.client.key_value_set(key, value)
        except jax.errors.JaxRuntimeError as error:
            if THERE not in str(error):
                raise
        return self.get(key)
