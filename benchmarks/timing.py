"""How every benchmark here measures: programs in processes of their own, asked in turn, compared pair by pair.

    python benchmarks/timing.py        # prints the machine and the versions that the results would be of

- Interleaved: A B C, A B C, ... so that a slow minute of the machine falls on all of them.
- A worker is one process that stays alive: no two programs share a thread pool, an allocator or an import.
- A ratio is taken within one repetition; reported are its median and its extremes over the repetitions.
- Every sample is kept in `results/NAME.json`, with hardware, versions, load average and date.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from ladle.core import record

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
_NUMBERS = re.compile(r"\[((?:[\s\d.,eE+-]|null)*)\]")
"""A list of numbers in JSON."""
PEERS = (
    *("torch", "torchdata", "keras", "scikit-learn", "jax", "jaxlib", "optax", "numpy", "matplotlib"),
    *("pyarrow", "pillow", "grain", "datasets", "lightning", "accelerate"),
)


def arguments(text: str | None) -> argparse.Namespace:
    """The command line of every benchmark.

    `--quick`: few repetitions, for a look. `--only`: some of the programs, likewise. `--worker NAME`: this process is
    one of the programs measured.
    """
    parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions: a look, not a result")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these programs, where there are several")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


class Worker:
    """A program in a process of its own, which answers one JSON line for each it is sent."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )

    def __call__(self, **request: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args} ended with code {self.process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def workers(program: str, names: Sequence[str], **environment: str) -> Iterator[dict[str, Worker]]:
    """One live process for each name, all running `program --worker NAME`."""
    started = {name: Worker([sys.executable, program, "--worker", name], **environment) for name in names}
    try:
        yield started
    finally:
        for worker in started.values():
            worker.close()


def serve(answer: Callable[..., Any]) -> None:
    """The worker's side: answer requests until standard input ends. What a library prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for request in sys.stdin:
        print(json.dumps(answer(**json.loads(request))), file=replies, flush=True)


def interleave(programs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[Any]]:
    """`repeats` answers of each program, asked in turn."""
    answers: dict[str, list[Any]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            answers[name].append(program())
    return answers


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Median, extremes and number of samples."""
    return {"median": statistics.median(samples), "low": min(samples), "high": max(samples), "n": len(samples)}


def ratio(of: Sequence[float], to: Sequence[float]) -> dict[str, float]:
    """`of / to` within each repetition, then its spread."""
    return spread([a / b for a, b in zip(of, to, strict=True)])


def show(measured: Mapping[str, float], digits: int = 3, unit: str = "") -> str:
    """`median (low - high)`."""
    middle, low, high = (f"{measured[name]:.{digits}g}" for name in ("median", "low", "high"))
    return f"{middle}{unit} ({low} - {high})"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table with aligned columns."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def machine() -> dict[str, Any]:
    """Hardware, versions, load average and date: what a number is worth nothing without."""
    versions = {name: metadata.version(name) for name in PEERS if _installed(name)}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": record.hardware(),
        "versions": {**record.versions(), **versions},
        "load_average": list(os.getloadavg()),
    }


def save(name: str, **content: Any) -> Path:
    """Write `results/NAME.json`; a quick look goes to `results/quick/`, never over a result.

    A list of numbers takes one line.
    """
    folder = RESULTS / "quick" if content.get("quick") else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    record.write_json(path, {"benchmark": name, "command": record.command(), **machine(), **content})
    path.write_text(_NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", path.read_text()) + "\n")
    return path


def headline() -> str:
    """The machine in one line, to print above a table."""
    facts, load = record.hardware(), os.getloadavg()
    memory = (facts["memory_bytes"] or 0) / 2**30
    return f"{facts['processor']}, {facts['cores']} cores, {memory:.0f} GiB; load average {load[0]:.1f} {load[1]:.1f}"


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    print(headline())
    print(json.dumps(machine(), indent=1))
