"""Several processes that share a batch: the gradient is that of the whole batch, ragged and empty ranks too.

One group of processes runs all cases of its number of ranks: starting them is what costs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ladle.core.errors import ArgumentError
from ladle.torch.ranks import Ranks, _buckets
from ladle.torch.update import Update

CHILD = """
import sys, warnings
import numpy as np, torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy
from ladle.core.moments import Gauge, Moments
from ladle.torch.ranks import Ranks
from ladle.torch.update import Update

rank, ranks, store, cases = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
torch.set_num_threads(1)
mesh = distributed.init_device_mesh("cpu", (ranks,))
KINDS = ("averaged", "sharded", "copies")

def net(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)

def loss(model, batch):
    return cross_entropy(model(batch["x"]), batch["y"], reduction="none")

def made(kind, dtype=torch.float64, lr=0.0, **how):
    model = net(dtype)
    if kind == "averaged":
        model = nn.parallel.DistributedDataParallel(model)
    if kind == "sharded":
        fully_shard(model[0], mesh=mesh), fully_shard(model, mesh=mesh)
    if kind == "copies":
        how["ranks"] = Ranks(rank, ranks, None, "copies")
    update = Update(model, torch.optim.SGD(model.parameters(), lr=lr), **how)
    assert update._ranks.kind == kind
    return model, update

def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor

def flat(model, of=lambda leaf: leaf.grad):
    return torch.cat([whole(of(leaf)).detach().flatten() for leaf in model.parameters()]).double()

def rows(drawn, count, dtype=torch.float64):
    x = torch.from_numpy(drawn.normal(size=(count, 5))).to(dtype)
    return {"x": x, "y": torch.from_numpy(drawn.integers(0, 3, count))}

def same(numbers):  # on every rank, bit for bit
    every = [None] * ranks
    distributed.all_gather_object(every, list(numbers))
    assert all(one == every[0] for one in every), every

def share(batch, own):
    return {name: leaf[own] for name, leaf in batch.items()}

# Gradients of any size, cut, weights, shares.
drawn, most = np.random.default_rng(0), {torch.float32: 0.0, torch.float64: 0.0}
for case in range(cases):
    dtype = torch.float64 if case % 2 else torch.float32
    count, micro = int(drawn.integers(1, 40)), int(drawn.integers(1, 16))
    ends = [0, *sorted(drawn.integers(0, count + 1, ranks - 1).tolist()), count]
    if case % 4 == 0:  # a rank without rows
        ends[1 + case // 4 % (ranks - 1)] = ends[case // 4 % (ranks - 1)]
    batch, w = rows(drawn, count, dtype), torch.from_numpy(drawn.uniform(0.1, 2, count)).to(dtype)
    given = case % 3 > 0
    w = w if given else torch.ones_like(w)
    plain = net(dtype)
    ((loss(plain, batch) * w).sum() / w.sum()).backward()
    wanted, own = flat(plain), slice(ends[rank], ends[rank + 1])
    for kind in KINDS:
        how = {"micro_size": None if case % 5 == 4 else micro, "gauge": Gauge() if case % 2 else None}
        model, update = made(kind, dtype, **how)
        done = update(share(batch, own), loss, w[own] if given else None)
        most[dtype] = max(most[dtype], float((flat(model) - wanted).abs().max() / wanted.abs().max()))
        assert abs(done.weight - float(w.sum())) < 1e-4 and update.position == count
        assert abs(done.grad_norm / wanted.norm() - 1) < 1e-6
        same(update.observation().values.tolist())
assert most[torch.float32] <= 1e-6 and most[torch.float64] <= 1e-12, most

# Moments: pieces are the parts of all ranks (hooks see each before any reduction); of shards, all ranks' same part.
size, parts = 4, 2 * ranks
batch = rows(np.random.default_rng(1), size * parts)
for kind in KINDS:
    own = slice(2 * size * rank, 2 * size * (rank + 1))
    pieces = [list(range(at, at + size)) for at in range(0, size * parts, size)]
    if kind == "sharded":
        pieces = [sum((pieces[2 * of + at] for of in range(ranks)), []) for at in range(2)]
    plain, stacked = net(), []
    for piece in pieces:
        plain.zero_grad()
        loss(plain, share(batch, piece)).mean().backward()
        stacked.append(flat(plain).numpy())
    model, update = made(kind, micro_size=size, gauge=Gauge())
    update(share(batch, own), loss)
    found, wanted = update.observation().moments(), Moments.from_gradients(stacked, len(pieces[0]))
    assert abs(found.trace / wanted.trace - 1) < 1e-9 and abs(found.square / wanted.square - 1) < 1e-9, kind

# One global norm, whatever a rank holds of it.
plain = net()
loss(plain, batch).mean().backward()
nn.utils.clip_grad_norm_(plain.parameters(), 0.01)
for kind in KINDS:
    model, update = made(kind, micro_size=3, clip=0.01)
    update(share(batch, slice(rank, None, ranks)), loss)
    assert (flat(model) - flat(plain)).abs().max() < 1e-8, kind

# What is not finite on one rank is refused on all, and nothing moves; the scale falls on all.
for kind in KINDS:
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=8.0)):
        model, update = made(kind, torch.float32, lr=0.1, micro_size=4, scaler=scaler, warn=False)
        mine = share(rows(np.random.default_rng(2), 6 * ranks, torch.float32), slice(6 * rank, 6 * rank + 6))
        done = update(mine, loss)
        before = flat(model, lambda leaf: leaf)
        assert done.applied
        bad = {"x": mine["x"] * (float("nan") if rank == ranks - 1 else 1.0), "y": mine["y"]}
        done = update(bad, loss)
        same([done.applied, done.why, None if scaler is None else scaler.get_scale()])
        assert not done.applied and (flat(model, lambda leaf: leaf) == before).all()
        assert scaler is None or scaler.get_scale() == 4.0
        assert update(mine, loss).applied
# Where nobody gave a seed, it is the first rank's: a checkpoint is its own, and all go on from it.
for kind in KINDS:
    model, update = made(kind)
    torch.manual_seed(2**40 + rank)
    update(share(batch, slice(rank, None, ranks)), loss)
    assert update.seed == update.state_dict()["seed"] == 2**40
print("done", flush=True)
distributed.barrier()  # A rank that left would take its ends of the connections away from those that still compare.
distributed.destroy_process_group()
"""


def run(ranks: int, cases: int, folder: Path) -> None:
    source = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": source, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(rank), str(ranks), str(folder / "store"), str(cases)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    for child in children:
        out, err = child.communicate(timeout=300)
        assert out.strip() == "done", err[-2000:]


@pytest.mark.slow
def test_the_gradient_is_that_of_two_ranks(tmp_path: Path):
    run(2, 16, tmp_path)


@pytest.mark.long
def test_the_gradient_is_that_of_three_ranks(tmp_path: Path):
    run(3, 16, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_gradient_is_that_of_all_ranks_in_many_cases(ranks: int, tmp_path: Path):
    run(ranks, 200, tmp_path)


def test_gradients_travel_in_buckets_of_one_type(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ladle.torch.ranks.BUCKET_BYTES", 64)
    sizes = [(8, torch.float32), (8, torch.float32), (4, torch.float32), (4, torch.float64), (100, torch.float64)]
    found = [[len(one) for one in bucket] for bucket in _buckets([torch.zeros(n, dtype=t) for n, t in sizes])]
    assert found == [[8, 8], [4], [4], [100]]


def test_layouts_that_cannot_be_added_up_are_refused():
    class Sharded(nn.Linear):
        def set_requires_gradient_sync(self, _: bool) -> None: ...

    class FullyShardedDataParallel(nn.Linear): ...

    class _FabricModule(nn.Linear): ...

    for model, why in (
        (Sharded(2, 1), "sharded whole"),
        (FullyShardedDataParallel(2, 1), "fully_shard"),
        (_FabricModule(2, 1), "Fabric"),
    ):
        with pytest.raises(ArgumentError, match=why):
            Update(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert Ranks.of(nn.Linear(2, 1), []) == Ranks()
