"""A client in a process of its own, for measuring: a number of connections, each asking again once it is answered.

    python -m ladle.serve.asker PORT SECONDS NUM_CONNECTIONS        the request on standard input; one JSON line

Its time on the processor is that of the server's machine too, as a client's on the same machine would be.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections.abc import Sequence


def asked(port: int, request: bytes, seconds: float, connections: int) -> dict[str, object]:
    """Statuses by number, and the seconds of each answer with status 200, within `seconds`."""
    lines = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(connections)]
    took: list[float] = []
    statuses: dict[int, int] = {}
    with selectors.DefaultSelector() as ready:
        for line in lines:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(line, selectors.EVENT_READ, [time.perf_counter(), b""])
            line.sendall(request)
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            for key, _ in ready.select(end - now):
                status = _read(key, request, took)
                if status:
                    statuses[status] = statuses.get(status, 0) + 1
    for line in lines:
        line.close()
    return {"statuses": statuses, "seconds": sorted(took)}


def _read(key: selectors.SelectorKey, request: bytes, took: list[float]) -> int:
    """The status of an answer that is whole now, and the next request; 0 where more is to come."""
    line: socket.socket = key.fileobj  # type: ignore[assignment]
    data = line.recv(1 << 16)
    if not data:
        raise ConnectionError("the server closed a connection")
    key.data[1] += data
    head, found, rest = key.data[1].partition(b"\r\n\r\n")
    if not found or len(rest) < length_of(head):
        return 0
    now, status = time.perf_counter(), int(head[9:12])
    if status == 200:
        took.append(now - key.data[0])
    key.data[:] = [now, b""]
    line.sendall(request)
    return status


def length_of(head: bytes) -> int:
    """Bytes of a response's body, from its head.

    >>> length_of(b"HTTP/1.1 200 OK\\r\\nContent-Length: 12\\r\\nx: y")
    12
    """
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


def main(args: Sequence[str]) -> None:
    port, seconds, connections = args
    print(json.dumps(asked(int(port), sys.stdin.buffer.read(), float(seconds), int(connections))))


if __name__ == "__main__":
    main(sys.argv[1:])
