"""State that devices share, on one processor made to look like several: bytes, losses, and resuming elsewhere.

Claims: with `shard_state=True` the bytes of a state on each device, and the peak of an update on each, are as predicted
within 10 %; losses, norms, clipped shares and noise scales are those of a state that every device has whole, to
rounding; a run that goes from 8 devices to 2 and back to 8 ends where one ends that stayed on 8.

    python benchmarks/sharded.py [--quick]

Every sample: `results/sharded.json`. Devices are `JAX_NUM_CPU_DEVICES`, in a child each, for their number is settled
when JAX starts. Bytes of a state are those of the buffers on the fullest device after two updates, that of an update
the peak of a further child over its devices. Seconds of such devices say nothing of real ones and are left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from timing import arguments, headline, save, table

import ladle
from ladle.api.assembly import assemble
from ladle.core.confirmation import environment_of
from ladle.core.moments import Gauge

WITHIN, ROUNDING, EPOCHS = 0.10, 1e-4, 2
MODELS = {"mlp 512-1024-1024-8": "adam", "mlp 512-512-512-512-8": "momentum", "convnet 16x16": "adamw"}
READ = ("train_loss", "grad_norm", "clipped", "noise_scale", "valid_loss", "valid_ema_loss")


def task_of(name: str, **how: Any) -> ladle.Task:
    rng, images, models = np.random.default_rng(0), name.startswith("convnet"), ladle.models
    x = rng.standard_normal((640, *((16, 16) if images else (512,))), dtype=np.float32)
    data = ladle.data.arrays(x, rng.integers(0, 8, 640), valid=0.2, kind="classification")
    widths = [] if images else [int(width) for width in name.split()[1].split("-")]
    model = models.convnet((16, 16), 8) if images else models.mlp(*widths)
    return ladle.Task(model, ladle.losses.cross_entropy, data, optimizer=MODELS[name], lr=1e-3, **how)


def memory(name: str) -> list[dict[str, Any]]:
    """Bytes of a state and of an update on each of this process's devices, whole and in parts."""
    import jax

    found = []
    for shared in (False, True):
        assembly = assemble(task_of(name, shard_state=shared))
        engine, feed, specs = assembly.engine, assembly.feed(0), [ladle.BatchSpec(64, 64), ladle.BatchSpec(128, 32)]
        draw, _ = feed.draw(feed.start(), ladle.BatchSpec(64, 64, updates=2))
        state, _ = engine.step(engine.step.init(0), draw, specs[0], 1.0)
        held = [0] * engine.devices
        for leaf in jax.tree.leaves(state):
            for part in leaf.addressable_shards:
                held[part.device.id] += part.data.nbytes
        probe = engine.probe(feed, specs[0], hyper={})
        peaks = probe.confirm_all(specs)
        updates = [
            {"predicted": probe.memory_bytes(spec), "measured": peak} for spec, peak in zip(specs, peaks, strict=True)
        ]
        one = {"model": name, "devices": engine.devices, "shared": shared, "whole": engine.state_bytes(whole=True)}
        found.append({**one, "state": {"predicted": engine.state_bytes(), "measured": max(held)}, "updates": updates})
    return found


def sitting(shared: bool, folder: str, epochs: int) -> list[dict[str, float]]:
    """Record lines of a run in `folder` up to so many epochs, and of the sittings before."""
    data = ladle.data.load("digits")
    how: dict[str, Any] = {"optimizer": "adamw", "lr": 3e-3, "clip": 0.5, "ema": 0.9, "shard_state": shared}
    task = ladle.Task(ladle.models.mlp(64, 256, 10), ladle.losses.cross_entropy, data, **how)
    on: dict[str, Any] = {"out": folder, "resume": Path(folder).exists(), "until": f"{epochs} epochs"}
    run = ladle.fit(task, size=64, micro_size=16, gauge=Gauge(), **on)
    return [{name: float(line[name]) for name in READ if name in line} for line in run.metrics]


def on_devices(count: int, *command: Any) -> Any:
    """What a child with so many devices answers."""
    devices = {"JAX_NUM_CPU_DEVICES": str(count), "JAX_PLATFORMS": "cpu"}
    asked = [sys.executable, __file__, "--child", json.dumps(command)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, env=environment_of(devices))
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def resumed(folder: Path) -> dict[str, list[dict[str, float]]]:
    """The same run with a whole state, in parts, and in parts on 8, then 2, then 8 devices."""
    plan = {"whole": [(8, False)], "in parts": [(8, True)], "8, 2, 8": [(8, True), (2, True), (8, True)]}
    found = {}
    for number, (name, sittings) in enumerate(plan.items()):
        for part, (count, shared) in enumerate(sittings, 1):
            epochs = EPOCHS * part * 3 // len(sittings)
            found[name] = on_devices(count, "sitting", shared, str(folder / str(number)), epochs)
    return found


def apart(one: list[dict[str, float]], other: list[dict[str, float]]) -> dict[str, float]:
    """The largest relative difference of each number between two records."""
    pairs = list(zip(one, other, strict=True))
    return {
        name: max(abs(a[name] - b[name]) / max(abs(a[name]), 1e-12) for a, b in pairs if name in a)
        for name in READ
        if any(name in line and np.isfinite(line[name]) for line in one)
    }


def mib(count: float) -> str:
    return f"{count / 2**20:.2f}"


def main(quick: bool) -> None:
    models, counts = (list(MODELS)[:1], (8,)) if quick else (list(MODELS), (2, 8))
    bytes_ = [one for name in models for count in counts for one in on_devices(count, "memory", name)]
    with tempfile.TemporaryDirectory() as folder:
        records = resumed(Path(folder))
    differences = {name: apart(records["whole"], records[name]) for name in ("in parts", "8, 2, 8")}
    print(headline())
    rows = [
        [
            one["model"], one["devices"], "in parts" if one["shared"] else "whole", what, mib(of["predicted"]),
            mib(of["measured"]), f"{of['predicted'] / of['measured']:.3f}",
            "yes" if abs(of["predicted"] / of["measured"] - 1) <= WITHIN else "NO",
        ]
        for one in bytes_
        for what, of in (("state", one["state"]), *zip(("update", "accumulated"), one["updates"], strict=True))
    ]  # fmt: skip
    columns = ["model", "devices", "state", "bytes of", "predicted MiB", "measured MiB", "ratio", "within 10 %"]
    print(table(columns, rows), end="\n\n")
    rows = [
        [name, field, f"{value:.1e}", "yes" if value <= ROUNDING else "NO"]
        for name, of in differences.items()
        for field, value in of.items()
    ]
    print(table(["against a whole state", "number", "largest relative difference", "to rounding"], rows), end="\n\n")
    print(save("sharded", quick=quick, n=1, bytes=bytes_, records=records, differences=differences))


if __name__ == "__main__":
    if "--child" in sys.argv:
        what, *rest = json.loads(sys.argv[sys.argv.index("--child") + 1])
        print(json.dumps({"memory": memory, "sitting": sitting}[what](*rest)))
    else:
        main(arguments(__doc__).quick)
