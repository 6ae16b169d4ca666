"""The board with 1,000 runs, and with a run of 10^6 lines: how long until it is there, and until news is shown.

Claim: open in 2 s, refresh in 0.3 s.

    python benchmarks/board.py [--quick]

Hardware and every sample: `results/board.json`. n = 5 boards of each kind, in turn, each on a server and a client of
their own in one process over loopback: `open` is from the first request until the client has the whole document, the
board's index, tables and curves in it; its files lie in the system's cache, and `open, CPU` is the processor time
of both, which says more on a machine that others use as well. `refresh` is the server's work when a line
was added: looking through the folder, reading, drawing, with the table and the curves of three runs shown. `whole` is
until every line of the long record is read; until then its curves are a sample over all of it. `step` is the longest
time that the server answered nobody meanwhile. Lines of the long record are short (10 numbers, 250 bytes) and as
`ladle train` writes them (35 numbers, 1,080 bytes).
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bokeh.client import pull_session
from bokeh.document import Document
from timing import arguments, headline, save, show, spread, table

from ladle.api.board import outcome
from ladle.board.page import Page
from ladle.board.server import make_server
from ladle.board.shelf import Shelf

RUNS, LINES = 1000, 1_000_000
SHORT = "size micro_size lr examples_per_second train_loss grad_norm data_wait_fraction memory_bytes".split()
MORE = (
    "epoch lr_factor refused train_accuracy noise/count noise/trace noise/square noise/trace_sq noise/square_sq "
    "noise/cross noise/examples noise/projection noise/projections noise_scale noise_scale_low cpu_seconds "
    "window_seconds evaluated valid_loss valid_accuracy memory_limit_bytes"
).split()


def line(i: int, names: list[str]) -> str:
    """A record line of plausible length."""
    values = {name: 0.123456789012345678 + 1 / (1 + i) for name in names}
    facts = {"examples": 64 * i, "updates": i, "seconds": 0.01 * i, **values, "size": 64, "noise/count": 1.0}
    return json.dumps({k: v for k, v in facts.items() if k in names or k in ("examples", "updates", "seconds")}) + "\n"


def run(folder: Path, count: int, names: list[str]) -> None:
    folder.mkdir(parents=True)
    info = {
        "status": "running",
        "seed": 0,
        "size": 64,
        "model": "mlp",
        "data": {"name": "digits"},
        "optimizer": {"lr": 0.1},
    }
    (folder / "run.json").write_text(json.dumps(info))
    with open(folder / "metrics.jsonl", "w", encoding="utf-8") as out:
        out.writelines(line(i, names) for i in range(count))


def opened(root: Path) -> dict[str, float]:
    """Seconds until a client has the document, by the clock and of the processor."""
    ready, held = threading.Event(), {}

    def work() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        held["server"] = make_server(root, outcome, port=0)
        held["server"].start()
        held["server"].io_loop.add_callback(ready.set)
        held["server"].io_loop.start()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait()
    began, busy = time.perf_counter(), time.process_time()
    session = pull_session(url=f"http://localhost:{held['server'].port}/")
    taken = {"open": time.perf_counter() - began, "open, CPU": time.process_time() - busy}
    assert len(session.document.roots) > 5
    session.close()
    held["server"].io_loop.add_callback(held["server"].io_loop.stop)
    thread.join()
    return taken


def refreshed(root: Path, long: Path, names: list[str]) -> dict[str, float]:
    """Seconds of: reading the whole, the longest step on the way, and a refresh with a line more."""
    shelf = Shelf(root, outcome)
    page = Page(Document(), shelf)
    shown = sorted(shelf.index.entries)[:3]
    page.board.chosen = json.dumps([long.name, *[name for name in shown if name != long.name]][:3])
    began, longest, more = time.perf_counter(), 0.0, True
    while more:
        start = time.perf_counter()
        shelf._looked = -1e9
        more = page.tick()
        longest = max(longest, time.perf_counter() - start)
    whole = time.perf_counter() - began
    end = int(shelf.record(shelf.index.entries[long.name])["examples"][-1]) // 64
    with open(long / "metrics.jsonl", "a", encoding="utf-8") as out:
        out.write(line(end + 1, names))
    shelf._looked = -1e9
    start = time.perf_counter()
    page.tick()
    return {"whole": whole, "step": longest, "refresh": time.perf_counter() - start}


def main() -> None:
    given = arguments(__doc__)
    repeats, scale = (2, 20) if given.quick else (5, 1)
    print(headline())
    with TemporaryDirectory() as temporary:
        root = Path(temporary)
        kinds = {"1,000 runs": root / "many", "10^6 short lines": root / "short", "10^6 lines of train": root / "full"}
        for i in range(RUNS // scale):
            run(kinds["1,000 runs"] / f"run-{i:04}", 50, [*SHORT, *MORE])
        run(kinds["10^6 short lines"] / "long", LINES // scale, SHORT)
        run(kinds["10^6 lines of train"] / "long", LINES // scale, [*SHORT, *MORE])
        samples: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
        for _ in range(repeats):
            for name, folder in kinds.items():
                long = folder / ("run-0000" if "runs" in name else "long")
                samples[name].append(
                    {**opened(folder), **refreshed(folder, long, SHORT if "short" in name else [*SHORT, *MORE])}
                )
    measured = {name: {key: spread([one[key] for one in some]) for key in some[0]} for name, some in samples.items()}
    header = ["", "open", "open, CPU", "refresh", "whole", "step"]
    print(table(header, [[name, *(show(one[key], unit=" s") for key in header[1:])] for name, one in measured.items()]))
    save("board", quick=given.quick, samples=samples, measured=measured)


if __name__ == "__main__":
    main()
