"""Several processes that share a batch: the gradient is that of the whole batch, ragged and empty ranks too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import sys
import numpy as np, torch
from torch import distributed, nn
from torch.nn.functional import cross_entropy
from ladle.core.moments import Gauge, Moments
from ladle.torch.update import Update

rank, ranks, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
torch.set_num_threads(1)

def net(dtype):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)

def loss(model, batch):
    return cross_entropy(model(batch["x"]), batch["y"], reduction="none")

def flat(model):
    return torch.cat([leaf.grad.flatten() for leaf in model.parameters()]).double()

drawn, most = np.random.default_rng(0), {torch.float32: 0.0, torch.float64: 0.0}
for case in range(12):
    dtype = torch.float64 if case % 2 else torch.float32
    rows, micro = int(drawn.integers(1, 40)), int(drawn.integers(1, 16))
    ends = [0, *sorted(drawn.integers(0, rows + 1, ranks - 1).tolist()), rows]
    x = torch.from_numpy(drawn.normal(size=(rows, 5))).to(dtype)
    y = torch.from_numpy(drawn.integers(0, 3, rows))
    w = torch.from_numpy(drawn.uniform(0.1, 2, rows)).to(dtype)
    plain, shared = net(dtype), nn.parallel.DistributedDataParallel(net(dtype))
    ((loss(plain, {"x": x, "y": y}) * w).sum() / w.sum()).backward()
    update = Update(shared, torch.optim.SGD(shared.parameters(), lr=0.0), micro_size=micro, gauge=Gauge())
    own = slice(ends[rank], ends[rank + 1])
    done = update({"x": x[own], "y": y[own]}, loss, w[own])
    wanted = flat(plain)
    most[dtype] = max(most[dtype], float((flat(shared) - wanted).abs().max() / wanted.abs().max()))
    assert abs(done.weight - float(w.sum())) < 1e-4 and update.position == rows
assert most[torch.float32] <= 1e-6 and most[torch.float64] <= 1e-12, most

# Moments: pieces are the parts of all ranks, and hooks see each before any reduction.
size, parts = 4, 2 * ranks
x, y = torch.randn(size * parts, 5, dtype=torch.float64), torch.randint(0, 3, (size * parts,))
distributed.broadcast(x, 0), distributed.broadcast(y, 0)
plain, stacked = net(torch.float64), []
for at in range(0, len(x), size):
    plain.zero_grad()
    loss(plain, {"x": x[at : at + size], "y": y[at : at + size]}).mean().backward()
    stacked.append(flat(plain).numpy())
shared = nn.parallel.DistributedDataParallel(net(torch.float64))
update = Update(shared, torch.optim.SGD(shared.parameters(), lr=0.0), micro_size=size, gauge=Gauge())
own = slice(2 * size * rank, 2 * size * (rank + 1))
update({"x": x[own], "y": y[own]}, loss)
found, wanted = update.observation().moments(), Moments.from_gradients(stacked, size)
assert abs(found.trace / wanted.trace - 1) < 1e-9 and abs(found.square / wanted.square - 1) < 1e-9
print("done")
distributed.destroy_process_group()
"""


@pytest.mark.parametrize("ranks", [pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.long)])
def test_the_gradient_is_that_of_all_ranks(ranks: int, tmp_path: Path):
    source = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": source, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(rank), str(ranks), str(tmp_path / "store")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    for child in children:
        out, err = child.communicate(timeout=120)
        assert out.strip() == "done", err[-2000:]
