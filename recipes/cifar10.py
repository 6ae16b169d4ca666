"""Small photographs, decoded as they are needed: JPEG bytes in one file, two threads.

    LADLE_DATA=FOLDER python recipes/cifar10.py [--epochs 3] [--seed 0] [--peer] [--out FOLDER]

50,000 + 10,000 images of CIFAR-10, encoded anew at a quality of about 75: not for reporting an accuracy on CIFAR-10.
The bytes of the files stay in memory, two threads decode the next batches, pixels travel as bytes and become numbers on
the device, where half of them are mirrored. The number of epochs is fixed beforehand: nothing is chosen by the test
part.

Test accuracy 69.5, 69.4, 68.7 % (seeds 0, 1, 2) after 3 epochs, in 60 to 63 s of two cores; 1 % of the time waits for
data. The same net in a PyTorch loop over a DataLoader with two readers: 69.6, 68.8, 69.8 % in 44 to 45 s. The update is
what takes longer here: its convolutions are matrix products on a processor (docs/log.md).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import ladle
from ladle.feed.source.blob import open_blob


@dataclass(frozen=True)
class OfPixels:
    """A model of images whose values are `u8`, mirrored at random in training: all that a model has to have."""

    model: Any

    @property
    def name(self) -> str:
        return f"{self.model.name} of pixels"

    @property
    def additive(self) -> bool:
        return self.model.additive

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        return self.model.init(key)

    def apply(self, params: Any, state: Any, x: Any, *, keys: Any, weight: jax.Array, train: bool):
        x = x.astype(jnp.float32) / 255 - 0.5
        if train and keys is not None:
            mirror = jax.vmap(jax.random.bernoulli)(keys)
            x = jnp.where(mirror[:, None, None, None], x[:, :, ::-1], x)
        return self.model.apply(params, state, x, keys=keys, weight=weight, train=train)


def run(
    file: Path, *, seed: int = 0, epochs: float = 3, out: str | None = None, test: int = 10_000
) -> dict[str, float]:
    train, held = open_blob(file, "train"), open_blob(file, "test")
    some = np.linspace(0, len(held) - 1, test).astype(np.int64)
    data = ladle.data.streamed(train, valid=held.take(some), classes=10, name="cifar10_jpeg")
    net = ladle.models.convnet(data.input_shape, data.outputs, width=16, batch_norm=True)
    rate = optax.cosine_decay_schedule(3e-3, round(epochs * data.rows))
    task = ladle.Task(OfPixels(net), ladle.losses.cross_entropy, data, optimizer="adam", lr=rate)
    trained = ladle.fit(task, size=128, until=f"{epochs} epochs", seed=seed, out=out)
    lines = [line for line in trained.metrics if "data_wait_fraction" in line]
    return {
        "accuracy": trained.final["valid_accuracy"],
        "train_accuracy": trained.final["train_accuracy"],
        "data_wait_fraction": float(np.mean([line["data_wait_fraction"] for line in lines])),
        "images_per_second": trained.final["examples"] / trained.final["seconds"],
        "seconds": trained.final["seconds"],
    }


def main(args: Sequence[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--data", default=os.environ.get("LADLE_DATA", ""), help="folder with cifar10_jpeg/cifar10_jpeg.npz"
    )
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", action="store_true", help="the same net in a PyTorch loop")
    parser.add_argument("--out", help="run folder to write")
    given = parser.parse_args(args)
    file = Path(given.data, "cifar10_jpeg/cifar10_jpeg.npz")
    if not given.data or not file.is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"cifar10.py: data must hold cifar10_jpeg/cifar10_jpeg.npz; got {given.data!r}; {remedy}\n")
    try:
        found = run(file, seed=given.seed, epochs=given.epochs, out=given.out)
    except ladle.ArgumentError as error:
        parser.exit(2, f"cifar10.py: {error}\n")
    print(f"test accuracy {found['accuracy']:.1%} after {given.epochs:g} epochs, train {found['train_accuracy']:.1%}")
    print(f"{found['images_per_second']:,.0f} images/s, {found['data_wait_fraction']:.1%} of the time waiting for data")
    print(f"{found['seconds']:.0f} s of training")
    if given.peer:
        from cifar10_peers import trained

        found["peer"], found["peer_seconds"] = trained(file, seed=given.seed, epochs=given.epochs)
        print(f"a PyTorch loop: test {found['peer']:.1%}, {found['peer_seconds']:.0f} s")
    return found


if __name__ == "__main__":
    main()
