"""The images of MNIST for the two federated recipes, shrunk."""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np

FILES = {part: (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")}


def folder_of(data: str, parser: argparse.ArgumentParser, name: str) -> Path:
    """The folder with MNIST in the folder of data sets, or one line and exit 2."""
    folder = Path(data, "mnist")
    if not data or not all((folder / file).is_file() for files in FILES.values() for file in files):
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"{name}: data must hold mnist/; got {data!r}; {remedy}\n")
    return folder


def read(folder: Path, part: str, count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` images, shrunk to `side` x `side`, as `f32[count, side^2]` from 0 to 1; and their digits.

    No more of a file is unpacked than that: each process of `federated_flower.py` reads for itself.
    """
    content = []
    for name in FILES[part]:
        with gzip.open(folder / name) as file:
            content.append(file.read(16 + 784 * count))
    images, labels = content
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(count, 28, 28)
    wide = np.pad(pixels, ((0, 0), (2, 2), (2, 2))).reshape(count, side, 32 // side, side, 32 // side)
    small = wide.mean((2, 4)).reshape(count, side * side) / 255
    return small.astype(np.float32), np.frombuffer(labels, np.uint8, count, offset=8).astype(np.int64)
