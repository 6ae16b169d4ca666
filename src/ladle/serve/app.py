"""`App`: addresses and what each answers, as an ASGI application.

    POST /predict                     JSON rows, or application/octet-stream: the bytes of a .npy file
    POST /v2/models/NAME/infer        Open Inference Protocol
    GET  /health  /metrics  /v2  /v2/health/live  /v2/health/ready  /v2/models/NAME  /v2/models/NAME/ready

Every response but /metrics is JSON. A refusal is `{"error": "one sentence"}` with a status of 4xx, or of 503 where the
server cannot answer in time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from ladle.core.errors import LadleError
from ladle.serve import bodies
from ladle.serve.desk import Desk, Ticket
from ladle.serve.served import Refused

JSON, BYTES = "application/json", "application/octet-stream"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"

DRAINED = 8
"""A body that is too large is still read to its end, and thrown away, up to so many times the limit: a client that is
cut off while it sends sees a broken connection rather than the answer."""

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class App:
    """Answers requests for the model of `desk`. `body_bytes`: the largest body that is read."""

    def __init__(self, desk: Desk, *, body_bytes: int) -> None:
        """Addresses hold the model's name."""
        self.desk, self.body_bytes = desk, body_bytes
        name = desk.served.name
        self._pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/health": self._health,
            "/metrics": self._metrics,
            "/v2": lambda: _json(200, {"name": "ladle", "version": "0.1", "extensions": []}),
            "/v2/health/live": lambda: _json(200, {"live": True}),
            "/v2/health/ready": self._ready,
            f"/v2/models/{name}": lambda: _json(200, bodies.v2_metadata(desk.served)),
            f"/v2/models/{name}/ready": self._ready,
        }
        self._infer = f"/v2/models/{name}/infer"

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """One request. Nothing that a client sends ends anything but that request."""
        if scope["type"] != "http":
            return
        headers: dict[str, str] = {}
        try:
            status, kind, body = await self._respond(scope, receive)
            self.desk.numbers.status(status)
        except Refused as refusal:
            status, headers = refusal.status, refusal.headers
            _, kind, body = _json(status, {"error": refusal.sentence})
            self.desk.numbers.status(status, refusal.why or "request")
        except _Gone:
            return
        except Exception:  # A bug of ours: said in the log, and in an answer that holds nothing of it.
            traceback.print_exc(file=sys.stderr)
            status, kind, body = _json(500, {"error": "the server failed; its log says how"})
            self.desk.numbers.status(500, "failed")
        fields = {"content-type": kind, "content-length": str(len(body)), **headers}
        raw = [(key.encode(), value.encode()) for key, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: Mapping[str, Any], receive: Receive) -> tuple[int, str, bytes]:
        path, method = scope["path"], scope["method"]
        if path == "/predict":
            _require(method, "POST", path)
            return 200, JSON, await self._predict(scope, receive)
        if path == self._infer:
            _require(method, "POST", path)
            return 200, JSON, await self._infer_v2(scope, receive)
        if path in self._pages:
            _require(method, "GET", path, "HEAD")
            return self._pages[path]()
        known = ", ".join(("/predict", self._infer, *self._pages))
        raise Refused(404, f"there is nothing at this address; there is {known}")

    async def _predict(self, scope: Mapping[str, Any], receive: Receive) -> bytes:
        kind = _kind_of(scope)
        if kind not in (JSON, BYTES, "application/x-npy", ""):
            raise Refused(415, f"rows come as {JSON} or {BYTES} (the bytes of a .npy file); got {kind[:80]!r}")
        body = await self._body(scope, receive)
        rows = bodies.npy_rows(body) if kind in (BYTES, "application/x-npy") else bodies.json_rows(body)
        return await self._asked(rows, bodies.json_answer)

    async def _infer_v2(self, scope: Mapping[str, Any], receive: Receive) -> bytes:
        kind = _kind_of(scope)
        if kind not in (JSON, ""):
            raise Refused(415, f"requests of the Open Inference Protocol come as {JSON} here; got {kind[:80]!r}")
        rows, asked = bodies.v2_rows(await self._body(scope, receive), self.desk.served)
        return await self._asked(rows, partial(bodies.v2_answer, name=self.desk.served.name, asked=asked))

    async def _asked(self, rows: Any, write: Callable[..., bytes]) -> bytes:
        """The body of the answer to `rows`."""
        try:
            inputs, count, remarks = self.desk.served.read(rows)
        except LadleError as error:
            raise Refused(422, str(error), why="rows") from None
        most = self.desk.control.largest
        if count > most:
            sentence = f"a request has at most {most:,} rows here; got {count:,}; send them in parts"
            raise Refused(413, sentence, why="rows")
        self.desk.require_room(count)
        ticket = Ticket(inputs, count, partial(write, remarks=remarks), asyncio.get_running_loop().create_future())
        self.desk.accept(ticket)
        return await ticket.future

    async def _body(self, scope: Mapping[str, Any], receive: Receive) -> bytes:
        """The whole body, where the server has room for a request at all: what is refused is not read first."""
        said = next((value for key, value in scope["headers"] if key == b"content-length"), b"")
        if said.isdigit() and int(said) > DRAINED * self.body_bytes:
            raise self._too_large(int(said))
        encoding = next((value for key, value in scope["headers"] if key == b"content-encoding"), b"identity")
        if encoding != b"identity":
            raise Refused(415, "bodies come as they are, not packed")
        parts, length = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            length += len(part)
            if length <= self.body_bytes:
                parts.append(part)
            elif length > DRAINED * self.body_bytes or not message.get("more_body"):
                raise self._too_large(length)
            if not message.get("more_body"):
                self.desk.require_room()
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self, length: int) -> Refused:
        sentence = f"a body has at most {self.body_bytes:,} bytes here; this one has {length:,} or more"
        return Refused(413, sentence, {"connection": "close"})

    def _health(self) -> tuple[int, str, bytes]:
        desk = self.desk
        state = "ready" if desk.works else "stopping"
        told = {
            "status": state,
            "model": desk.served.name,
            "queued_rows": desk.queued,
            "p99_ms": desk.control.p99 * 1e3,
        }
        return _json(200 if desk.works else 503, told)

    def _ready(self) -> tuple[int, str, bytes]:
        return _json(200 if self.desk.works else 503, {"name": self.desk.served.name, "ready": self.desk.works})

    def _metrics(self) -> tuple[int, str, bytes]:
        control = self.desk.control
        gauges = {
            "ladle_queued_rows": (self.desk.queued, "Rows that wait."),
            "ladle_batch_limit_rows": (control.limit, "Rows that a batch may have now."),
            "ladle_budget_seconds": (control.budget, "What may be predicted of an answer."),
            "ladle_target_seconds": (control.target_seconds, "The p99 to hold."),
            "ladle_p99_seconds": (control.p99, "Of the last answers."),
            "ladle_line_fixed_seconds": (control.line.speed.fixed_seconds, "Of a batch, as things go now."),
            "ladle_line_row_seconds": (control.line.speed.per_example_seconds, "Of each row, likewise."),
            "ladle_loop_lag_seconds": (self.desk.lag, "How late the event loop is."),
        }
        return 200, _TEXT, self.desk.numbers.text(gauges).encode()


class _Gone(Exception):
    """The client hung up before its request was whole."""


def _json(status: int, value: Any) -> tuple[int, str, bytes]:
    return status, JSON, json.dumps(value, separators=(",", ":")).encode()


def _kind_of(scope: Mapping[str, Any]) -> str:
    said = next((value for key, value in scope["headers"] if key == b"content-type"), b"")
    return said.decode("latin-1").partition(";")[0].strip().lower()


def _require(method: str, wanted: str, path: str, *also: str) -> None:
    if method not in (wanted, *also):
        raise Refused(405, f"{path} is asked by {wanted}; got {method}", {"allow": ", ".join((wanted, *also))})
