"""Small photographs, decoded as they are needed: JPEG bytes in one file, two threads.

    LADLE_DATA=FOLDER python recipes/cifar10.py [--epochs 3] [--rows 5000] [--augment] [--seed 0] [--sizes] [--peer]

50,000 + 10,000 images of CIFAR-10, encoded anew at a quality of about 75: not for reporting an accuracy on CIFAR-10.
The bytes of the files stay in memory, two threads decode the next batches, pixels travel as bytes and become numbers on
the device, where half of them are mirrored. The number of epochs is fixed beforehand: nothing is chosen by the test
part.

Test accuracy 69.5, 69.4 % (seeds 0, 1) after 3 epochs; 0.7 to 0.8 % of the time waiting for data. 250 to 300 s of
processor time, evaluations and compiling included; 474 and 643 s of training on two CPU cores busy with other work.
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
from vision_sizes import side_by_side

import ladle
from ladle.feed import Arrays, RandomImages
from ladle.feed.source.blob import open_blob

SIZE, RATE = 128, 3e-3


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


def task_of(
    file: Path, *, epochs: float = 3, rows: int | None = None, augment: bool = False, test: int = 10_000
) -> ladle.Task:
    """All training images or the first `rows`; `augment` moves them by up to 4 pixels beside mirroring half."""
    train, held = open_blob(file, "train"), open_blob(file, "test")
    source = train if rows is None else Arrays(train.take(np.arange(rows)))
    some = np.linspace(0, len(held) - 1, test).astype(np.int64)
    data = ladle.data.streamed(source, valid=held.take(some), classes=10, name="cifar10_jpeg")
    net = ladle.models.convnet(data.input_shape, data.outputs, width=16, batch_norm=True)
    rate = optax.cosine_decay_schedule(RATE, round(epochs * data.rows))
    moved = RandomImages(pad=4, flip=False) if augment else None
    return ladle.Task(OfPixels(net), ladle.losses.cross_entropy, data, optimizer="adam", lr=rate, augment=moved)


def run(file: Path, *, seed: int = 0, epochs: float = 3, out: str | None = None, **how: Any) -> dict[str, float]:
    task = task_of(file, epochs=epochs, **how)
    last = {"evaluate_every": 10**9} if how.get("rows") else {}
    trained = ladle.fit(task, size=SIZE, until=f"{epochs} epochs", seed=seed, out=out, **last)
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
    parser.add_argument("--rows", type=int, help="train on the first so many images alone")
    parser.add_argument("--augment", action="store_true", help="move images by up to 4 pixels, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", action="store_true", help="sizes side by side")
    parser.add_argument("--peer", action="store_true", help="the same net in a PyTorch loop")
    parser.add_argument("--out", help="run folder to write")
    given = parser.parse_args(args)
    file = Path(given.data, "cifar10_jpeg/cifar10_jpeg.npz")
    if not given.data or not file.is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"cifar10.py: data must hold cifar10_jpeg/cifar10_jpeg.npz; got {given.data!r}; {remedy}\n")
    how = {"epochs": given.epochs, "rows": given.rows, "augment": given.augment}
    try:
        if given.sizes:
            task = task_of(file, **how)
            sizes = {"sizes": [32, 128, 512], "until": f"{given.epochs} epochs", "reference": SIZE, "plan": False}
            side_by_side(task, lambda run: run.evaluate(task.data.valid)["accuracy"], **sizes)
        found = run(file, seed=given.seed, out=given.out, **how)
    except ladle.ArgumentError as error:
        parser.exit(2, f"cifar10.py: {error}\n")
    print(f"test accuracy {found['accuracy']:.1%} after {given.epochs:g} epochs, train {found['train_accuracy']:.1%}")
    print(f"{found['images_per_second']:,.0f} images/s, {found['data_wait_fraction']:.1%} of the time waiting for data")
    print(f"{found['seconds']:.0f} s of training")
    if given.peer:
        from vision_peers import cifar10

        found["peer_accuracy"], seconds = cifar10(task_of(file, **how).data, given.epochs, given.augment, given.seed)
        print(f"the same in a PyTorch loop {found['peer_accuracy']:.1%} in {seconds:.0f} s")
    return found


if __name__ == "__main__":
    main()
