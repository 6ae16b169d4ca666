"""Where are the cells in a picture of blood, and of which kind? A single-shot detector on a grid of 20 x 15 places.

    LADLE_DATA=FOLDER python recipes/cells.py [--until "8 epochs"] [--size 8] [--seed 0] [--sizes] [--peer]

BCCD at a quarter of its sides: 205 pictures to train, 87 to validate, 72 to test, by the split of its source. Labels
are incomplete, so precision is understated. `Task(augment=)` mirrors pictures with their boxes, in reading threads.

Mean average precision at an IoU of 0.5, test: 0.739, 0.676, 0.669 (seeds 0, 1, 2); red cells 0.79 to 0.80, white 0.96
to 0.98, platelets 0.46, 0.25, 0.23; the same net in a PyTorch loop 0.650, 0.593, 0.631
(platelets 0.18, 0.01, 0.12). 34 to 63 s on two busy cores.

The batch (--sizes): planned 1, noise scale 1; after two passes validation loss 1.56, 1.75, 2.25, 2.47 at 1, 4, 16, 64.
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
from vision_boxes import apart, average_precision

import ladle
from ladle.feed import Arrays, draws
from ladle.models.images import convolve, pool
from ladle.models.layers import he, normals
from ladle.models.norm import group_norm

KINDS = ("RBC", "WBC", "Platelets")
SHRUNK, STRIDE, HEIGHT, WIDTH = 4, 8, 15, 20
"""Pictures are read at a quarter of their sides, 120 x 160 pixels; a place of the grid is 8 x 8 of these."""

UNIT, SIZE, RATE, EMA, PASSES, SWEPT = 24.0, 8, 3e-3, 0.98, "8 epochs", "2 epochs"
PAIRS = ((12, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 64))
POOLED, FROM = (0, 2), -0.8
"""Convolutions, and those with pooling behind them. Log odds from which on a box is drawn: a chance of 31 %."""


def read(folder: Path) -> dict[str, tuple[np.ndarray, list[np.ndarray]]]:
    """Pictures `u8[n, 120, 160, 3]` of each part, and of each picture its boxes: kind, centre x, y, width, height."""
    rows = list(csv.DictReader((folder / "boxes.csv").read_text().splitlines()))
    boxes: dict[str, list[Any]] = {}
    for row in rows:
        x0, y0, x1, y1 = (int(row[side]) / SHRUNK for side in ("xmin", "ymin", "xmax", "ymax"))
        if x1 > x0 and y1 > y0:  # Two boxes have no area.
            box = KINDS.index(row["label"]), (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
            boxes.setdefault(row["filename"], []).append(box)
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for row in csv.DictReader((folder / "splits.csv").read_text().splitlines()):
        parts[row["split"]].append(row["filename"])
    with zipfile.ZipFile(folder / "images.zip") as archive:

        def picture(name: str) -> np.ndarray:
            return np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB").reduce(SHRUNK))

        return {
            part: (np.stack([picture(name) for name in names]), [np.array(boxes[name], np.float32) for name in names])
            for part, names in parts.items()
        }


def on_grid(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """`f32[n, 15, 20, 8]`: whether a cell of each kind has its centre in a place, whether any has, and its box there.

    Of two centres in a place the smaller box's counts. A box: where in its place the centre is, logs of its sides.
    """
    grid = np.zeros((len(boxes), HEIGHT, WIDTH, 8), np.float32)
    for places, of in zip(grid, boxes, strict=True):
        for kind, x, y, w, h in sorted(of.tolist(), key=lambda box: -box[3] * box[4]):
            row, column = min(int(y / STRIDE), HEIGHT - 1), min(int(x / STRIDE), WIDTH - 1)
            places[row, column] = 0
            places[row, column, [int(kind), 3]] = 1
            places[row, column, 4:] = x / STRIDE - column, y / STRIDE - row, np.log(w / UNIT), np.log(h / UNIT)
    return grid


def mirrored(row: Any, key: Any) -> Any:
    """Picture and boxes, left for right and top for bottom at random."""
    xp, flip = row["y"].__array_namespace__(), draws(key, 2) < 0.5
    x, y = row["x"], row["y"]
    for axis, inside in ((1, 4), (0, 5)):
        turned = xp.where(np.arange(8) == inside, 1 - y, y)
        x, y = xp.where(flip[axis], xp.flip(x, axis), x), xp.where(flip[axis], xp.flip(turned, axis), y)
    return {"x": x, "y": y}


def init(key: jax.Array) -> Any:
    shapes = [*((3, 3, *pair) for pair in PAIRS), (PAIRS[-1][1], 7)]
    drawn = [he(shape) * weight for shape, weight in zip(shapes, normals(key, shapes), strict=True)]
    layers = [{"weight": w, "scale": jnp.ones(w.shape[-1]), "bias": jnp.zeros(w.shape[-1])} for w in drawn[:-1]]
    return {"layers": layers, "out": {"weight": 0.1 * drawn[-1], "bias": jnp.array([-3.0] * 3 + [0.5] * 2 + [0.0] * 2)}}


def apply(params: Any, x: Any) -> jax.Array:
    """`f32[n, 15, 20, 7]`: log odds of each kind in each place, and a box there. See `on_grid`."""
    h = x.astype(jnp.float32) / 127.5 - 1
    h = h.reshape(len(h), 60, 2, 80, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(len(h), 60, 80, 12)
    for number, layer in enumerate(params["layers"]):
        h = group_norm(convolve(h, layer["weight"]), 4) * layer["scale"][None, None, None]
        h = jax.nn.relu(h + layer["bias"][None, None, None])
        h = pool(h) if number in POOLED else h
    return h @ params["out"]["weight"] + params["out"]["bias"][None, None, None]


def loss(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """For each cell of a picture: focal cross entropy of all places, and the distance of its box's four numbers."""
    odds, kind, there = outputs[..., :3], y[..., :3], y[..., 3]
    focal = jnp.abs(kind - jax.nn.sigmoid(odds)) ** 2 * (jnp.logaddexp(0.0, odds) - kind * odds)
    apart = jnp.abs(outputs[..., 3:] - y[..., 4:]).sum(3) * there
    return (focal.sum((1, 2, 3)) + apart.sum((1, 2))) / jnp.maximum(there.sum((1, 2)), 1)


def found_of(outputs: np.ndarray, kind: int, least: float = -np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Scores from `least` on, and boxes of one kind in a picture, best first, in pixels: centre x, y, width, height."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    score, box = outputs[..., kind].ravel(), outputs[..., 3:].reshape(-1, 4)
    middle = (box[:, :2] + np.stack([columns.ravel(), rows.ravel()], 1)) * STRIDE
    scores, boxes = apart(score, np.concatenate([middle, UNIT * np.exp(np.clip(box[:, 2:], -4, 3))], axis=1))
    return scores[scores >= least], boxes[scores >= least]


def precisions(outputs: np.ndarray, boxes: Sequence[np.ndarray]) -> dict[str, float]:
    """Average precision of each kind, and their mean."""
    each = {
        name: average_precision([found_of(of, kind) for of in outputs], [of[of[:, 0] == kind, 1:] for of in boxes])
        for kind, name in enumerate(KINDS)
    }
    return {"map": float(np.nanmean(list(each.values()))), **each}


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with bccd/")
    parser.add_argument("--until", help=f"{PASSES}; of a sweep {SWEPT}")
    parser.add_argument("--size", default="8", help="pictures in a batch, or 'auto' for a plan's")
    parser.add_argument("--seed", type=int, default=0)
    add_sizes(parser)
    parser.add_argument("--peer", action="store_true", help="the same net in a PyTorch loop")
    parser.add_argument("--out", help="folder for the run's record")
    parser.add_argument("--picture", metavar="FILE", help="draw three test pictures with boxes")
    given = parser.parse_args(args)
    folder = Path(given.data, "bccd")
    if not given.data or not (folder / "images.zip").is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"cells.py: data must hold bccd/images.zip; got {given.data!r}; {remedy}\n")

    parts = read(folder)
    rows = {part: {"x": pictures, "y": on_grid(boxes)} for part, (pictures, boxes) in parts.items()}
    data = ladle.data.streamed(Arrays(rows["train"]), valid=rows["val"], name="bccd")
    model = ladle.models.FunctionModel(init, apply, "detector on a grid")
    task = ladle.Task(model, loss, data, lr=RATE, ema=EMA, augment=mirrored, metrics={})

    try:
        if given.sizes is not None:
            how = {"until": given.until or SWEPT, "reference": SIZE, "most": 3, "judgements": 4}
            plan = ladle.plan(task, memory="3GB")  # Without a limit updates of all pictures would be timed.
            swept = side_by_side(task, plan, sizes=[1, 4, 16, 64], **how)
            keep(given.sizes, "cells", "validation loss", swept)
            return swept
        how = {"evaluate_every": 10 * data.rows, "seed": given.seed, "out": given.out}
        run = ladle.fit(task, size=given.size, until=given.until or PASSES, **how)
    except ladle.ArgumentError as error:
        parser.exit(2, f"cells.py: {error}\n")

    answers = run.averaged().outputs(rows["test"]["x"])
    figures: dict[str, Any] = precisions(answers, parts["test"][1])
    each = ", ".join(f"{name} {figures[name]:.3f}" for name in KINDS)
    print(f"test mAP at IoU 0.5: {figures['map']:.3f} ({each})")
    print(f"{run.final['examples']:,} pictures in {run.final['seconds']:.0f} s")
    if given.picture:
        from pictures import draw_cells, save

        some, kinds = [11, 22, 30], range(len(KINDS))
        found = [[(k, *box) for k in kinds for box in found_of(answers[at], k, FROM)[1]] for at in some]
        shown = parts["test"][0][some], [parts["test"][1][at] for at in some]
        save(draw_cells(*shown, found, ("red cell", "white cell", "platelet")), given.picture)
    if given.peer:
        from vision_peers import cells

        how = {"updates": run.final["updates"], "size": run.final["size"], "seed": given.seed}
        outputs, seconds = cells(rows["train"], rows["test"]["x"], **how)
        figures |= {"peer_map": precisions(outputs, parts["test"][1])["map"], "peer_seconds": seconds}
        print(f"the same in a PyTorch loop {figures['peer_map']:.3f} in {seconds:.0f} s")
    return figures


if __name__ == "__main__":
    main()
