"""A convnet of PyTorch on Fashion-MNIST: `ladle.fit` trains a module as it is.

    LADLE_DATA=FOLDER python recipes/torch_fashion.py [--until "2 epochs"] [--seed 0] [--quick] [--out FOLDER]

Two convolutions of eight and sixteen filters and one linear layer, AdamW at 3e-3, batches of 64. 54,000 images train,
6,000 validate; the 10,000 of the test part are looked at once, at the end.

Test accuracy 87.6, 87.6, 87.4 % (seeds 0, 1, 2) after two passes, where a plain loop gives 87.5, 87.2, 87.8 %
(`first_peers.py`): 16 s of processor time, evaluations included.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from torch import nn, optim

import ladle
import ladle.torch


def net() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 28)),  # Rows of 28 x 28 become images of one channel.
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(16 * 7 * 7, 10)),
    )


def main(args: Sequence[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--until", default="2 epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few batches, to see that it runs")
    parser.add_argument("--out", help="folder for the record of the run")
    asked = parser.parse_args(args)
    until = "1280 examples" if asked.quick else asked.until
    try:
        data = ladle.data.load("fashion-mnist", valid=0.1)
        task = ladle.torch.task(net, nn.CrossEntropyLoss(), data, optimizer=lambda p: optim.AdamW(p, lr=3e-3))
        began = time.process_time()
        run = ladle.fit(task, size=64, until=until, seed=asked.seed, out=asked.out)
    except ladle.LadleError as error:
        parser.exit(2, f"torch_fashion.py: {error}\n")
    assert data.test is not None
    x, y = (data.test[name][: 512 if asked.quick else None] for name in ("x", "y"))
    figures = {
        "test": float((run.outputs(x).argmax(1) == y).mean()),
        "valid": run.final["valid_accuracy"],
        "cpu_seconds": time.process_time() - began,
    }
    print(
        f"test accuracy {figures['test']:.1%}, validation {figures['valid']:.1%}, {figures['cpu_seconds']:.0f} s of CPU"
    )
    return figures


if __name__ == "__main__":
    main()
