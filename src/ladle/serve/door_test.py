"""Bytes of a connection: what counts as the head of a request, however they come."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from ladle.serve.door import HEADER_BYTES, _Connection

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
BODY = b"a" * (2 * HEADER_BYTES)


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written, self.closed = b"", False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Answers any request when all of it is there."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def written(chunks: list[bytes]) -> bytes:
    """What a client that sends `chunks` is answered."""

    async def talk() -> bytes:
        config = uvicorn.Config(nothing, lifespan="off", log_config=None, log_level="critical", interface="asgi3")
        config.load()
        connection, transport = _Connection(config, ServerState(), {}), Transport()
        connection.connection_made(transport)
        for chunk in chunks:
            connection.data_received(chunk)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        connection.connection_lost(None)
        return transport.written

    return asyncio.run(talk())


@pytest.mark.parametrize("cut", [(len(HEAD % len(BODY)),), (), (10,), (10, len(HEAD % len(BODY)) + 5)])
def test_bytes_of_a_body_are_none_of_a_head(cut: tuple[int, ...]):
    whole = HEAD % len(BODY) + BODY
    chunks = [whole[start:stop] for start, stop in zip((0, *cut), (*cut, len(whole)), strict=True)]
    assert written(chunks).startswith(b"HTTP/1.1 200 ")
    assert written([*chunks, *chunks]).count(b"HTTP/1.1 200 ") == 2


def test_a_head_that_does_not_end_is_refused():
    chunks = [b"GET / HTTP/1.1\r\nx: ", *[b"a" * 1000] * (HEADER_BYTES // 1000 + 1)]
    assert written(chunks).startswith(b"HTTP/1.1 400 ") and b"head of a request" in written(chunks)
