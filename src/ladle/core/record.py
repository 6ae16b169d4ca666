"""The run folder: `run.json` (what and where) and `metrics.jsonl` (what happened), plain text, read by everything.

runs/digits-1/
  run.json            status, command, seed, plan, versions, hardware, data
  metrics.jsonl       one line a window, append-only while the run goes on
  checkpoints/        exactly the Carry, one folder a position
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import metadata
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ladle.core.errors import ArgumentError, must

RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
COMPARE_FILE = "compare.json"
CRITICAL_FILE = "critical.json"
SEARCH_FILE = "search.json"
"""What `ladle critical` writes."""
ANSWERS_FILE = "answers.npz"
"""What a run's model said of its validation and test rows."""
CHECKPOINTS = "checkpoints"
PREQUENTIAL = "prequential_"
"""What names of a record line begin with that are of events judged before they were learnt."""


def require_new(folder: Path, remedy: str = "another folder") -> None:
    """Raises `ArgumentError` where earlier results are in `folder`, or it could not be written. Writes nothing."""
    try:
        if folder.is_dir() and any(folder.iterdir()):
            why = "what is already there would be mixed up with new results"
            raise ArgumentError(must("out", "be a new folder", str(folder), why, remedy))
        nearest_there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        TemporaryFile(dir=nearest_there).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise ArgumentError(
            must("out", "be a folder that can be written", str(folder), why, "another folder")
        ) from None


def make_folder(folder: Path, remedy: str = "another folder") -> None:
    """Make the folder of new results, see `require_new`."""
    require_new(folder, remedy)
    folder.mkdir(parents=True, exist_ok=True)


def free_folder(verb: str, data: str, root: Path = Path("runs")) -> Path:
    """The first free `runs/VERB-DATA-N`. `data`: what the command line called it."""
    name = Path(data.partition(":")[0]).name.partition(".")[0] or "run"
    return next(folder for n in count(1) if not (folder := root / f"{verb}-{name}-{n}").exists())


def plain(value: Any) -> Any:
    """`value` as strict JSON data: numbers that are not finite become `null`, arrays and tuples become lists.

    >>> plain({"a": float("nan"), "b": (1, 2)})
    {'a': None, 'b': [1, 2]}
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool | int):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    if hasattr(value, "__float__"):
        return float(value) if math.isfinite(value) else None
    return str(value)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` in one step: a reader, or a kill, never meets half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(plain(value), file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    """The content of `path`. Raises `ArgumentError` where there is none or it is no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArgumentError(
            must("folder", "hold a run", str(path.parent), f"{path.name} is missing", "a folder that a run printed")
        ) from None
    except (ValueError, OSError) as error:
        raise ArgumentError(
            must("folder", "hold a readable run", str(path), str(error), "another run folder")
        ) from None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a metrics file, oldest first. A line cut off by a kill is left out.

    Raises `ArgumentError` naming the line where a whole one is no record.
    """
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            line = json.loads(text)
        except ValueError as error:
            line = error
        if not isinstance(line, dict):
            remedy = "another run folder, or remove that line"
            raise ArgumentError(
                must("metrics file", "hold one record a line", f"{path}, line {number}", str(line), remedy)
            )
        lines.append(line)
    return lines


@lru_cache(1)
def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    names = ("ladle", "jax", "jaxlib", "numpy", "optax", "equinox", "flax", "orbax-checkpoint", "torch")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(devices: Iterable[str] = ()) -> dict[str, Any]:
    """The machine: processor, cores this process may use, memory, devices."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": cores,
        "memory_bytes": _memory_bytes(),
        "devices": list(devices),
    }


def command() -> list[str]:
    """The command line as it was given."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv and sys.argv[0] else ["python"]


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "")


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
