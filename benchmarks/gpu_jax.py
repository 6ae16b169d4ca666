"""The JAX backend on an accelerator: what a processor cannot show. Under six minutes on one device.

    python benchmarks/gpu_jax.py [--quick] [--only PART ...]        (LADLE_DATA names the folder of data sets)

Parts, each with its claim:
  facts         the device, its memory, versions, and what a large product in bfloat16 reaches
  images        an epoch of an MLP and of a convnet takes at most 1.05 of a scan written by hand
  transformer   150 M parameters in bfloat16 reach half of the device's peak; beside it a step written by hand
  memory        the predicted peak of an update is within 10 % of a child's, four models at four micro-batches
  largest       the largest micro-batch that fits by prediction trains; the next rung does not fit
  lanes         examples per second of rows on the device and of rows that travel
  noise         measuring the noise scale costs at most 5 % of an accumulated update, 15 % of one that is cut for it
  compilations  a dozen batch sizes compile nothing after the first
  offload       with Adam's moments on the host an update's peak falls by what they take; its seconds beside

Every part is a process of its own with a limit of seconds, so that none has another's memory and one that fails ends
alone: its sentence is kept, with what it found until then, and the next one begins. Without an accelerator (or with
--quick) all of it runs on small models, which shows that it runs and nothing else. Every number:
`results/gpu_jax.json`; of a quick look, `results/quick/gpu_jax.json`.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from timing import arguments, headline, save

from ladle.core.confirmation import environment_of

LIMITS = {
    "facts": 30, "images": 75, "transformer": 100, "memory": 75, "largest": 75, "lanes": 30, "noise": 45,
    "compilations": 30, "offload": 45,
}  # fmt: skip
"""Seconds that each part may take."""

WHOLE = 350
"""Seconds for all of them: what a slow part takes, later ones lack."""

PATIENCE = 4
"""Times as many where nothing is measured: a quick look may be taken on a machine with other work."""

LEAST = 5
"""With fewer seconds left no part is begun."""

APART = {"LADLE_CACHE": "off", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_TRACEBACK_FILTERING": "off"}
"""Nothing compiled before, and no memory held that a child of the part will want."""

QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
"""A quick look mostly compiles: with little care, which takes half the time."""


def part(command: Sequence[str], seconds: float, **environment: str) -> dict[str, Any]:
    """What a part found: the JSON lines that it wrote, and where it failed one sentence of why.

    - `command`: a program that writes a line for each thing it finds. It and its children end with `seconds`.
    """
    here = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    own = {**APART, "PYTHONPATH": here, **environment}
    began, busy, why = time.perf_counter(), _busy(), None
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as last:
        how: dict[str, Any] = {"stdout": told, "stderr": last, "start_new_session": True}
        process = subprocess.Popen(command, env=environment_of(own), **how)
        try:
            if process.wait(seconds):
                last.seek(0)
                words = [line.strip() for line in last if line.strip() and not line.startswith((" ", "-", "="))]
                why = f"ended with code {process.returncode}: {(words or ['no message'])[-1][:400]}"
        except subprocess.TimeoutExpired:
            why = f"took over {seconds:.0f} s and was ended"
        finally:
            _end(process)
        told.seek(0)
        found = [json.loads(line) for line in told if line.startswith("{") and line.endswith("}\n")]
    took = {"seconds": round(time.perf_counter() - began, 1), "cpu_seconds": round(_busy() - busy, 1)}
    return {**took, "found": found, **({"failed": why} if why else {})}


def _busy() -> float:
    """Processor seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _end(process: subprocess.Popen[Any]) -> None:
    """With the children that it confirms memory in."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # All of them may have ended.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def lines(found: dict[str, Any]) -> Iterator[str]:
    """How a part is shown: a line for each thing that it found, and one for how it ended."""
    for one in found["found"]:
        yield "  " + ", ".join(f"{name} {_short(value)}" for name, value in one.items())
    yield (
        f"  FAILED: {found['failed']}"
        if "failed" in found
        else f"  done in {found['seconds']} s, {found['cpu_seconds']} s of a core"
    )


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return f"{value['median']:.4g} ({value['low']:.4g} - {value['high']:.4g})" if "median" in value else str(value)
    return str(value)


def main(quick: bool, names: Sequence[str]) -> None:
    print(headline())
    found: dict[str, Any] = {}
    patience = PATIENCE if quick else 1
    ends = time.perf_counter() + patience * WHOLE
    for name in names:
        print(f"{name}:", flush=True)
        left = min(patience * LIMITS[name], ends - time.perf_counter())
        if left < LEAST:
            found[name] = {"seconds": 0.0, "found": [], "failed": "not begun: the seconds for all parts were over"}
        else:
            asked = [sys.executable, __file__, "--worker", name, *(["--quick"] if quick else [])]
            found[name] = part(asked, left, **(QUICK if quick else {}))
        print(*lines(found[name]), sep="\n", flush=True)
    small = quick or len(names) < len(LIMITS) or not _accelerated(found)
    print(save("gpu_jax", quick=small, n=1, **found))


def _accelerated(found: dict[str, Any]) -> bool:
    return any(one.get("platform", "cpu") != "cpu" for one in found.get("facts", {}).get("found", []))


def worker(name: str, quick: bool) -> None:
    """One part, in this process: a line of JSON for each thing that it finds. What libraries print goes elsewhere."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from peers.gpu_parts import PARTS

    for one in PARTS[name](quick):
        print(json.dumps(one), file=replies, flush=True)


if __name__ == "__main__":
    options = arguments(__doc__)
    if options.worker:
        worker(options.worker, options.quick)
    else:
        chosen = options.only or LIMITS
        main(options.quick, [name for name in LIMITS if name in chosen])
