"""Largest micro-batch under a limit of address space: ladle's trace, Lightning's and Accelerate's finders.

Each search is a fork of this process, which has imported everything, with `RLIMIT_AS` so many bytes above what it has.
Afterwards the answer trains one epoch in another fork under the same limit.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate.utils.memory as accelerate_memory
import lightning.pytorch as lightning
import torch
from lightning.pytorch.tuner import Tuner, batch_size_scaling
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_nets import adamw, cheap, images, loss

from ladle.core.spec import BatchSpec
from ladle.planner.memory import largest_fitting
from ladle.torch.foresight import Foresight
from ladle.torch.trace import Updating

ROWS, STEPS = 2048, 3
FREE = 0.9
"""Share of the limit that ladle is told: what it keeps everywhere for the allocator."""

DATA = TensorDataset(images(ROWS), torch.randint(0, 10, (ROWS,)))
crashes = 0


class Module(lightning.LightningModule):
    """The network as Lightning wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.batch_size = cheap(), 2

    def train_dataloader(self) -> Any:
        return DataLoader(DATA, self.batch_size)

    def training_step(self, batch: Any, place: int) -> torch.Tensor:
        return loss(self.net, batch).mean()

    def configure_optimizers(self) -> Any:
        return adamw(self.parameters())


def counted(judge: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A finder's own test whether an error was one of memory, counting those that were."""

    def judged(error: Any) -> bool:
        global crashes
        found = judge(error)
        crashes += found
        return found

    return judged


def of_lightning(mode: str) -> int:
    batch_size_scaling.is_oom_error = counted(batch_size_scaling.is_oom_error)
    how: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(accelerator="cpu", enable_checkpointing=False, max_epochs=1, **how)
    found = Tuner(trainer).scale_batch_size(Module(), mode=mode, steps_per_trial=STEPS)
    return int(found or 0)


def of_accelerate() -> int:
    accelerate_memory.should_reduce_batch_size = counted(accelerate_memory.should_reduce_batch_size)

    def train(batch_size: int) -> int:
        updates(batch_size, STEPS)
        return batch_size

    return accelerate_memory.find_executable_batch_size(train, starting_batch_size=ROWS)()


def of_ladle(limit: int) -> int:
    model, batch = cheap(), [DATA[0][0][None], DATA[0][1][None]]
    asked = Foresight(Updating(model, loss, adamw(model.parameters()), batch), lambda rows: batch)
    return largest_fitting(FREE * limit, lambda micro: asked.bytes(BatchSpec(micro, micro)), most=ROWS)[0]


def updates(size: int, most: int | None = None) -> int:
    """A plain loop of an epoch, or of so many updates."""
    model, done = cheap(), 0
    optimizer = adamw(model.parameters())
    for done, batch in enumerate(DataLoader(DATA, size), start=1):
        loss(model, batch).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if done == most:
            break
    return done


FINDERS: dict[str, Callable[[int], int]] = {
    "ladle, traced": of_ladle,
    "Lightning power": lambda limit: of_lightning("power"),
    "Lightning binsearch": lambda limit: of_lightning("binsearch"),
    "Accelerate": lambda limit: of_accelerate(),
}


def used_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def forked(limit: int, work: Callable[[], Any]) -> dict[str, Any]:
    """What `work` answers in a fork with so much address space; `died` where it did not come back."""
    read, write = os.pipe()
    sys.stdout.flush()
    if not (child := os.fork()):
        top = used_bytes() + limit
        resource.setrlimit(resource.RLIMIT_AS, (top, top))
        began = time.perf_counter()
        try:
            answer = {"answer": work()}
        except BaseException as error:  # Whatever a finder raises is its answer.
            answer = {"error": f"{type(error).__name__}: {str(error)[:120]}"}
        told = {**answer, "seconds": time.perf_counter() - began, "crashes": crashes}
        os.write(write, json.dumps(told).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"died": True}


def search(name: str, limit: int) -> dict[str, Any]:
    """One search, and whether its answer trains an epoch."""
    found = forked(limit, lambda: FINDERS[name](limit))
    size = found.get("answer") or 0
    epoch = forked(limit, lambda: updates(size)) if size else {}
    return {"finder": name, "limit_bytes": limit, **found, "trains": "answer" in epoch}


def main() -> None:
    """Limits in megabytes on the command line; a line of JSON for each search."""
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    nn.Linear(1, 1)(torch.zeros(1, 1)).backward()
    for limit in map(int, sys.argv[1:]):
        for name in FINDERS:
            print(json.dumps(search(name, limit * 10**6)), flush=True)


if __name__ == "__main__":
    main()
