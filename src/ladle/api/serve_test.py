"""A trained model behind a real port: its own answers bit for bit, and one clear refusal for whatever is malformed."""

from __future__ import annotations

import gc
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.load import load
from ladle.api.serve import ServedModel, service
from ladle.core.errors import ArgumentError
from ladle.serve import door, forecast
from ladle.serve.app import App
from ladle.serve.control import Controller, Line
from ladle.serve.desk import Desk
from ladle.serve.numbers import Numbers

JSON, BYTES = "application/json", "application/octet-stream"
LARGEST, BODY_BYTES = 16, 1 << 16
LINE = {1: 1e-3, 16: 2e-3}
"""Of no machine: whatever this one does, a minute is kept."""


def app_of(folder: Path) -> App:
    served = ServedModel(load(folder), "m")
    return App(Desk(served, Controller(60.0, Line(LINE), LARGEST), Numbers()), body_bytes=BODY_BYTES)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = ladle.data.load("digits")
    task = ladle.Task(ladle.models.mlp(64, 32, 10), None, data)
    return ladle.fit(task, size=64, until="1 epochs").save(tmp_path_factory.mktemp("digits") / "m")


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("houses")
    rng = np.random.default_rng(0)
    lines = [
        f"{area:.1f},{town},{3000 * area:.0f}" for area, town in zip(rng.uniform(30, 200, 100), "ab" * 50, strict=True)
    ]
    (folder / "houses.csv").write_text("area,town,price\n" + "\n".join(lines) + "\n")
    data = ladle.data.load(str(folder / "houses.csv"), target="price")
    task = ladle.Task(ladle.models.linear(*data.input_shape, data.outputs), None, data)
    return ladle.fit(task, size=32, until="1 epochs").save(folder / "m")


@pytest.fixture(scope="module")
def port(digits: Path) -> Iterator[int]:
    with door.Opened(app_of(digits)) as server:
        yield server.port


@pytest.fixture(scope="module")
def houses_port(houses: Path) -> Iterator[int]:
    with door.Opened(app_of(houses)) as server:
        yield server.port


def ask(port: int, body: Any, kind: str = JSON, path: str = "/predict", method: str = "POST", **more: str) -> Any:
    """Status and value of a response."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        line.request(method, path, body, {**({"content-type": kind} if kind else {}), **more})
        response = line.getresponse()
        held = response.read()
        assert len(held) == int(response.headers["content-length"])
        return response.status, json.loads(held) if response.headers["content-type"] == JSON else held.decode()
    finally:
        line.close()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 13, 16])
def test_answers_are_the_models_own_bit_for_bit_at_every_rung(port: int, digits: Path, rows: int):
    model, x = load(digits), np.asarray(ladle.data.load("digits").valid["x"])[:rows]
    rung = 1 << (rows - 1).bit_length()
    whole = np.concatenate([x, np.repeat(x[-1:], rung - rows, 0)])
    bodies = [(npy(x), BYTES), ([row.astype(float).tolist() for row in x], JSON), (npy(np.asfortranarray(x)), BYTES)]
    for body, kind in bodies:
        status, told = ask(port, body, kind)
        assert status == 200 and told["predictions"] == model.predict(whole)[:rows].tolist()
        assert told["chances"] == model.predict_proba(whole)[:rows].tolist()


def test_one_row_is_a_row(port: int, digits: Path):
    x = np.asarray(ladle.data.load("digits").valid["x"])[:1]
    nested, flat = x.astype(float).tolist(), x[0].reshape(-1).astype(float).tolist()
    told = [ask(port, nested[0]), ask(port, npy(x[0]), BYTES), ask(port, nested), ask(port, flat), ask(port, [flat])]
    assert all(one == told[0] for one in told) and told[0][1]["predictions"] == load(digits).predict(x).tolist()


def v2(data: Any, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"id": "7", "inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": data, **more}]}


def test_the_open_inference_protocol(port: int, digits: Path):
    x = np.asarray(ladle.data.load("digits").valid["x"])[:2]
    flat = x.reshape(-1).astype(float).tolist()
    status, told = ask(port, v2(flat, [2, 64]), path="/v2/models/m/infer")
    assert status == 200 and (told["id"], told["model_name"]) == ("7", "m")
    outputs = {one["name"]: one for one in told["outputs"]}
    model = load(digits)
    assert outputs["predictions"] == {"name": "predictions", "datatype": "INT64", "shape": [2],
                                      "data": model.predict(x).tolist()}  # fmt: skip
    assert outputs["chances"]["shape"] == [2, 10]
    assert outputs["chances"]["data"] == model.predict_proba(x).reshape(-1).tolist()
    nested = ask(port, v2(x.astype(float).tolist(), [2, 8, 8]), path="/v2/models/m/infer")[1]
    assert nested == told
    status, about = ask(port, None, "", "/v2/models/m", "GET")
    assert status == 200 and about["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 8, 8]}]
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready", "/health"):
        assert ask(port, None, "", path, "GET")[0] == 200


def test_rows_of_a_table_as_they_are(houses_port: int, houses: Path):
    model = load(houses)
    columns = {"town": ["b", "elsewhere"], "area": [50, None], "more": [1, 2]}
    status, told = ask(houses_port, columns)
    assert status == 200 and told["predictions"] == model.predict(columns).tolist()
    remarks = "; ".join(told["remarks"])
    assert "town: 1 cells hold categories" in remarks and "area: 1 cells are missing" in remarks
    one = {"town": "b", "area": 50}
    assert ask(houses_port, one)[1] == ask(houses_port, [one])[1] == {"predictions": model.predict([one]).tolist()}
    inputs = [
        {"name": "area", "shape": [2], "datatype": "FP64", "data": [50, None]},
        {"name": "town", "shape": [2], "datatype": "BYTES", "data": ["b", "elsewhere"]},
    ]
    status, protocol = ask(houses_port, {"inputs": inputs}, path="/v2/models/m/infer")
    assert status == 200 and protocol["outputs"][0]["data"] == told["predictions"]
    for bad, word in (({"town": ["b"]}, "area"), ({"area": ["large"], "town": ["b"]}, "number"), ([[1, 2]], "columns")):
        status, told = ask(houses_port, bad)
        assert status == 422 and word in told["error"]


GOOD = [0.5] * 64
CLAIM = b"{'descr': '<f8', 'fortran_order': False, 'shape': (5000000000000, 1), }"
HUGE = b"\x93NUMPY\x01\x00v\x00" + CLAIM.ljust(117) + b"\n"
INPUT = v2(GOOD, [1, 64])["inputs"][0]
INFER = {"path": "/v2/models/m/infer"}
MALFORMED: dict[str, tuple[int, dict[str, Any]]] = {
    "nothing": (400, {"body": b""}),
    "no JSON": (400, {"body": b'{"a": [1, '}),
    "not a number of JSON": (400, {"body": b"[" + b"NaN," * 63 + b"1]"}),
    "a name twice": (400, {"body": b'{"a": [1], "a": [2]}'}),
    "too deep": (400, {"body": b"[" * 50_000}),
    "no text": (400, {"body": b'["\xff\xfe"]'}),
    "a number of too many digits": (400, {"body": b"[" + b"9" * 5000 + b"]"}),
    "the path of a file": (422, {"body": "/etc/passwd"}),
    "one number": (422, {"body": 7}),
    "no row": (422, {"body": []}),
    "rows of unequal length": (422, {"body": [GOOD, GOOD[:-1]]}),
    "too narrow": (422, {"body": [[1.0, 2.0]]}),
    "words": (422, {"body": ["a"] * 64}),
    "a cell missing": (422, {"body": [*GOOD[:-1], None]}),
    "not finite": (422, {"body": b"[" + b"1e999," * 63 + b"1]"}),
    "columns of an array": (422, {"body": {"a": [1], "b": [2]}}),
    "too many rows": (413, {"body": [[0] * 64] * (LARGEST + 1)}),
    "too large": (413, {"body": b"[" + b"1," * BODY_BYTES + b"1]"}),
    "far too large": (413, {"body": None, "content-length": str(1 << 40), "method": "POST"}),
    "another kind": (415, {"body": b"a=1", "kind": "application/x-www-form-urlencoded"}),
    "packed": (415, {"body": [GOOD], "content-encoding": "gzip"}),
    "no .npy": (400, {"body": b"PK\x03\x04" + b"\0" * 60, "kind": BYTES}),
    "a .npy cut off": (400, {"body": npy(np.zeros((2, 64)))[:-8], "kind": BYTES}),
    "a .npy of 40 TB": (400, {"body": HUGE, "kind": BYTES}),
    "a .npy of objects": (400, {"body": npy(np.array([{}], object)), "kind": BYTES}),
    "a .npy of words": (422, {"body": npy(np.array([["a"] * 64])), "kind": BYTES}),
    "a .npy of another shape": (422, {"body": npy(np.zeros((2, 3))), "kind": BYTES}),
    "a .npy of one number": (422, {"body": npy(np.float32(1)), "kind": BYTES}),
    "a .npy that is not finite": (422, {"body": npy(np.full((1, 64), np.nan)), "kind": BYTES}),
    "no inputs": (400, {"body": {"inputs": []}, **INFER}),
    "no shape": (400, {"body": {"inputs": [{"name": "x", "datatype": "FP32", "data": GOOD}]}, **INFER}),
    "another shape": (422, {"body": v2(GOOD, [2, 64]), **INFER}),
    "another type": (422, {"body": v2(GOOD, [1, 64], datatype="COMPLEX"), **INFER}),
    "fractions for whole numbers": (422, {"body": v2(GOOD, [1, 64], datatype="INT32"), **INFER}),
    "beyond the type": (422, {"body": v2([300] * 64, [1, 64], datatype="UINT8"), **INFER}),
    "two inputs": (422, {"body": {"inputs": [INPUT, {**INPUT, "name": "z"}]}, **INFER}),
    "another model": (404, {"body": v2(GOOD, [1, 64]), "path": "/v2/models/other/infer"}),
    "another address": (404, {"body": [GOOD], "path": "/predict/more"}),
    "another method": (405, {"body": None, "method": "GET"}),
    "a page that is posted to": (405, {"body": b"{}", "path": "/metrics"}),
}
POST = b"POST /predict HTTP/1.1\r\nhost: x\r\n"
RAW = {
    "no HTTP": b"hello there\r\n\r\n",
    "two lengths": POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\n12",
    "a length that is none": POST + b"content-length: -5\r\n\r\n",
    "a chunk that is none": POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n1\r\n0\r\n\r\n",
    "a head without end": b"GET /health HTTP/1.1\r\nx: " + b"a" * (door.HEADER_BYTES + (1 << 12)),
}


def raw(port: int, data: bytes) -> int:
    with socket.create_connection(("127.0.0.1", port), 60) as line:
        line.sendall(data)
        return int(line.recv(1 << 12).split()[1])


def require_refused(port: int, kind: str) -> None:
    if kind in RAW:
        assert raw(port, RAW[kind]) == 400
        return
    wanted, asked = MALFORMED[kind]
    status, told = ask(port, **asked)
    assert status == wanted, told
    assert set(told) == {"error"} and "\n" not in told["error"] and "Traceback" not in told["error"]
    assert 10 < len(told["error"]) < 500


@pytest.mark.parametrize("kind", [*MALFORMED, *RAW])
def test_a_malformed_request_is_one_clear_refusal_and_the_next_is_answered(port: int, kind: str):
    require_refused(port, kind)
    assert ask(port, GOOD)[0] == 200


@pytest.mark.long
def test_a_thousand_malformed_requests_leave_nothing_behind(digits: Path):
    with door.Opened(app_of(digits)) as server:
        kinds = [*MALFORMED, *RAW]
        for kind in kinds * 2:
            require_refused(server.port, kind)
        gc.collect()
        before = len(gc.get_objects())
        for at in range(1000):
            require_refused(server.port, kinds[at % len(kinds)])
        assert ask(server.port, GOOD)[0] == 200
        gc.collect()
        assert len(gc.get_objects()) < before + 2000


def test_what_is_accepted_when_the_server_stops_is_answered(digits: Path, monkeypatch: pytest.MonkeyPatch):
    gate, begun = threading.Event(), threading.Event()
    compute = ServedModel.compute

    def slow(self: ServedModel, inputs: Any) -> np.ndarray:
        begun.set()
        assert gate.wait(60)
        return compute(self, inputs)

    monkeypatch.setattr(ServedModel, "compute", slow)
    app = app_of(digits)
    server = door.Opened(app)
    with server:
        found: list[Any] = []
        askers = [threading.Thread(target=lambda: found.append(ask(server.port, GOOD))) for _ in range(12)]
        askers[0].start()
        assert begun.wait(60)  # Alone in its batch: the others wait.
        for one in askers[1:]:
            one.start()
        while app.desk.queued < 11:
            time.sleep(0.001)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        gate.set()
        for one in (*askers, stopping):
            one.join(60)
    assert [status for status, _ in found] == [200] * 12
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), 5)


def test_metrics_are_text_for_prometheus(port: int):
    ask(port, GOOD)
    status, text = ask(port, None, "", "/metrics", "GET")
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert status == 200 and int(lines['ladle_responses_total{code="200"}']) >= 1
    assert float(lines["ladle_target_seconds"]) == 60.0 and int(lines["ladle_latency_seconds_count"]) >= 1


def test_a_service_is_warm_measured_and_says_what_it_bears(digits: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(door, "ASKED_SECONDS", 0.05)
    monkeypatch.setattr(forecast, "CONNECTIONS", (1, 2))
    made = service(digits, p99_ms=60_000, batch=4)
    assert set(made.warmed.seconds) == {1, 2, 4} and made.plan.limit == 4
    assert made.plan.capacity is not None and made.plan.capacity > 0
    assert made.plan.explain().splitlines()[-1].startswith("capacity  ")


@pytest.mark.parametrize(
    ("asked", "word"),
    [({"p99_ms": 0}, "positive"), ({"batch": 0}, "at least 1"), ({"batch": 2000}, "at most 1,024"),
     ({"p99_ms": 1e-3}, "within reach"), ({"body_mb": float("nan")}, "positive")],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_before(digits: Path, asked: dict[str, Any], word: str):
    with pytest.raises(ArgumentError, match=word):
        service(digits, fast=True, **asked)


def test_a_port_that_is_taken_is_refused_in_one_sentence(port: int):
    with pytest.raises(ArgumentError, match="in use"):
        door.bound("127.0.0.1", port)
    with pytest.raises(ArgumentError, match="port must be free"):
        door.bound("127.0.0.1", 99_999)
