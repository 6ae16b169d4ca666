"""Next characters of Shakespeare by a small transformer of PyTorch, in a loop of one's own: bfloat16, a growing batch.

    LADLE_DATA=FOLDER python recipes/torch_shakespeare.py [--epochs 1] [--seed 0] [--quick] [--data FOLDER]

Tiny Shakespeare, 65 characters; the last tenth of the text validates. Two layers of width 96, four heads, windows of
64 characters, AdamW. Everything is in the loop below: `Update` cuts each batch into micro-batches of 32 windows, clips,
and refuses what is not finite; `Follow` takes the batch from 32 to 64 to 128 windows at a third and two thirds of the
pass, and the rate with it by the square root rule; the forward pass is in bfloat16 by autocast.

Validation 2.059, 2.074, 2.067 nats per character (seeds 0, 1, 2) after one pass of 15,685 windows, 28 s; pairs of
characters alone give 2.48.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import ladle
from ladle.feed import Loader
from ladle.feed.source.tokens import text_tokens
from ladle.policy import Steps
from ladle.torch import Follow, Update

LENGTH, WIDTH, HEADS, MICRO = 64, 96, 4, 32
LR = 2e-3
"""At 32 windows."""


class Layer(nn.Module):
    """Attention to what was before, then each place by itself, both behind a norm and beside what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.asked, self.told = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.alone = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.asked(self.first(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], is_causal=True)
        x = x + self.told(found.transpose(1, 2).flatten(-2))
        return x + self.alone(self.second(x))


class Net(nn.Module):
    """Characters and their places, `layers` layers, and a score for each next character."""

    def __init__(self, characters: int, layers: int = 2) -> None:
        super().__init__()
        self.of, self.at = nn.Embedding(characters, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.layers = nn.Sequential(*(Layer() for _ in range(layers)), nn.LayerNorm(WIDTH))
        self.scores = nn.Linear(WIDTH, characters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scores(self.layers(self.of(x) + self.at.weight[: x.shape[1]]))


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    """`f32[windows]`, nats a character: the mean over each window."""
    with torch.autocast("cpu", torch.bfloat16):
        scores = model(batch["x"])
    return functional.cross_entropy(scores.float().transpose(1, 2), batch["y"], reduction="none").mean(1)


@torch.no_grad()
def judged(model: nn.Module, rows: dict[str, torch.Tensor]) -> float:
    parts = [{name: leaf[at : at + 256] for name, leaf in rows.items()} for at in range(0, len(rows["y"]), 256)]
    return float(torch.cat([loss(model, part) for part in parts]).mean())


def windows(tokens: Any, most: int | None = None) -> dict[str, torch.Tensor]:
    """A text as rows: `LENGTH` characters, and those that follow each."""
    count = min((len(tokens) - 1) // LENGTH, most or len(tokens))
    whole = torch.as_tensor(tokens[: count * LENGTH + 1]).long()
    return {"x": whole[:-1].view(count, LENGTH), "y": whole[1:].view(count, LENGTH)}


def trained(train: dict[str, torch.Tensor], characters: int, epochs: int, seed: int) -> tuple[nn.Module, list[Any]]:
    """The model and the record of its windows: the loop itself."""
    torch.manual_seed(seed)
    model, rows = Net(characters), len(train["y"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    loader = Loader(train, MICRO, to="torch", shuffle=True, seed=seed)
    update = Update(model, optimizer, micro_size=MICRO, clip=1.0, gauge=ladle.Gauge(every=4), seed=seed)
    third = epochs * rows // 3
    policy = Steps(((0, MICRO), (third, 2 * MICRO), (2 * third, 4 * MICRO)), micro_size=MICRO, coupling="square root")
    follow, record = Follow(policy, None, loader, update, window=max(rows // 12, 1)), []
    for _ in range(epochs):
        for batch in loader:
            update(batch, loss)
            for line in follow():
                record.append(line)
                told = f"{line['examples']:7,} windows  size {line['size']:4}  loss {line['train_loss']:.3f}"
                print(f"{told}  noise scale {line.get('noise_scale', float('nan')):.0f}")
    return model, record


def main(args: Sequence[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    folder = os.environ.get("LADLE_DATA", "")
    parser.add_argument("--data", default=folder, help="folder with tiny_shakespeare/input.txt")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few windows, to see that it runs")
    asked = parser.parse_args(args)
    path = Path(asked.data, "tiny_shakespeare", "input.txt")
    if not asked.data or not path.is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        told = f"data must hold tiny_shakespeare/input.txt; got {asked.data!r}; {remedy}"
        parser.exit(2, f"torch_shakespeare.py: {told}\n")
    tokens, characters = text_tokens(path)
    cut, most = len(tokens) * 9 // 10, 768 if asked.quick else None
    train, valid = windows(tokens[:cut], most), windows(tokens[cut:], most and 128)
    began = time.process_time()
    model, record = trained(train, len(characters), asked.epochs, asked.seed)
    figures = {"seconds": time.process_time() - began, "valid": judged(model.eval(), valid)}
    figures |= {"sizes": len({line["size"] for line in record}), "examples": record[-1]["examples"]}
    print(f"validation {figures['valid']:.3f} nats per character; {figures['seconds']:.0f} s of processor time")
    return figures


if __name__ == "__main__":
    main()
