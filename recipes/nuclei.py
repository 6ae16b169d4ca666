"""Which pixels are nuclei of cells? A small U-Net on crops of microscope images, beside the threshold of Otsu.

    LADLE_DATA=FOLDER python recipes/nuclei.py [--until "8 epochs"] [--size 8] [--seed 0] [--sizes] [--peer]

334 grey images of 256 x 256: 260 to train, 33 to validate, 41 to test (neighbouring crops of one specimen may be in two
parts). `Task(augment=)` cuts a square of 128 from a random place, mirrors and turns it, inside the compiled update; the
net has no size of its own, so whole images are judged. A moving average of the weights stands for a falling rate.

Mean IoU of the test images 0.861, 0.858, 0.854 (seeds 0, 1, 2); Otsu's threshold 0.806; the same net, rate and number
of crops in a PyTorch loop 0.851, 0.855, 0.851. 2,080 crops in 126 to 143 s on two cores that many programs used, about
75 s of processor time.

The batch (--sizes): planned 1, noise scale 2 (heavy tails). After 260 crops the validation IoU is 0.78, 0.74, 0.66,
0.60 with batches of 1, 4, 16, 64: at the start crops agree so well that only the number of updates counts.
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
from batch_sizes import add_sizes, keep, side_by_side
from PIL import Image

import ladle
from ladle.feed import below, draws
from ladle.models.images import convolve, pool
from ladle.models.layers import he, normals
from ladle.models.norm import group_norm

CROP, SIZE, RATE, EMA, PASSES, SWEPT = 128, 8, 3e-3, 0.98, "8 epochs", "1 epochs"
PAIRS = ((4, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (96, 32), (32, 32), (48, 16), (16, 16))
"""Channels into and out of each convolution, two in a stage: two stages down, the bottom, two up."""


def read(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and masks (1 for a nucleus) of each part: `u8[n, 256, 256]` twice."""
    rows = list(csv.DictReader((folder / "index.csv").read_text().splitlines()))
    with zipfile.ZipFile(folder / "nuclei.zip") as archive:
        x, y = (
            np.stack([np.asarray(Image.open(io.BytesIO(archive.read(f"{kind}/{row['id']}.png")))) for row in rows])
            for kind in ("images", "labels")
        )
    parts = np.array([row["split"] for row in rows])
    return {part: (x[parts == part], (y[parts == part] > 0).astype(np.uint8)) for part in ("train", "val", "test")}


def levelled(x: np.ndarray) -> np.ndarray:
    """Each image with mean 0 and deviation 1: some are ten times as bright as others."""
    mean, sd = x.mean((1, 2), keepdims=True), x.std((1, 2), keepdims=True)
    return ((x - mean) / np.maximum(sd, 1)).astype(np.float32)


def cropped(row: Any, key: Any) -> Any:
    """A square of image and mask from a random place, mirrored and turned at random."""
    place, chance = below(key, 2, 256 - CROP + 1), draws(key, 5)[2:] < 0.5
    at, flip = np.arange(CROP, dtype=np.int32), chance.astype(np.int32)
    down, across = (place[k] + at + flip[k] * (CROP - 1 - 2 * at) for k in (0, 1))
    parts = {name: row[name][down[:, None], across[None]] for name in ("x", "y")}
    where = row["x"].__array_namespace__().where
    return {name: where(chance[2], part.T, part) for name, part in parts.items()}


def init(key: jax.Array) -> Any:
    shapes = [*((3, 3, *pair) for pair in PAIRS), (16, 4)]
    drawn = [he(shape) * weight for shape, weight in zip(shapes, normals(key, shapes), strict=True)]
    layers = [{"weight": w, "scale": jnp.ones(w.shape[-1]), "bias": jnp.zeros(w.shape[-1])} for w in drawn[:-1]]
    return {"layers": layers, "out": {"weight": drawn[-1], "bias": jnp.full(4, -2.0)}}


def apply(params: Any, x: Any) -> jax.Array:
    """Log odds of each pixel, `[n, height, width]`. Four pixels in a square are one place with four channels."""
    n, height, width = x.shape
    h = x.reshape(n, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 2, 4).reshape(n, height // 2, width // 2, 4)
    skipped, layers = [], params["layers"]
    for stage in range(5):
        if stage > 2:
            h = jnp.concatenate([h.repeat(2, 1).repeat(2, 2), skipped.pop()], axis=-1)
        for layer in layers[2 * stage : 2 * stage + 2]:
            h = group_norm(convolve(h, layer["weight"]), 4) * layer["scale"][None, None, None]
            h = jax.nn.relu(h + layer["bias"][None, None, None])
        if stage < 2:
            skipped.append(h)
            h = pool(h)
    h = h @ params["out"]["weight"] + params["out"]["bias"][None, None, None]
    return h.reshape(n, height // 2, width // 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(n, height, width)


def loss(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Cross entropy of a pixel, and what is missing to an overlap of 1, which small nuclei move as large ones do."""
    y = y.astype(jnp.float32)
    chance = jax.nn.sigmoid(outputs)
    entropy = jnp.logaddexp(0.0, outputs) - y * outputs
    overlap = (2 * (chance * y).sum((1, 2)) + 1) / ((chance + y).sum((1, 2)) + 1)
    return entropy.mean((1, 2)) + 1 - overlap


def iou(outputs: Any, y: Any) -> jax.Array:
    """Pixels that both call nucleus over those that either does, of each image; 1 where there are none."""
    found, there = outputs > 0, y > 0
    both, either = ((of.sum((1, 2))).astype(jnp.float32) for of in (found & there, found | there))
    return jnp.where(either > 0, both / jnp.maximum(either, 1), 1.0)


def dice(outputs: Any, y: Any) -> jax.Array:
    return 2 * iou(outputs, y) / (1 + iou(outputs, y))


def otsu(images: np.ndarray) -> np.ndarray:
    """Brighter than the threshold that leaves most variance between the two sides, image by image: `bool[n, h, w]`."""

    def threshold(image: np.ndarray) -> int:
        count = np.bincount(image.ravel(), minlength=256).astype(float)
        below, total = np.cumsum(count), np.cumsum(count * np.arange(256))
        means = total / np.maximum(below, 1), (total[-1] - total) / np.maximum(below[-1] - below, 1)
        return int(np.argmax(below * (below[-1] - below) * (means[0] - means[1]) ** 2))

    return np.stack([image > threshold(image) for image in images])


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with nuclei_dsb2018/")
    parser.add_argument("--until", help=f"{PASSES}; of a sweep {SWEPT}")
    parser.add_argument("--size", default="8", help="crops in a batch, or 'auto' for a plan's")
    parser.add_argument("--seed", type=int, default=0)
    add_sizes(parser)
    parser.add_argument("--peer", action="store_true", help="the same net in a PyTorch loop")
    parser.add_argument("--out", help="folder for the run's record")
    parser.add_argument("--picture", metavar="FILE", help="draw four test images, their masks and what was found")
    given = parser.parse_args(args)
    folder = Path(given.data, "nuclei_dsb2018")
    if not given.data or not (folder / "nuclei.zip").is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"nuclei.py: data must hold nuclei_dsb2018/nuclei.zip; got {given.data!r}; {remedy}\n")

    parts = read(folder)
    (x, y), valid, test = ((levelled(images), masks) for images, masks in parts.values())
    data = ladle.data.arrays(x, y, valid=valid, test=test, kind="classification", name="nuclei_dsb2018")
    task = ladle.Task(
        ladle.models.FunctionModel(init, apply, "U-Net 16-32-64-32-16"),
        loss,
        data,
        lr=RATE,
        ema=EMA,
        augment=cropped,
        metrics={"iou": ladle.metrics.higher(iou), "dice": ladle.metrics.higher(dice)},
    )
    try:
        if given.sizes is not None:
            how = {"until": given.until or SWEPT, "reference": SIZE, "higher": True, "most": 3, "judgements": 2}
            plan = ladle.plan(task, memory="3GB")  # Without a limit updates of all crops would be timed.
            judge = lambda run: run.averaged().evaluate(data.valid)["iou"]  # noqa: E731
            swept = side_by_side(task, plan, sizes=[1, 4, 16, 64], judge=judge, **how)
            keep(given.sizes, "nuclei", "IoU, validation", swept)
            return swept
        how = {"evaluate_every": 8 * data.rows, "seed": given.seed, "out": given.out}
        run = ladle.fit(task, size=given.size, until=given.until or PASSES, **how)
    except ladle.ArgumentError as error:
        parser.exit(2, f"nuclei.py: {error}\n")
    final = run.averaged()
    found = final.evaluate(data.test)
    plain = iou(2 * otsu(parts["test"][0]).astype(np.int8) - 1, test[1])
    figures = {"iou": found["iou"], "dice": found["dice"], "otsu_iou": float(plain.mean())}
    print(f"test IoU {found['iou']:.3f}, Dice {found['dice']:.3f}; Otsu's threshold {float(plain.mean()):.3f}")
    print(f"{run.final['examples']:,} crops in {run.final['seconds']:.0f} s")
    if given.picture:
        from pictures import draw_nuclei, save

        some = [6, 11, 16, 34]
        said = final.outputs(test[0][some])
        shares = np.asarray(iou(said, test[1][some])).tolist()
        save(draw_nuclei(parts["test"][0][some], test[1][some], said > 0, shares), given.picture)
    if given.peer:
        from vision_peers import nuclei

        outputs, seconds = nuclei(x, y, test[0], updates=run.final["updates"], size=run.final["size"], seed=given.seed)
        figures |= {"peer_iou": float(iou(outputs, test[1]).mean()), "peer_seconds": seconds}
        print(f"the same in a PyTorch loop {figures['peer_iou']:.3f} in {seconds:.0f} s")
    return figures


if __name__ == "__main__":
    main()
