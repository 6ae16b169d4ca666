"""Hosts over two processes on gloo: moments are those of every rank's micro-batches together."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ladle.core.moments import Gauge, Moments

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

X = torch.randn(32, 5, generator=torch.Generator().manual_seed(1))
Y = torch.randn(32, generator=torch.Generator().manual_seed(2))
FAR = 120


def line() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(5, 1)


def wanted() -> Moments:
    """One update: two micro-batches of eight on each of two ranks, which take every second row."""
    pieces = []
    for rank in range(2):
        mine = range(rank, 32, 2)
        for rows in (mine[:8], mine[8:]):
            net = line()
            ((net(X[list(rows)])[:, 0] - Y[list(rows)]) ** 2).mean().backward()
            pieces.append(torch.cat([leaf.grad.flatten() for leaf in net.parameters()]).tolist())
    return Moments.from_gradients(pieces, 8)


def close(path: Path) -> None:
    found, of = json.loads(path.read_text()), wanted()
    assert found["count"] == 1 and found["examples"] == 32
    for name in ("trace", "square"):
        assert found[name] == pytest.approx(getattr(of, name), rel=1e-4), name


def of_lightning(rank: int, folder: str, port: int) -> None:
    import lightning

    from ladle.torch.lightning import Ladle

    class Module(lightning.LightningModule):
        """A line."""

        def __init__(self) -> None:
            super().__init__()
            self.net = line()

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return ((self.net(batch[0])[:, 0] - batch[1]) ** 2).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    told = Ladle(gauge=Gauge(every=1))
    rows = torch.utils.data.TensorDataset(X, Y)
    # Lightning's own sampler shuffles under DDP whatever the loader does.
    mine = torch.utils.data.DistributedSampler(rows, num_replicas=2, rank=rank, shuffle=False)
    loader = torch.utils.data.DataLoader(rows, batch_size=8, sampler=mine)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "max_epochs": 1}
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", accumulate_grad_batches=2, callbacks=[told], **quiet
    )
    trainer.fit(Module(), loader)
    assert told.advice is not None and told.advice.size == 32
    if rank == 0:
        Path(folder, "moments.json").write_text(json.dumps(vars(told._recent.windows[0])))


class Line(nn.Module):
    """A loss that is a mean over rows."""

    def __init__(self) -> None:
        super().__init__()
        self.net = line()

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": ((self.net(x)[:, 0] - labels) ** 2).mean()}


def of_hugging_face(rank: int, folder: str, port: int) -> None:
    import transformers

    from ladle.torch.hf import LadleMixin

    class Trainer(LadleMixin, transformers.Trainer):
        """Rows in order: rank r of an update takes its own micro-batches of every second row."""

        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return [*range(0, 16, 2), *range(1, 16, 2), *range(16, 32, 2), *range(17, 32, 2)]

    rows = [{"x": X[at], "labels": Y[at]} for at in range(32)]
    args = transformers.TrainingArguments(
        folder, optim="sgd", learning_rate=0.0, per_device_train_batch_size=8, gradient_accumulation_steps=2,
        use_cpu=True, report_to="none", save_strategy="no", num_train_epochs=1, disable_tqdm=True,
    )  # fmt: skip
    made = Trainer(Line(), args, train_dataset=rows, gauge=Gauge(every=1))
    made.train()
    made._ladle.advise()
    if rank == 0:
        Path(folder, "moments.json").write_text(json.dumps(vars(made._ladle.recent.windows[0])))


def process(rank: int, run: Any, folder: str, port: int) -> None:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()} | {"GROUP_RANK": "0", "NODE_RANK": "0"})
    os.environ["LOCAL_WORLD_SIZE"] = "2"
    os.environ["TORCHELASTIC_RUN_ID"] = "ladle"
    torch.set_num_threads(1)
    run(rank, folder, port)
    if torch.distributed.is_initialized():  # Rank 0 keeps the store: it ends with the others, not before them.
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(("run", "library"), [(of_lightning, "lightning"), (of_hugging_face, "transformers")])
def test_moments_over_two_processes_are_those_of_all_micro_batches(run: Any, library: str, tmp_path: Path):
    pytest.importorskip(library)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = torch.multiprocessing.spawn(process, (run, str(tmp_path), port), nprocs=2, join=False)
    until = time.monotonic() + FAR
    while not started.join(1) and time.monotonic() < until:  # It returns as soon as one has ended.
        pass
    close(tmp_path / "moments.json")
