"""Servers of one model asked at random moments: who answers within 20 ms, and what becomes of the rest.

Claim: `ladle serve` holds its p99 target at every load below the capacity that it stated, and stays up at twice that.

    python benchmarks/serving.py [--quick] [--only NAME ...]        NAME of: ladle mosec litserve bentoml

Hardware and every sample: `results/serving.json`. The model is a perceptron 784-2048-2048-10, a request one row as
JSON, asked by `peers/serve_load.py`, a process of its own on the same two cores: Poisson arrivals at 50, 200, 400 and
800 a second, 5 s each, n = 1 (`turns` in `main`). Latencies count from the moment a request was due. The others are
written by hand (`peers/serve_*.py`): batches of 64 padded to powers of two, warm, 1 ms of waiting (BentoML: its own
rule below 100 ms), no controller. Then ladle alone: at 0.9 of its stated capacity, at twice it for 60 s, at half of it.
"own" is the share answered in time as ladle counts it, from a request's last byte: what differs from the generator's
count is the generator itself and the network's stack, on the same cores.

LitServe and BentoML are taken from the interpreter that SERVE_PEERS names, where it does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from timing import HERE, arguments, headline, save, table

import ladle

LOADS, TARGET_MS = (50, 200, 400, 800), 20
PEERS = HERE / "peers"


def made(folder: Path) -> None:
    """The model, its weights for the others, and the body of a request."""
    rng = np.random.default_rng(0)
    x, y = rng.random((512, 784), dtype=np.float32), rng.integers(0, 10, 512)
    task = ladle.Task(ladle.models.mlp(784, 2048, 2048, 10), None, ladle.data.arrays(x, y), optimizer="sgd", lr=0.01)
    run = ladle.fit(task, size=64, until="1 epochs")
    run.save(folder / "model")
    model = run.model
    arrays = list(model.engine.weights(model.state).values())
    matrices = [one for one in arrays if one.ndim == 2]
    sizes = [one.shape[1] for one in matrices]
    biases = [next(one for one in arrays if one.shape == (size,)) for size in sizes]
    if sizes[0] == sizes[1]:  # Two layers of one width: their biases in order.
        biases[:2] = [one for one in arrays if one.shape == (sizes[0],)]
    order = {f"w{at}": one for at, one in enumerate(matrices)} | {f"b{at}": one for at, one in enumerate(biases)}
    np.savez(folder / "weights.npz", **order)
    row = [round(float(value), 3) for value in x[0]]
    (folder / "body.json").write_text(json.dumps(row))
    (folder / "chances.json").write_text(json.dumps(model.predict_proba(np.array([row], np.float32))[0].tolist()))
    (folder / "rows.json").write_text(json.dumps({"rows": [row]}))


def command(name: str, folder: Path, port: int) -> list[str] | None:
    """What starts a server; None where it is not installed."""
    peer = os.environ.get("SERVE_PEERS", "")
    if name == "ladle":
        wanted = ["serve", str(folder / "model"), "--p99-ms", str(TARGET_MS), "--port", str(port)]
        return [sys.executable, "-m", "ladle.cli.main", *wanted, "--json"]
    if name == "mosec":
        wanted = ["--address", "127.0.0.1", "--port", str(port), "--timeout", "10000", "--log-level", "error"]
        return [sys.executable, str(PEERS / "serve_mosec.py"), *wanted]
    if not peer:
        return None
    if name == "litserve":
        return [peer, str(PEERS / "serve_litserve.py"), str(port)]
    bento = shutil.which("bentoml", path=str(Path(peer).parent))
    return bento and [bento, "serve", "serve_bentoml:Model", "--port", str(port), "--host", "127.0.0.1"]


@contextmanager
def server(name: str, folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """A server that answers, its port, and what it said beforehand."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = command(name, folder, port)
    assert started is not None
    environment = {**os.environ, "SERVE_WEIGHTS": str(folder / "weights.npz"), "BENTOML_DO_NOT_TRACK": "1"}
    log = folder / f"{name}.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            started, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=PEERS, process_group=0
        )
    try:
        for _ in range(300):
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended:\n{log.read_text()[-2000:]}")
            if answers(port, body_of(name, folder)):
                break
            time.sleep(0.2)
        else:
            raise RuntimeError(f"{name} did not answer:\n{log.read_text()[-2000:]}")
        yield port, json.loads(log.read_text().splitlines()[-1]) if name == "ladle" else {}
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def body_of(name: str, folder: Path) -> Path:
    return folder / ("rows.json" if name == "bentoml" else "body.json")


def answers(port: int, body: Path) -> bool:
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body.read_bytes())
    asked.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            said = response.read().decode()
    except OSError:
        return False
    told = [float(one) for one in re.findall(r"[-+\d.e]+", said.partition('"chances":')[2].partition('"')[0])]
    np.testing.assert_allclose(told, json.loads((body.parent / "chances.json").read_text()), rtol=1e-3, atol=1e-6)
    return True


def load(name: str, folder: Path, port: int, rate: float, seconds: float, seed: int = 0) -> dict[str, Any]:
    program = [sys.executable, str(PEERS / "serve_load.py"), f"127.0.0.1:{port}/predict"]
    wanted = [str(body_of(name, folder)), str(rate), str(seconds), str(seed)]
    before = counted(port) if name == "ladle" else (0, 0)
    done = subprocess.run([*program, *wanted], capture_output=True, text=True, check=True)
    told = {"name": name, "rate": rate, "seconds": seconds, "load_average": os.getloadavg()[0]}
    if name == "ladle":
        answers, within = (after - start for after, start in zip(counted(port), before, strict=True))
        told["own_share_within_target"] = within / max(answers, 1)
    return {**told, **json.loads(done.stdout)}


def counted(port: int) -> tuple[int, int]:
    """Answers so far, and those within the target, as ladle itself counts them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        lines = dict(line.rsplit(" ", 1) for line in response.read().decode().splitlines() if line[0] != "#")
    held = lines[f'ladle_latency_seconds_bucket{{le="{TARGET_MS / 1e3}"}}']
    return int(lines["ladle_latency_seconds_count"]), int(held)


def main() -> None:
    options = arguments(__doc__)
    seconds, turns, long = (3, 1, 10) if options.quick else (5, 1, 60)
    samples: list[dict[str, Any]] = []
    with TemporaryDirectory() as held:
        folder = Path(held)
        made(folder)
        names = [name for name in options.only or ("ladle", "mosec", "litserve", "bentoml") if command(name, folder, 0)]
        for turn in range(turns):
            for name in names:
                with server(name, folder) as (port, told):
                    found = [load(name, folder, port, rate, seconds, turn) for rate in LOADS]
                    samples += [{**one, "turn": turn, "capacity": told.get("capacity")} for one in found]
        if "ladle" in names:  # On a machine that is too busy ladle states none, and there is nothing to show.
            with server("ladle", folder) as (port, told):
                for share, lasting in ((0.9, seconds), (2.0, long), (0.5, seconds)) if told["capacity"] else ():
                    one = load("ladle", folder, port, share * told["capacity"], lasting)
                    samples.append({**one, "share": share, "capacity": told["capacity"]})
    print(headline())
    print(save("serving", quick=options.quick or bool(options.only), target_ms=TARGET_MS, samples=samples))
    header = ["server", "asked/s", "", "p50 ms", "p99 ms", "served", "refused", "unanswered", "own", "load"]
    print(table(header, [told_of(one) for one in samples]))


def told_of(one: dict[str, Any]) -> list[str]:
    """A line of the table."""
    where = f"{one['share']} of capacity" if "share" in one else f"turn {one['turn']}"
    times = [f"{one[key]:.1f}" if one[key] is not None else "-" for key in ("p50_ms", "p99_ms")]
    own = f"{one['own_share_within_target']:.2%}" if "own_share_within_target" in one else ""
    counts = [str(one[key]) for key in ("served", "refused", "unanswered")]
    return [one["name"], f"{one['rate']:.0f}", where, *times, *counts, own, f"{one['load_average']:.1f}"]


if __name__ == "__main__":
    main()
