"""What `ladle.torch.Update` costs in a PyTorch loop: seconds of an update beside those of loops written by hand.

Claims: at most 5 % over a hand-written loop for an MLP 784-256-10 at 64 rows, at most 1 % where an update takes 5 ms;
moments in one update of 16 at most 5 % where the batch has micro-batches, 15 % where one is cut in four.

    python benchmarks/torch_update.py [--quick]

Hardware and every sample: `results/torch_update.json`. All loops run in one process on one thread, in turn, on random
numbers, AdamW; seconds are the thread's own. The first loop by hand is the shortest there is, the second takes the norm
of the gradient too and reads it, the third clips by it. An `Update` takes that norm in any case, to refuse what is not
finite: the second loop is what it cannot be faster than.

The allocator is told to keep what is freed. Else it is luck of the layout whether glibc hands memory back and has it
again by page faults, between none and 250 an update of any of these loops.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from timing import arguments, headline, interleave, ratio, save, show, table
from torch import nn
from torch.nn import functional

from ladle.core.moments import Gauge
from ladle.torch import Update
from ladle.torch.noise_sums import gradients_of

SHAPES = {"64 rows": (256, 64, 64), "512 rows": (1024, 512, 512), "4 micro-batches of 128": (256, 512, 128)}
"""Hidden units, rows of an update, rows of a micro-batch."""

UPDATES = 16
"""Of one timed part: one of them measured."""

KEPT = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}


def started(hidden: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")


def by_hand(hidden: int, batch: Any, micro: int, clip: float | None = None, norm: bool = False) -> Callable[[], Any]:
    """The usual loop, with its loss read at the end of each update; or the norm of the gradient, too."""
    model, optimizer = started(hidden)
    x, y = batch
    share = micro / len(x)

    def update() -> float:
        optimizer.zero_grad(set_to_none=True)
        total = torch.zeros(())
        for at in range(0, len(x), micro):
            mean = functional.cross_entropy(model(x[at : at + micro]), y[at : at + micro]) * share
            mean.backward()
            total = total + mean.detach()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        if norm and not math.isfinite(nn.utils.get_total_norm(gradients_of(model.parameters())).item()):
            raise ArithmeticError("a gradient is not finite")
        optimizer.step()
        return total.item()

    return update


def by_update(hidden: int, batch: Any, micro: int, **how: Any) -> Callable[[], Any]:
    model, optimizer = started(hidden)
    made = Update(model, optimizer, micro_size=micro, **how)
    return lambda: made(batch, loss)


def seconds(update: Callable[[], Any]) -> float:
    began = time.thread_time()
    for _ in range(UPDATES):
        update()
    return (time.thread_time() - began) / UPDATES


def measured(shape: str, repeats: int) -> dict[str, list[float]]:
    hidden, rows, micro = SHAPES[shape]
    batch = torch.randn(rows, 784), torch.randint(0, 10, (rows,))
    programs = {
        "by hand": by_hand(hidden, batch, micro),
        "by hand, norm": by_hand(hidden, batch, micro, norm=True),
        "by hand, clipped": by_hand(hidden, batch, micro, clip=1.0),
        "Update": by_update(hidden, batch, micro),
        "Update, clipped": by_update(hidden, batch, micro, clip=1.0),
        "Update, moments": by_update(hidden, batch, micro, gauge=Gauge()),
    }
    timed = {name: (lambda update=update: seconds(update)) for name, update in programs.items()}
    interleave(timed, 1)  # Warm.
    return interleave(timed, repeats)


def main() -> None:
    if not set(KEPT) <= set(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEPT})
    torch.set_num_threads(1)
    quick = arguments(__doc__).quick
    samples = {shape: measured(shape, 3 if quick else 21) for shape in SHAPES}
    over = {
        shape: {
            "Update / by hand": ratio(one["Update"], one["by hand"]),
            "norm / by hand": ratio(one["by hand, norm"], one["by hand"]),
            "Update / norm": ratio(one["Update"], one["by hand, norm"]),
            "both clipped": ratio(one["Update, clipped"], one["by hand, clipped"]),
            "moments / Update": ratio(one["Update, moments"], one["Update"]),
        }
        for shape, one in samples.items()
    }
    rows = [
        [shape, f"{1e3 * min(samples[shape]['by hand']):.2f} ms", *(show(one) for one in ratios.values())]
        for shape, ratios in over.items()
    ]
    print(headline())
    print(table(["update", "by hand", *next(iter(over.values()))], rows))
    save("torch_update", quick=quick, seconds=samples, ratios=over)


if __name__ == "__main__":
    main()
