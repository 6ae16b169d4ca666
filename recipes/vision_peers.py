"""Plain PyTorch loops beside the recipes on images: the same net, loss, rate, batches and number of updates."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def trained(
    net: Any, loss: Callable[[Any], Any], *, updates: int, rate: float, ema: float | None = None
) -> tuple[Any, float]:
    """The net after `updates` of Adam on `loss(net)`, which draws a batch; its average where asked for. And seconds."""
    began, adam = time.perf_counter(), torch.optim.Adam(net.parameters(), rate)
    averaged = None if ema is None else AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(ema))
    for _ in range(updates):
        total = loss(net)
        adam.zero_grad()
        total.backward()
        adam.step()
        if averaged is not None:
            averaged.update_parameters(net)
    return averaged or net, time.perf_counter() - began


class Convolved(torch.nn.Module):
    """A 3x3 convolution, group norm, ReLU; `he`: begun as the recipes are, where it matters after few updates."""

    def __init__(self, inputs: int, outputs: int, groups: int, he: bool = False) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = torch.nn.GroupNorm(groups, outputs)
        if he:
            torch.nn.init.normal_(self.conv.weight, std=(2 / (9 * inputs)) ** 0.5)

    def forward(self, x: Any) -> Any:
        return F.relu(self.norm(self.conv(x)))


class UNet(torch.nn.Module):
    """The net of nuclei.py: `[n, height, width]` to the log odds of each pixel."""

    def __init__(self, pairs: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(Convolved(*pair, groups=4) for pair in pairs)
        self.out = torch.nn.Conv2d(pairs[-1][1], 4, 1)
        torch.nn.init.constant_(self.out.bias, -2.0)

    def forward(self, x: Any) -> Any:
        h, skipped = F.pixel_unshuffle(x[:, None], 2), []
        for stage in range(5):
            if stage > 2:
                h = torch.cat([F.interpolate(h, scale_factor=2), skipped.pop()], 1)
            h = self.layers[2 * stage + 1](self.layers[2 * stage](h))
            if stage < 2:
                skipped.append(h)
                h = F.max_pool2d(h, 2)
        return F.pixel_shuffle(self.out(h), 2)[:, 0]


def nuclei(x: Any, y: Any, test: Any, *, updates: int, size: int, seed: int) -> tuple[np.ndarray, float]:
    """Log odds of the pixels of `test`, and seconds of training."""
    from nuclei import EMA, PAIRS, RATE, cropped

    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)

    def loss(net: Any) -> Any:
        ids, keys = draw.integers(0, len(x), size), draw.integers(0, 2**32, (size, 2), dtype=np.uint32)
        rows = [cropped({"x": x[i], "y": y[i]}, key) for i, key in zip(ids, keys, strict=True)]
        given, wanted = (torch.from_numpy(np.stack([row[name] for row in rows])) for name in ("x", "y"))
        outputs, wanted = net(given), wanted.float()
        chance = torch.sigmoid(outputs)
        overlap = (2 * (chance * wanted).sum((1, 2)) + 1) / ((chance + wanted).sum((1, 2)) + 1)
        return F.binary_cross_entropy_with_logits(outputs, wanted) + (1 - overlap).mean()

    net, seconds = trained(UNet(PAIRS), loss, updates=updates, rate=RATE, ema=EMA)
    with torch.no_grad():
        return torch.cat([net(part) for part in torch.from_numpy(test).split(8)]).numpy(), seconds


class Detector(torch.nn.Module):
    """The net of cells.py: `[n, 120, 160, 3]` bytes to `[n, 15, 20, 7]`."""

    def __init__(self, pairs: tuple[tuple[int, int], ...], pooled: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(Convolved(*pair, groups=4, he=True) for pair in pairs)
        self.pooled, self.out = pooled, torch.nn.Conv2d(pairs[-1][1], 7, 1)
        torch.nn.init.normal_(self.out.weight, std=0.1 * (2 / pairs[-1][1]) ** 0.5)
        with torch.no_grad():
            self.out.bias.copy_(torch.tensor([-3.0] * 3 + [0.5] * 2 + [0.0] * 2))

    def forward(self, x: Any) -> Any:
        h = F.pixel_unshuffle(x.permute(0, 3, 1, 2).float() / 127.5 - 1, 2)
        for number, layer in enumerate(self.layers):
            h = layer(h)
            h = F.max_pool2d(h, 2) if number in self.pooled else h
        return self.out(h).permute(0, 2, 3, 1)


def cells(train: Any, test: Any, *, updates: int, size: int, seed: int) -> tuple[np.ndarray, float]:
    """Outputs for the pictures of `test`, and seconds of training."""
    from cells import EMA, PAIRS, POOLED, RATE, mirrored

    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)

    def loss(net: Any) -> Any:
        ids = draw.integers(0, len(train["x"]), size)
        keys = draw.integers(0, 2**32, (size, 2), dtype=np.uint32)
        rows = [mirrored({name: of[i] for name, of in train.items()}, key) for i, key in zip(ids, keys, strict=True)]
        x, y = (torch.from_numpy(np.stack([row[name] for row in rows])) for name in ("x", "y"))
        outputs = net(x)
        odds, kind, there = outputs[..., :3], y[..., :3], y[..., 3]
        entropy = F.binary_cross_entropy_with_logits(odds, kind, reduction="none")
        focal = (kind - torch.sigmoid(odds)).abs() ** 2 * entropy
        apart = (outputs[..., 3:] - y[..., 4:]).abs().sum(3) * there
        return ((focal.sum((1, 2, 3)) + apart.sum((1, 2))) / there.sum((1, 2)).clamp(min=1)).mean()

    net, seconds = trained(Detector(PAIRS, POOLED), loss, updates=updates, rate=RATE, ema=EMA)
    with torch.no_grad():
        return torch.cat([net(part) for part in torch.from_numpy(test).split(8)]).numpy(), seconds


def vae(x: Any, *, updates: int, size: int, seed: int) -> tuple[dict[str, Any], float]:
    """Weights as vae.py has them, and seconds of training."""
    from vae import CODE, PIXELS, RATE, SHAPES

    torch.manual_seed(seed)
    net, images = (
        torch.nn.ModuleDict({name: torch.nn.Linear(*shape) for name, shape in SHAPES.items()}),
        epochs(x, size),
    )

    def loss(net: Any) -> Any:
        ink = next(images).reshape(-1, PIXELS)
        mean, log_variance = net["code"](F.relu(net["into"](ink))).split(CODE, 1)
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        odds = net["out"](F.relu(net["back"](code)))
        missed = F.binary_cross_entropy_with_logits(odds, ink, reduction="none").sum(1)
        return (missed + 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(1)).mean()

    for layer in net.values():
        torch.nn.init.xavier_normal_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    net, seconds = trained(net, loss, updates=updates, rate=RATE)
    return {name: as_layer(layer) for name, layer in net.items()}, seconds


def as_layer(layer: Any) -> dict[str, np.ndarray]:
    """A linear layer's arrays as ladle has them."""
    return {"weight": layer.weight.detach().numpy().T, "bias": layer.bias.detach().numpy()}


def epochs(x: Any, size: int) -> Any:
    """Batches of `x`, shuffled anew in each pass, without end."""
    rows = torch.from_numpy(np.asarray(x))
    while True:
        yield from (rows[ids] for ids in torch.randperm(len(rows)).split(size))
