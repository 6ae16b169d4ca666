"""Five kinds of flowers from 1,000 photographs: features learnt on CIFAR-10, frozen or as a start, or from nothing.

    LADLE_DATA=FOLDER python recipes/flowers.py [--until "5 epochs"] [--seed 0] [--sizes] [--peer]

@FIG@

@SIZES@
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from vision_sizes import side_by_side

import ladle
from ladle.feed import RandomImages
from ladle.feed.source.blob import open_blob
from ladle.models.images import convolve, pool
from ladle.models.layers import dense, dense_init, glorot, he, normals
from ladle.models.norm import group_norm

SIDE, RATE = 32, 2e-3
PAIRS = ((12, 32), (32, 64), (64, 128))
KINDS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


def read(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Photographs `u8[n, 32, 32, 3]` and kinds of each part."""
    rows = list(csv.DictReader((folder / "labels.csv").read_text(encoding="utf-8").splitlines()))
    with zipfile.ZipFile(folder / "flowers.zip") as archive:

        def photograph(name: str) -> np.ndarray:
            return np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB").reduce(128 // SIDE))

        x = np.stack([photograph(row["filename"]) for row in rows])
    y = np.array([KINDS.index(row["label"]) for row in rows], np.int32)
    parts = np.array([row["split"] for row in rows])
    return {part: (x[parts == part], y[parts == part]) for part in ("train", "val", "test")}


def features(blocks: Any, x: Any) -> jax.Array:
    """`[n, 32, 32, 3]` from 0 to 1, or bytes, to `f32[n, 512]`: a quarter of the picture has 128 of them."""
    h = x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x
    h = (2 * h - 1).reshape(len(h), SIDE // 2, 2, SIDE // 2, 2, 3).transpose(0, 1, 3, 2, 4, 5)
    h = h.reshape(len(h), SIDE // 2, SIDE // 2, 12)
    for layer in blocks:
        h = group_norm(convolve(h, layer["weight"]), 8) * layer["scale"][None, None, None]
        h = pool(jax.nn.relu(h + layer["bias"][None, None, None]))
    return h.reshape(len(h), -1)


def model(classes: int, known: Any = None) -> Any:
    """The net with random weights, or with blocks that are `known`."""

    def init(key: jax.Array) -> Any:
        shapes = [*((3, 3, *pair) for pair in PAIRS), (4 * PAIRS[-1][1], classes)]
        *drawn, last = normals(key, shapes)
        layers = [dense_init(he(shape) * w) for shape, w in zip(shapes[:-1], drawn, strict=True)]
        blocks = [{**layer, "scale": jnp.ones_like(layer["bias"])} for layer in layers]
        return {"blocks": blocks if known is None else known, "head": dense_init(glorot(shapes[-1]) * last)}

    def apply(params: Any, x: Any) -> jax.Array:
        return dense(params["head"], features(params["blocks"], x))

    return ladle.models.FunctionModel(init, apply, f"convnet 32-64-128-{classes}")


def learnt_before(file: Path, until: str, seed: int) -> tuple[Any, float]:
    """Blocks after training on CIFAR-10, and the share of its test part they got right."""
    train, held = open_blob(file, "train"), open_blob(file, "test")
    some = np.linspace(0, len(held) - 1, 2000).astype(np.int64)
    data = ladle.data.streamed(train, valid=held.take(some), classes=10, name="cifar10_jpeg")
    run = ladle.fit(ladle.Task(model(10), "cross_entropy", data, lr=RATE), size=64, until=until, seed=seed)
    return run.params["blocks"], run.final["valid_accuracy"]


def by_regression(x: dict[str, np.ndarray], y: dict[str, np.ndarray]) -> float:
    """Test accuracy of logistic regression, its penalty chosen by the validation part."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(x["train"])
    fits = [
        LogisticRegression(C=c, max_iter=300).fit(scale.transform(x["train"]), y["train"]) for c in (1e-3, 1e-2, 0.1)
    ]
    best = max(fits, key=lambda fit: fit.score(scale.transform(x["val"]), y["val"]))
    return float(best.score(scale.transform(x["test"]), y["test"]))


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--data", default=os.environ.get("LADLE_DATA", ""), help="folder with tf_flowers_128/, cifar10_jpeg/"
    )
    parser.add_argument("--until", default="5 epochs")
    parser.add_argument("--before", default="8000 examples", help="how long to train on CIFAR-10")
    parser.add_argument("--size", default="32", help="photographs in a batch, or 'auto' for a plan's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", action="store_true", help="a plan, and sizes side by side, frozen and from nothing")
    parser.add_argument("--peer", action="store_true", help="logistic regression, on features and on pixels")
    parser.add_argument("--out", help="folder for the records of the runs")
    given = parser.parse_args(args)
    folder, file = Path(given.data, "tf_flowers_128"), Path(given.data, "cifar10_jpeg/cifar10_jpeg.npz")
    if not given.data or not (folder / "flowers.zip").is_file() or not file.is_file():
        what, remedy = (
            "tf_flowers_128/flowers.zip and cifar10_jpeg/cifar10_jpeg.npz",
            "try --data FOLDER, or LADLE_DATA=FOLDER",
        )
        parser.exit(2, f"flowers.py: data must hold {what}; got {given.data!r}; {remedy}\n")

    parts = read(folder)
    data = ladle.data.arrays(*parts["train"], valid=parts["val"], test=parts["test"], name="tf_flowers_128")
    figures: dict[str, Any] = {}
    try:
        known, figures["before"] = learnt_before(file, given.before, given.seed)
        print(f"on CIFAR-10: {figures['before']:.1%} after {given.before}")
        tasks = {}
        for name, blocks, frozen in (("frozen", known, ("blocks",)), ("tuned", known, ()), ("scratch", None, ())):
            rate = RATE / 4 if name == "tuned" else RATE
            tasks[name] = ladle.Task(
                model(len(KINDS), blocks), "cross_entropy", data,
                lr=rate, frozen=frozen, ema=0.98, augment=RandomImages(pad=2),
            )  # fmt: skip
        for name, task in tasks.items():
            if given.sizes:
                print(f"{name}:")
                side_by_side(
                    task, lambda run: run.averaged().evaluate(data.valid)["accuracy"], sizes=[8, 32, 128],
                    until=given.until, reference=32,
                )  # fmt: skip
            out = given.out and Path(given.out, name)
            how = {"evaluate_every": 30 * data.rows, "seed": given.seed, "out": out}
            run = ladle.fit(task, size=given.size, until=given.until, **how)
            figures[name] = run.averaged().evaluate(data.test)["accuracy"]
            print(f"{name:>8}: test {figures[name]:.1%} in {run.final['seconds']:.0f} s")
    except ladle.ArgumentError as error:
        parser.exit(2, f"flowers.py: {error}\n")
    if given.peer:
        y = {part: kinds for part, (_, kinds) in parts.items()}
        seen = {part: np.asarray(jax.jit(features)(known, x)) for part, (x, _) in parts.items()}
        small = {
            part: x.reshape(len(x), 16, 2, 16, 2, 3).mean((2, 4)).reshape(len(x), -1) for part, (x, _) in parts.items()
        }
        figures |= {"peer": by_regression(seen, y), "pixels": by_regression(small, y)}
        print(f"logistic regression: on features {figures['peer']:.1%}, on 16 x 16 pixels {figures['pixels']:.1%}")
    return figures


if __name__ == "__main__":
    main()
