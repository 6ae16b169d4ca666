"""Four small networks and what trains them, importable by name: a child process makes them again."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.layer, self.out = (
            nn.Embedding(128, 128),
            nn.LSTM(128, 256, batch_first=True),
            nn.Linear(256, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.layer(self.embed(x))[0][:, -1])


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        block = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
        self.embed, self.out = nn.Embedding(128, 128), nn.Linear(128, 10)
        self.layers = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.layers(self.embed(x)).mean(1))


def mlp() -> nn.Module:
    """Wide: 5.8 million parameters, of which a step needs more than a small batch does."""
    return nn.Sequential(nn.Linear(784, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 10))


def convnet() -> nn.Module:
    one = (nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.ReLU(), nn.MaxPool2d(2))
    two = (nn.Conv2d(32, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*one, *two, nn.Flatten(), nn.Linear(64 * 64, 10))


def cheap() -> nn.Module:
    """Much memory for little work, for finders that train as they look: about 0.2 MB a row."""
    layers = (nn.Conv2d(3, 8, 1), nn.Tanh(), nn.AvgPool2d(1), nn.Sigmoid(), nn.AvgPool2d(1), nn.AvgPool2d(16))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 10))


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def images(rows: int) -> torch.Tensor:
    return torch.randn(rows, 3, 32, 32)


def words(rows: int) -> torch.Tensor:
    return torch.randint(0, 128, (rows, 64))


def flat(rows: int) -> torch.Tensor:
    return torch.randn(rows, 784)


NETS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "MLP": (mlp, flat, (16, 64, 256, 1024)),
    "convnet": (convnet, images, (8, 32, 128, 256)),
    "transformer": (Transformer, words, (8, 16, 32, 128)),
    "RNN": (Recurrent, words, (8, 32, 64, 128)),
}
"""Each with its rows, and the sizes that are tried."""
