"""A small convolutional network for images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ladle.core.errors import ArgumentError, must
from ladle.models.blocks import block
from ladle.models.layers import checked_counts, checked_rate, dense, dense_init, dropped, glorot, he, normals
from ladle.models.norm import NO_NORM, Kind, Norm, norm_of

LEAST_SIDE = 4
THREE_BLOCKS_FROM = 16
"""Sides from here on are halved three times instead of twice."""


@dataclass(frozen=True)
class ConvNet:
    """Blocks of 3x3 convolution, a norm if asked for, 2x2 max pooling, ReLU; then a linear head. See `convnet`.

    `params`: `{"blocks": ({"weight": f32[3, 3, in, out], "bias": f32[out]}, ...), "head": {...}}`; with a norm
    a block also has "scale", and its "bias" is added after the norm.
    """

    shape: tuple[int, int, int]
    outputs: int
    width: int = 16
    dropout: float = 0.0
    norm: Norm = NO_NORM

    @property
    def name(self) -> str:
        widths = "-".join(map(str, (*self.channels, self.outputs)))
        return f"convnet {'x'.join(map(str, self.shape))} {widths}{self.norm.name}"

    @property
    def additive(self) -> bool:
        return not self.norm.over_batch

    @property
    def norm_rows(self) -> int | None:
        """Rows normalised together: see `Norm.rows`."""
        return self.norm.rows

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels after each block: `width`, doubled from block to block."""
        return _channels(self.shape, self.width)

    @property
    def features(self) -> int:
        """Values that reach the head; a side is halved in each block, an odd one rounded down."""
        halvings = len(self.channels)
        return (self.shape[0] >> halvings) * (self.shape[1] >> halvings) * self.channels[-1]

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Convolutions `he`, head `glorot`, scales one, biases zero."""
        ins = (self.shape[2], *self.channels[:-1])
        kernels = [(3, 3, inputs, outputs) for inputs, outputs in zip(ins, self.channels, strict=True)]
        head = (self.features, self.outputs)
        *drawn, last = normals(key, [*kernels, head])
        blocks = [dense_init(he(shape) * weight) for shape, weight in zip(kernels, drawn, strict=True)]
        blocks = tuple(map(self.norm.layer, blocks))
        return {"blocks": blocks, "head": dense_init(glorot(head) * last)}, self.norm.begin(self.channels)

    def apply(
        self,
        params: Any,
        model_state: Any,
        x: Any,
        *,
        keys: jax.Array | None,
        weight: jax.Array,
        train: bool,
        dropout: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """`[examples, h, w(, c)] -> [examples, outputs]`. Raises `ArgumentError` for images of another shape."""
        h = self._images(x).astype(params["head"]["weight"].dtype)
        states = []
        for number, layer in enumerate(params["blocks"]):
            running = model_state[number] if self.norm.over_batch else ()
            h, running = block(self._block)(layer, running, h, weight, train)
            states.append(running)
        h = h.reshape(h.shape[0], self.features)
        if train:
            h = dropped(h, keys, rate=self.dropout if dropout is None else dropout, layer=0)
        return dense(params["head"], h), tuple(states) if self.norm.over_batch else model_state

    def _block(self, layer: Any, running: Any, h: jax.Array, weight: jax.Array, train: bool) -> tuple[jax.Array, Any]:
        h = convolve(h, layer["weight"])
        if self.norm.kind is not None:
            h, running = self.norm(h, running, weight, train=train)
            h = h * layer["scale"][None, None, None]
        # Both are monotone, so pooling may come before ReLU, which then runs on a quarter of the values.
        return jax.nn.relu(pool(h + layer["bias"][None, None, None])), running

    def _images(self, x: Any) -> jax.Array:
        x = jnp.asarray(x)
        known = (self.shape, self.shape[:2]) if self.shape[2] == 1 else (self.shape,)
        if x.shape[1:] not in known:
            raise ArgumentError(
                must(
                    "x",
                    f"be images of shape {known[-1]}",
                    x.shape[1:],
                    "the head was made for them",
                    "a model for yours",
                )
            )
        return x.reshape(x.shape[0], *self.shape)


def convolve(x: jax.Array, weight: jax.Array) -> jax.Array:
    """3x3 convolution with zeros around: `[n, h, w, in], [3, 3, in, out] -> [n, h, w, out]`.

    On CPU as one matrix product: inside a loop, where updates run, XLA (jax 0.10.2) does without its fast convolution
    there, and a training step took ten times as long. The product needs more memory: the nine neighbours of each pixel.
    """
    if jax.default_backend() != "cpu":
        return lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    product = neighbours(x).reshape(-1, math.prod(weight.shape[:3])) @ weight.reshape(-1, weight.shape[3])
    return product.reshape(*x.shape[:3], weight.shape[3])


def neighbours(x: jax.Array) -> jax.Array:
    """The 3x3 values around each pixel, zeros beyond the edge: `[n, h, w, c] -> [n, h, w, 9 c]`, rows first."""
    _, h, w, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return jnp.concatenate([padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=-1)


def pool(x: jax.Array) -> jax.Array:
    """2x2 max pooling, `[n, h, w, c] -> [n, h // 2, w // 2, c]`; an odd last row or column is left out.

    The maximum of pairs in a reshaped window. On CPU, XLA runs its gradient much faster than that of
    `lax.reduce_window`. Not `.max((2, 4))`, which is no faster: its gradient looks for values equal to the maximum,
    and in compiled programs with batch norm before it (XLA of jax 0.10.2, CPU) came out silently wrong.
    """
    n, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
    rows = jnp.maximum(x[:, :, 0], x[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


def convnet(
    input_shape: Sequence[int],
    outputs: int,
    *,
    width: int = 16,
    norm: Kind | None = None,
    batch_norm: bool = False,
    dropout: float = 0.0,
    ghost_size: int | None = None,
    groups: int | None = None,
) -> ConvNet:
    """A small convolutional network: two blocks, three from 16 pixels a side on.

    **Arguments**

    - `input_shape`: `(h, w)` or `(h, w, c)`, each side at least 4.
    - `outputs`: numbers per image; `width`: channels after the first block, doubled in each further one.
    - `norm`: after each convolution. "batch": by the statistics of the micro-batch's real rows; the model is then not
      `additive`. `batch_norm=True` says the same. "layer", "rms": over all places and channels, example by example.
      "group": over the places of each of `groups` equal groups of channels, 8 where nothing is said.
    - `dropout`: share of the head's inputs left out in training, in [0, 1).
    - `ghost_size`: batch norm over so many rows at a time instead of the whole micro-batch.

    **Raises** `ArgumentError`.

    >>> import jax, numpy as np
    >>> model = convnet((28, 28), 10)
    >>> params, state = model.init(jax.random.key(0))
    >>> outputs, _ = model.apply(params, state, np.ones((5, 28, 28)), keys=None, weight=np.ones(5), train=False)
    >>> model.name, outputs.shape
    ('convnet 28x28x1 16-32-64-10', (5, 10))
    """
    shape = checked_counts("input_shape", tuple(input_shape))
    if len(shape) not in (2, 3) or min(shape[:2]) < LEAST_SIDE:
        raise ArgumentError(
            must(
                "input_shape",
                f"be (h, w) or (h, w, c) with sides of at least {LEAST_SIDE}",
                shape,
                "a convnet slides over images and halves them twice",
                f"mlp({math.prod(shape)}, 128, {outputs})",
            )
        )
    height, breadth, depth = (*shape, 1)[:3]
    outputs, width = checked_counts("outputs and width", (outputs, width))
    channels = _channels(shape, width)
    found = norm_of(norm, batch_norm, ghost_size, groups, widths=channels, places=LEAST_SIDE)
    return ConvNet((height, breadth, depth), outputs, width, checked_rate(dropout), found)


def _channels(shape: Sequence[int], width: int) -> tuple[int, ...]:
    blocks = 3 if min(shape[:2]) >= THREE_BLOCKS_FROM else 2
    return tuple(width * 2**block for block in range(blocks))
