"""Beside cifar10_augmented.py and flowers.py: their net in a plain PyTorch loop, and features made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from cifar10_augmented import GROUPS, PAIRS, POOLED
from torch.nn import functional as F
from vision_peers import Convolved, epochs, trained


class Net(torch.nn.Module):
    """The net of cifar10_augmented.py: `[n, side, side, 3]` from 0 to 1 to a number for each class."""

    def __init__(self, classes: int, blocks: Any = None) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(Convolved(*pair, groups=GROUPS, he=True) for pair in PAIRS)
        self.head = torch.nn.Linear(2 * PAIRS[-1][1], classes)
        torch.nn.init.xavier_normal_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            for layer, known in zip(self.layers, blocks or (), strict=False):
                layer.conv.weight.copy_(torch.tensor(np.asarray(known["weight"]).transpose(3, 2, 0, 1)))
                layer.norm.weight.copy_(torch.tensor(np.asarray(known["scale"])))
                layer.norm.bias.copy_(torch.tensor(np.asarray(known["bias"])))

    def forward(self, x: Any) -> Any:
        h = F.pixel_unshuffle(2 * x.permute(0, 3, 1, 2) - 1, 2)
        # `pixel_unshuffle` has the channels outermost, ladle's net the places of the square.
        h = h.unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2)
        for number, layer in enumerate(self.layers):
            h = layer(h)
            h = F.max_pool2d(h, 2) if number in POOLED else h
        return self.head(torch.cat([h.mean((2, 3)), h.amax((2, 3))], 1))


def trained_on(
    train: Any,
    test: Any,
    change: Callable[[Any, Any], Any],
    *,
    updates: int,
    size: int,
    rate: float,
    ema: float,
    seed: int,
    net: Any = None,
    classes: int = 10,
) -> tuple[Net, np.ndarray, float]:
    """The net's average, its outputs for `test`, and seconds. `net`: one to go on from; what has no gradient stays."""
    torch.manual_seed(seed)
    draw, ids = np.random.default_rng(seed), epochs(np.arange(len(train["x"])), size)

    def loss(net: Any) -> Any:
        rows = next(ids).numpy()
        keys = draw.integers(0, 2**32, (len(rows), 2), dtype=np.uint32)
        x = torch.from_numpy(change({"x": train["x"][rows]}, keys)["x"])
        return F.cross_entropy(net(x), torch.from_numpy(train["y"][rows]).long())

    net, seconds = trained(net or Net(classes), loss, updates=updates, rate=rate, ema=ema)
    with torch.no_grad():
        outputs = [net(part) for part in torch.from_numpy(np.asarray(test)).split(500)]
    return net.module, torch.cat(outputs).numpy(), seconds


def transferred(blocks: Any, parts: Any, *, updates: int, size: int, seed: int) -> dict[str, float]:
    """Test accuracies of flowers.py's three ways, from the same trunk, in a plain PyTorch loop."""
    from flowers import EMA, HEAD_RATE, KINDS, MOVED, RATE

    (x, y), (test, wanted) = parts["train"], parts["test"]
    frozen, scratch = Net(len(KINDS), blocks), Net(len(KINDS))
    frozen.layers.requires_grad_(False)
    found, how = {}, {"updates": updates, "size": size, "ema": EMA, "seed": seed}
    for name, net, rate in (("frozen", frozen, HEAD_RATE), ("tuned", frozen, RATE), ("scratch", scratch, RATE)):
        net.layers.requires_grad_(name != "frozen")
        net, outputs, _ = trained_on({"x": x, "y": y}, test, MOVED, net=net, rate=rate, **how)
        frozen = net if name == "frozen" else frozen
        found[name] = float((outputs.argmax(1) == wanted).mean())
    return found


def by_hand(x: np.ndarray) -> np.ndarray:
    """Colours and slopes of photographs `f32[n, 64, 64, 3]` from 0 to 1: `f32[n, 1892]`.

    - Shares of 64 colours (4 levels of each of three), in the whole and in the inner quarter, and their roots.
    - Histograms of 9 directions of the grey value's slope in 8 x 8 pixels, normalised in squares of four cells (Dalal
      and Triggs 2005).
    """
    n, side = x.shape[:2]
    level = np.minimum((x * 4).astype(np.int64), 3) @ np.array([16, 4, 1])
    inner = level[:, side // 4 : -side // 4, side // 4 : -side // 4]
    colours = [np.stack([np.bincount(of.ravel(), minlength=64) / of.size for of in part]) for part in (level, inner)]
    down, across = np.gradient(x @ np.array([0.299, 0.587, 0.114]), axis=(1, 2))
    steep, towards = np.hypot(down, across), (np.arctan2(down, across) / np.pi % 1 * 9).astype(np.int64) % 9
    cells = np.stack([(steep * (towards == k)).reshape(n, side // 8, 8, side // 8, 8).sum((2, 4)) for k in range(9)], 3)
    squares = np.concatenate([cells[:, :-1, :-1], cells[:, 1:, :-1], cells[:, :-1, 1:], cells[:, 1:, 1:]], 3)
    squares /= np.linalg.norm(squares, axis=3, keepdims=True) + 1e-2
    return np.concatenate([np.sqrt(np.concatenate(colours, 1)), squares.reshape(n, -1)], 1).astype(np.float32)


def by_scikit_learn(x: dict[str, np.ndarray], y: dict[str, np.ndarray]) -> tuple[str, float]:
    """Logistic regression or a support vector machine, whichever the validation part prefers; its test accuracy."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    tried = [LogisticRegression(C=c, max_iter=300) for c in (1e-4, 1e-3, 1e-2, 0.1)] + [SVC(C=c) for c in (1, 3, 10)]
    fits = [make_pipeline(StandardScaler(), model).fit(x["train"], y["train"]) for model in tried]
    best = max(fits, key=lambda fit: fit.score(x["val"], y["val"]))
    return str(best[-1]), float(best.score(x["test"], y["test"]))
