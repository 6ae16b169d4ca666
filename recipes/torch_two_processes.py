"""One run of two processes under torchrun, beside the same run of one: the same losses.

    python recipes/torch_two_processes.py [--until "5 epochs"] [--processes 2] [--out FOLDER]

Handwritten digits (1,797 images of 8 x 8, bundled), a small network of PyTorch, Adam, batches of 64 that each process
reads its part of. The program starts itself under `torchrun`; what runs there calls `ladle.fit` as it would alone.
The record is rank 0's.

Validation loss after 5 epochs: 1.099438 with one process and with two; the largest difference of any training or
validation loss in the record is 2.6e-7, from sums in another order. 16 s of processor time on two CPU cores, most of it
the starting of interpreters: nothing is gained in time by splitting so small a network.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import nn

import ladle
import ladle.torch
from ladle.core.record import METRICS_FILE, read_lines

LOSSES = ("train_loss", "valid_loss")


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def trained(until: str, out: Path) -> ladle.Run:
    """The run itself: the same lines for one process and for many."""
    task = ladle.torch.task(net, nn.CrossEntropyLoss(), "digits", optimizer="adam", lr=1e-3)
    return ladle.fit(task, size=64, until=until, out=out)


def main(args: Sequence[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--until", default="5 epochs")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(args)
    if "RANK" in os.environ:  # Begun by torchrun, below.
        return dict(trained(asked.until, asked.out).final)
    with tempfile.TemporaryDirectory() as kept:
        folder = asked.out or Path(kept)
        many = folder / "many"
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        own = [str(asked.processes), __file__, "--until", asked.until, "--out", str(many)]
        subprocess.run([*torchrun, *own], check=True, env={"OMP_NUM_THREADS": "1", **os.environ})
        lines, alone = read_lines(many / METRICS_FILE), trained(asked.until, folder / "one").metrics
    apart = 0.0
    print(f"{'examples':>8} " + " ".join(f"{name + ' ' + of:>14}" for name in LOSSES for of in ("1", "many")))
    for one, other in zip(alone, lines, strict=True):
        pairs = [(one[name], other[name]) for name in LOSSES if name in one]
        apart = max(apart, *(abs(a - b) for a, b in pairs))
        shown = [f"{value:14.6f}" for pair in pairs for value in pair]
        print(f"{one['examples']:8,} " + " ".join([*[" " * 14] * (4 - len(shown)), *shown]))
    print(f"{asked.processes} processes and 1 differ by {apart:.1e} at most")
    return {"valid": lines[-1]["valid_loss"], "alone": alone[-1]["valid_loss"], "apart": apart}


if __name__ == "__main__":
    main()
