"""Random (Poisson) requests to a server of this machine, from a process of its own: nobody waits for an answer.

    python serve_load.py HOST:PORT/PATH BODY_FILE RATE SECONDS [SEED]        prints one JSON line

A latency counts from the moment at which the request was due, so a generator or a server that is behind shows.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter, deque

import uvloop

PATIENCE_SECONDS = 10.0
MOST = 512
"""Connections at most; a request that finds none free waits for one, and the wait counts."""


class Line(asyncio.Protocol):
    """One kept connection; one request on it at a time."""

    def __init__(self, load: Load) -> None:
        self.load, self.due, self.held, self.busy = load, 0.0, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, due: float) -> None:
        self.due, self.held, self.busy = due, b"", True
        self.transport.write(self.load.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.held += data
        head, found, rest = self.held.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) >= length:
            self.busy = False
            self.load.done(self, int(head[9:12]), time.perf_counter() - self.due, b"connection: close" in lower)

    def connection_lost(self, error: Exception | None) -> None:
        self.load.lost(self)


class Load:
    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.host, self.port, self.request = host, port, request
        self.free: list[Line] = []
        self.lines: set[Line] = set()
        self.late: deque[float] = deque()
        self.opening = 0
        self.served: list[float] = []
        self.refused: list[float] = []
        self.statuses: Counter[str] = Counter()

    async def run(self, rate: float, seconds: float, seed: int) -> dict[str, object]:
        chance, start = random.Random(seed), time.perf_counter()
        due, end, asked = start, start + seconds, 0
        while (due := due + chance.expovariate(rate)) < end:
            wait = due - time.perf_counter()
            if wait > 0.0005:
                await asyncio.sleep(wait)
            elif asked % 50 == 0:
                await asyncio.sleep(0)
            asked += 1
            self.ask(due)
        until = time.perf_counter() + PATIENCE_SECONDS
        while (self.late or any(one.busy for one in self.lines)) and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        return self.told(asked)

    def ask(self, due: float) -> None:
        if self.free:
            self.free.pop().ask(due)
            return
        self.late.append(due)
        if len(self.lines) + self.opening < MOST:
            self.opening += 1
            asyncio.get_running_loop().create_task(self.open())

    async def open(self) -> None:
        try:
            _, line = await asyncio.get_running_loop().create_connection(lambda: Line(self), self.host, self.port)
        except OSError:
            self.opening -= 1
            if self.late:
                self.late.popleft()
                self.statuses["no connection"] += 1
            return
        self.opening -= 1
        self.lines.add(line)
        self.next(line)

    def next(self, line: Line) -> None:
        if self.late:
            line.ask(self.late.popleft())
        else:
            self.free.append(line)

    def done(self, line: Line, status: int, seconds: float, closing: bool) -> None:
        self.statuses[str(status)] += 1
        (self.served if status == 200 else self.refused).append(seconds)
        if not closing:
            self.next(line)

    def lost(self, line: Line) -> None:
        self.lines.discard(line)
        if line in self.free:
            self.free.remove(line)
        if line.busy:
            self.statuses["broken"] += 1

    def told(self, asked: int) -> dict[str, object]:
        def at(values: list[float], share: float) -> float | None:
            return sorted(values)[min(int(share * len(values)), len(values) - 1)] * 1e3 if values else None

        open_still = sum(one.busy for one in self.lines) + len(self.late)
        return {
            "asked": asked, "served": len(self.served), "refused": len(self.refused), "unanswered": open_still,
            "p50_ms": at(self.served, 0.5), "p99_ms": at(self.served, 0.99), "p999_ms": at(self.served, 0.999),
            "refused_p99_ms": at(self.refused, 0.99), "statuses": dict(self.statuses),
        }  # fmt: skip


def main() -> None:
    where, file, rate, seconds, *seed = sys.argv[1:]
    address, _, path = where.partition("/")
    host, _, port = address.partition(":")
    with open(file, "rb") as held:
        body = held.read()
    head = f"POST /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"

    async def all_() -> dict[str, object]:
        load = Load(host, int(port), head.encode() + body)
        return await load.run(float(rate), float(seconds), int(seed[0]) if seed else 0)

    print(json.dumps(uvloop.run(all_())))


if __name__ == "__main__":
    main()
