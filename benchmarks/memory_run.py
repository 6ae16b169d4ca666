"""Memory of whole fits, predicted as a plan predicts it, against the peak of a child process; and limits that are kept.

Claims: the predicted peak of a whole fit under a limit (data, updates, evaluations, checkpoints) is within 15 % of the
measured one, for four models at four micro-batch sizes; 20 fits under limits of their own keep them.

    python benchmarks/memory_run.py [--quick]

Hardware and every sample: `results/memory_run.json`. One child a model, its fits one after the other, each twice: the
first compiles and makes what the runtime keeps, the second is measured, from what is resident before it with the data
loaded. That baseline and the second fit are of one process; pages of libraries are left out on both sides. Limits lie
between what data, state and a checkpoint take and what the largest micro-batch would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from timing import arguments, headline, save, table

import ladle
from ladle.api.assembly import assemble
from ladle.api.run_memory import SLACK_BYTES, memory_of, within_limit
from ladle.core.confirmation import environment_of
from ladle.core.resident import settled
from ladle.jax.child import _peak, _reset_peak
from ladle.jax.probe import FOR_CHILD

ROWS, CLASSES, WITHIN, PLENTY = 8192, 10, 0.15, 8 * 2**30
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Where the limits lie between the least and what the largest micro-batch takes."""

MODELS: dict[str, tuple[str, tuple[int, ...]]] = {
    "mlp 784-256-10": ("sgd", (256, 1024, 2048, 4096)),
    "mlp 784-512-512-10": ("adam", (256, 1024, 2048, 4096)),
    "mlp 784-1024-10 batch norm": ("momentum", (256, 1024, 2048, 4096)),
    "convnet 28x28": ("adam", (16, 64, 128, 256)),
}


def task_of(name: str) -> ladle.Task:
    images, models = name.startswith("convnet"), ladle.models
    rng, shape = np.random.default_rng(0), (28, 28) if images else (784,)
    rows = ROWS // 4 if images else ROWS
    x = rng.standard_normal((rows, *shape), dtype=np.float32)
    data = ladle.data.arrays(x, rng.integers(0, CLASSES, rows), valid=0.25, kind="classification")
    widths = [int(width) for width in name.split()[1].split("-")] if not images else []
    model = models.convnet((28, 28), CLASSES) if images else models.mlp(*widths, batch_norm="norm" in name)
    return ladle.Task(model, ladle.losses.cross_entropy, data, optimizer=MODELS[name][0], lr=1e-4)


def measured(task: ladle.Task, **how: Any) -> tuple[int, int]:
    """Peak bytes of a whole fit of one epoch with checkpoints, and the micro-batch it chose or was given."""
    peak, micro = 0, 0
    for _ in range(2):
        before = settled(_reset_peak)
        with tempfile.TemporaryDirectory() as folder:
            run = ladle.fit(task, until="1 epoch", out=f"{folder}/run", **how)
        micro = int(run.final["micro_size"])
        peak = max(_peak() - before, 0)
        del run
    return peak, micro


def of_model(name: str, quick: bool) -> dict[str, Any]:
    """All fits of one model, in this process."""
    task, sizes = task_of(name), MODELS[name][1][-1:] if quick else MODELS[name][1]
    assembly = within_limit(assemble(task), PLENTY)
    parts, probe = memory_of(assembly), assembly.engine.probe(assembly.feed(0), ladle.BatchSpec(1, 1), hyper={})
    fits, caps = [], []
    for micro in sizes:
        predicted = parts.peak(probe.memory_bytes(ladle.BatchSpec(micro, micro)))
        found, _ = measured(task, size=micro, micro_size=micro, memory=PLENTY)
        fits.append({"model": name, "micro_size": micro, "predicted_bytes": predicted, "measured_bytes": found})
    least, most = parts.resting + parts.saving_bytes + SLACK_BYTES, fits[-1]["predicted_bytes"]
    most = max(most, int(1.5 * least))
    for share in SHARES[2:3] if quick else SHARES:
        cap = int(least + share * (most - least))
        found, micro = measured(task, size=sizes[-1], memory=cap)
        caps.append({"model": name, "cap_bytes": cap, "micro_size": micro, "measured_bytes": found})
    return {"fits": fits, "caps": caps}


def in_child(name: str, quick: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, *(["--quick"] if quick else [])]
    here = environment_of({**FOR_CHILD, "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=here)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def mib(count: float) -> str:
    return f"{count / 2**20:.1f}"


def main(quick: bool) -> None:
    with ThreadPoolExecutor(len(MODELS)) as pool:  # Memory, unlike time, does not mind company.
        found = list(pool.map(lambda name: in_child(name, quick), MODELS))
    fits = [{**one, "ratio": one["predicted_bytes"] / one["measured_bytes"]} for of in found for one in of["fits"]]
    caps = [{**one, "kept": one["measured_bytes"] <= one["cap_bytes"]} for of in found for one in of["caps"]]
    print(headline())
    rows = [
        [
            one["model"], one["micro_size"], mib(one["predicted_bytes"]), mib(one["measured_bytes"]),
            f"{one['ratio']:.3f}", "yes" if abs(one["ratio"] - 1) <= WITHIN else "NO",
        ]
        for one in fits
    ]  # fmt: skip
    print(table(["model", "micro size", "predicted MiB", "measured MiB", "ratio", "within 15 %"], rows), end="\n\n")
    rows = [
        [
            one["model"], mib(one["cap_bytes"]), one["micro_size"], mib(one["measured_bytes"]),
            "yes" if one["kept"] else "NO",
        ]
        for one in caps
    ]  # fmt: skip
    print(table(["model", "limit MiB", "micro size", "measured MiB", "kept"], rows), end="\n\n")
    print(save("memory_run", quick=quick, n=1, fits=fits, caps=caps))


if __name__ == "__main__":
    if "--child" in sys.argv:
        print(json.dumps(of_model(sys.argv[sys.argv.index("--child") + 1], "--quick" in sys.argv)))
    else:
        main(arguments(__doc__).quick)
