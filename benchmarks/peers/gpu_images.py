"""Images on an accelerator: rows, ladle's task and the program by hand for an MLP and a convnet.

By hand is what `peers/fashion.py` calls its strongest simple program: one compiled scan an epoch, with permutation and
gathers inside. Rows are read from `LADLE_DATA`; where a data set is not there, made-up rows of its shape take its
place, which changes no time, and `Images.rows` says so.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from peers.fashion import Stopwatch, laps

import ladle

CLASSES, RATE = 10, 1e-3


@dataclass(frozen=True)
class Images:
    """`x`: `f32[rows, ...]`. `y`: `i32[rows]`. `rows`: where they are from."""

    x: np.ndarray
    y: np.ndarray
    rows: str

    def first(self, count: int) -> Images:
        return Images(self.x[:count], self.y[:count], self.rows)

    @property
    def data(self) -> ladle.data.Data:
        return ladle.data.arrays(self.x, self.y, valid=0, kind="classification")


def made_up(shape: tuple[int, ...], count: int, instead_of: str) -> Images:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, *shape), dtype=np.float32)
    return Images(x, rng.integers(0, CLASSES, count).astype(np.int32), f"made up, {instead_of} is not in LADLE_DATA")


def folder(name: str) -> Path | None:
    """`LADLE_DATA/name`, if it is there."""
    found = Path(os.environ.get("LADLE_DATA", ".")) / name
    return found if found.is_dir() else None


def fashion() -> Images:
    """60,000 rows of 784 pixels."""
    if folder("fashion_mnist") is None:
        return made_up((784,), 60_000, "Fashion-MNIST")
    train = ladle.data.load("fashion-mnist", valid=0).train
    return Images(train["x"].reshape(-1, 784), train["y"].astype(np.int32), "Fashion-MNIST")


def cifar(count: int = 48_000) -> Images:
    """Images of 32 x 32 x 3. The lossless part of CIFAR-10 again and again: as many rows as make an epoch."""
    where = folder("cifar10_exact")
    if where is None:
        return made_up((32, 32, 3), count, "CIFAR-10")
    x = np.load(where / "train_images.npy", mmap_mode="r")
    y = np.load(where / "train_labels.npy")
    ids = np.arange(count) % len(x)
    pixels = (np.asarray(x, np.float32) / 255 - 0.5) / 0.25
    return Images(pixels[ids], y[ids].astype(np.int32), f"{len(x):,} rows of CIFAR-10 (lossless), repeated")


def mlp_init(key: jax.Array, widths: tuple[int, ...] = (784, 256, CLASSES)) -> Any:
    shapes = list(pairwise(widths))
    keys = jax.random.split(key, len(shapes))
    return [
        (math.sqrt(2 / ins) * jax.random.normal(one, (ins, outs)), jnp.zeros(outs))
        for one, (ins, outs) in zip(keys, shapes, strict=True)
    ]


def mlp_apply(params: Any, x: jax.Array) -> jax.Array:
    *hidden, (weight, bias) = params
    for one, offset in hidden:
        x = jax.nn.relu(x @ one + offset)
    return x @ weight + bias


def convnet_init(key: jax.Array, width: int) -> Any:
    """Three blocks for 32 x 32 x 3, the shapes of `ladle.models.convnet`."""
    channels = (3, width, 2 * width, 4 * width)
    keys = jax.random.split(key, 4)
    blocks = [
        (math.sqrt(2 / (9 * ins)) * jax.random.normal(one, (3, 3, ins, outs)), jnp.zeros(outs))
        for one, (ins, outs) in zip(keys, pairwise(channels), strict=False)
    ]
    features = 16 * channels[-1]
    return blocks, (math.sqrt(1 / features) * jax.random.normal(keys[3], (features, CLASSES)), jnp.zeros(CLASSES))


def convnet_apply(params: Any, x: jax.Array) -> jax.Array:
    blocks, (weight, bias) = params
    for kernel, offset in blocks:
        x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(lax.reduce_window(x + offset, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"))
    return x.reshape(len(x), -1) @ weight + bias


def by_hand(init: Callable[[jax.Array], Any], apply: Callable[..., Any], images: Images, size: int) -> Any:
    """`epochs -> seconds of each`, from a fresh state, compiled once."""
    adam = optax.adam(RATE)
    x, y = jax.device_put(images.x), jax.device_put(images.y)
    steps = len(images.x) // size

    def loss_of(params: Any, rows: jax.Array, classes: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(apply(params, rows), classes).mean()

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: Any, key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        def update(state: Any, ids: jax.Array) -> Any:
            params, moments = state
            loss, gradient = jax.value_and_grad(loss_of)(params, x[ids], y[ids])
            updates, moments = adam.update(gradient, moments, params)
            return (optax.apply_updates(params, updates), moments), loss

        order = jax.random.permutation(key, len(x))[: steps * size].reshape(steps, size)
        state, losses = lax.scan(update, state, order)
        return state, losses.mean()

    def trained(epochs: int) -> list[float]:
        params = jax.jit(init)(jax.random.key(0))
        state, keys = (params, adam.init(params)), iter(jax.random.split(jax.random.key(1), epochs))

        def one() -> float:
            nonlocal state
            state, loss = epoch(state, next(keys), x, y)
            return float(loss)

        return laps(epochs, one)[1:]

    return trained


def by_ladle(model: Any, images: Images, size: int) -> Any:
    """The same through `ladle.fit`, with records and checkpoints in a run folder."""
    task = ladle.Task(model, "cross_entropy", images.data, optimizer="adam", lr=RATE)

    def trained(epochs: int) -> list[float]:
        stopwatch: Any = Stopwatch()
        with tempfile.TemporaryDirectory() as where:
            ladle.fit(task, size=size, micro_size=size, until=f"{epochs} epochs", out=f"{where}/run", show=stopwatch)
        return np.diff(stopwatch.times).tolist()

    return trained
