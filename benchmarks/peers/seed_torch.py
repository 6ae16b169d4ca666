"""The seeds' PyTorch job: 1000 x 10 random regression, MLP 10-50-1, MSE, SGD 0.01, 64 epochs at 64 and at full batch.

    python benchmarks/peers/seed_torch.py CURVES.png

Prints one JSON object: seconds of the training part of each size, and the loss of every epoch.
"""

from __future__ import annotations

import json
import sys
import time

import matplotlib

matplotlib.use("Agg")  # Saved instead of shown.

import matplotlib.pyplot as plt
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 64


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 50), nn.ReLU(), nn.Linear(50, 1))


def in_batches(x: torch.Tensor, y: torch.Tensor, size: int) -> list[float]:
    """Mean of the batch losses of every epoch."""
    net, loss_of = model(), nn.MSELoss()
    optimizer = optim.SGD(net.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(x, y), batch_size=size, shuffle=True)
    losses = []
    for _ in range(EPOCHS):
        total = 0.0
        for rows, targets in loader:
            optimizer.zero_grad()
            loss = loss_of(net(rows), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / len(loader))
    return losses


def in_one(x: torch.Tensor, y: torch.Tensor) -> list[float]:
    """Loss of every epoch, each of them one update by all rows."""
    net, loss_of = model(), nn.MSELoss()
    optimizer = optim.SGD(net.parameters(), lr=0.01)
    losses = []
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss = loss_of(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def draw(curves: dict[str, list[float]], path: str) -> None:
    plt.figure(figsize=(10, 6))
    for (name, losses), marker in zip(curves.items(), "os", strict=True):
        plt.plot(losses, label=name, marker=marker)
    plt.xlabel("epoch")
    plt.ylabel("training loss")
    plt.legend()
    plt.grid(True)
    plt.tight_layout()
    plt.savefig(path)


def main(path: str) -> None:
    x, y = torch.randn(1000, 10), torch.randn(1000, 1)
    started = time.perf_counter()
    batches = in_batches(x, y, 64)
    between = time.perf_counter()
    whole = in_one(x, y)
    ended = time.perf_counter()
    draw({"batches of 64": batches, "full batch": whole}, path)
    seconds = {"64": between - started, "full": ended - between}
    print(json.dumps({"seconds": seconds, "losses": {"64": batches, "full": whole}}))


if __name__ == "__main__":
    main(sys.argv[1])
