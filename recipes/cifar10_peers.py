"""Beside cifar10.py: its net, rate, batches and passes in a plain PyTorch loop over a DataLoader that decodes."""

from __future__ import annotations

import io
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Photographs(Dataset):
    """JPEG bytes of one part in memory; an image and its class are `f32[3, 32, 32]` and a number."""

    def __init__(self, file: Any, part: str, mirror: bool) -> None:
        with np.load(file) as held:
            self.bytes, self.offsets, self.labels = (held[f"{part}_{name}"] for name in ("bytes", "offsets", "labels"))
        self.mirror = mirror

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        start, end = self.offsets[row : row + 2]
        pixels = np.asarray(Image.open(io.BytesIO(self.bytes[start:end].tobytes())).convert("RGB"))
        x = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255 - 0.5
        return x.flip(2) if self.mirror and torch.rand(()) < 0.5 else x, int(self.labels[row])


def net(width: int = 16, outputs: int = 10) -> nn.Module:
    """Three blocks of a 3x3 convolution, batch norm, ReLU and pooling, then a linear head."""
    widths = [3, width, 2 * width, 4 * width]
    blocks = [
        (nn.Conv2d(inputs, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(), nn.MaxPool2d(2))
        for inputs, wide in pairwise(widths)
    ]
    whole = nn.Sequential(*(layer for block in blocks for layer in block), nn.Flatten(), nn.Linear(64 * width, outputs))
    for layer in whole:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return whole


def trained(file: Any, *, seed: int, epochs: float, size: int = 128, workers: int = 2) -> tuple[float, float]:
    """The share of the test part that the net has right after so many passes, and seconds of training."""
    torch.manual_seed(seed)
    # Begun anew, not forked: the recipe's own threads, of JAX, are in this process.
    readers = {"num_workers": workers, "multiprocessing_context": "spawn", "persistent_workers": True}
    rows = DataLoader(Photographs(file, "train", True), size, shuffle=True, **readers)
    model, updates = net(), round(epochs * len(rows))
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, updates)
    began, done = time.perf_counter(), 0
    while done < updates:
        for x, y in rows:
            adam.zero_grad()
            F.cross_entropy(model(x), y).backward()
            adam.step()
            cosine.step()
            done += 1
            if done == updates:
                break
    seconds = time.perf_counter() - began
    model.eval()
    with torch.no_grad():
        held = DataLoader(Photographs(file, "test", False), 500)
        right = [float((model(x).argmax(1) == y).float().mean()) for x, y in held]
    return float(np.mean(right)), seconds
