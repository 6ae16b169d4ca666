"""A transformer that tells the next byte: plain functions, which ladle and a step written by hand train alike.

Pre-norm blocks of causal attention and a perceptron of four times the width, learnt places, no dropout: the shape of
GPT-2 (Radford et al. 2019). Model FLOP utilisation is 6 N T / (seconds * peak), T tokens an update and N the weights
that a token is multiplied with (no embedding, no places), after Kaplan et al. 2020 (arXiv 2001.08361, section 2.1);
with attention 12 * depth * width * length FLOP a token are added (Chowdhery et al. 2022, arXiv 2204.02311, appendix B),
of which a causal kernel may leave out half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from peers.gpu_images import folder

import ladle

BYTES, RATE = 256, 3e-4

PEAKS = (("H100 PCIe", 756e12), ("H100 NVL", 835e12), ("H200", 989e12), ("H100", 989e12), ("A100", 312e12))
"""Dense bfloat16 FLOP/s by a part of the device's name, the more particular first, after NVIDIA's data sheets of these
devices, whose larger numbers are with sparsity. At full clocks and power, which a card may not have."""


def peak_of(device: str) -> float | None:
    """Dense bf16 FLOP/s of a device by its name; None for one that is not in the table.

    >>> peak_of("NVIDIA H200")
    989000000000000.0
    """
    return next((peak for name, peak in PEAKS if name.lower() in device.lower()), None)


@dataclass(frozen=True)
class Shape:
    """`attention`: what `jax.nn.dot_product_attention` is told ("cudnn", "xla")."""

    depth: int
    width: int
    heads: int
    length: int
    attention: str = "xla"

    @property
    def multiplied(self) -> int:
        """Weights that a token is multiplied with."""
        return 12 * self.depth * self.width**2 + self.width * BYTES

    def flops(self, tokens: int, *, attention: bool = False) -> float:
        """Forward and backward of so many tokens."""
        more = 12 * self.depth * self.width * self.length if attention else 0
        return float(tokens * (6 * self.multiplied + more))

    def init(self, key: jax.Array) -> Any:
        keys = iter(jax.random.split(key, 3 + 4 * self.depth))
        wide, near = 4 * self.width, 0.02 / math.sqrt(2 * self.depth)

        def drawn(scale: float, *shape: int) -> jax.Array:
            return scale * jax.random.normal(next(keys), shape)

        def one() -> dict[str, jax.Array]:
            return {
                "qkv": drawn(0.02, self.width, 3 * self.width),
                "joined": drawn(near, self.width, self.width),
                "up": drawn(0.02, self.width, wide),
                "down": drawn(near, wide, self.width),
                "scales": jnp.ones((2, self.width)),
            }

        return {
            "bytes": drawn(0.02, BYTES, self.width),
            "places": drawn(0.02, self.length, self.width),
            "out": drawn(0.02, self.width, BYTES),
            "blocks": [one() for _ in range(self.depth)],
            "scale": jnp.ones(self.width),
        }

    def outputs(self, params: Any, x: jax.Array) -> jax.Array:
        """`i32[rows, length] -> [rows, length, bytes]`, in the type of `params`."""
        h = params["bytes"][x] + params["places"][None]
        for weights in params["blocks"]:
            h = ladle.models.block(self._block)(weights, h)
        return _normed(h, params["scale"]) @ params["out"]

    def _block(self, weights: Any, h: jax.Array) -> jax.Array:
        rows, length, width = h.shape
        three = _normed(h, weights["scales"][0]) @ weights["qkv"]
        q, k, v = (part.reshape(rows, length, self.heads, -1) for part in jnp.split(three, 3, axis=-1))
        how: Any = self.attention
        read = jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation=how)
        h = h + read.reshape(rows, length, width) @ weights["joined"]
        return h + jax.nn.gelu(_normed(h, weights["scales"][1]) @ weights["up"]) @ weights["down"]

    def loss(self, params: Any, batch: Any) -> jax.Array:
        """`f32[rows]`: the mean over an example's bytes, in float32."""
        logits = self.outputs(params, batch["x"]).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean(-1)


def _normed(h: jax.Array, scale: jax.Array) -> jax.Array:
    wide = h.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt((wide * wide).mean(-1, keepdims=True) + 1e-6)
    return wide.astype(h.dtype) * scale[None, None]


def attention_here(length: int, heads: int, width: int) -> tuple[str, str]:
    """ "cudnn" where its kernel compiles on this device, else "xla"; and why."""
    if jax.default_backend() != "gpu":
        return "xla", "no GPU"
    one = jax.ShapeDtypeStruct((2, length, heads, width // heads), jnp.bfloat16)

    def total(q: jax.Array) -> jax.Array:
        read = jax.nn.dot_product_attention(q, q, q, is_causal=True, implementation="cudnn")
        return read.astype(jnp.float32).sum()

    try:
        jax.jit(jax.grad(total)).lower(one).compile()
    except Exception as error:  # Whatever this build lacks: the plain kernel is always there.
        return "xla", f"cudnn: {str(error).splitlines()[0][:120]}"
    return "cudnn", "compiles here"


def text(rows: int, length: int) -> tuple[ladle.data.Data, str]:
    """Examples of `length` bytes and the byte after each: Shakespeare, again and again, or made up."""
    where = folder("tiny_shakespeare")
    if where is None:
        told, said = np.random.default_rng(0).integers(0, BYTES, rows * length + 1, dtype=np.int32), "made up"
    else:
        told = np.fromfile(where / "input.txt", np.uint8).astype(np.int32)
        told, said = np.resize(told, rows * length + 1), "tiny Shakespeare, repeated"
    x, y = (part.reshape(rows, length) for part in (told[:-1], told[1:]))
    return ladle.data.arrays(x, y, valid=0, kind="classification", tokens=True), said


def task_of(shape: Shape, data: ladle.data.Data, **how: Any) -> ladle.Task:
    return ladle.Task.functions(shape.init, shape.loss, data, optimizer="adamw", lr=RATE, **how)


def by_ladle(task: ladle.Task, size: int) -> Callable[[int], float]:
    """`updates -> seconds of one`, of a run without a folder."""
    return lambda updates: (
        ladle.fit(task, size=size, micro_size=size, until=f"{updates} updates").final["seconds"] / updates
    )


def by_hand(shape: Shape, data: ladle.data.Data, size: int) -> Callable[[int], float]:
    """The same: parameters and averages in float32, arithmetic in bfloat16, one compiled step on donated state."""
    import time

    adamw = optax.adamw(RATE)
    x, y = (jax.device_put(data.train[name]) for name in ("x", "y"))

    def loss_of(params: Any, batch: Any) -> jax.Array:
        return shape.loss(jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params), batch).mean()

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, ids: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        params, moments = state
        loss, gradient = jax.value_and_grad(loss_of)(params, {"x": x[ids], "y": y[ids]})
        updates, moments = adamw.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), loss

    def batches(updates: int) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        return (rng.integers(0, len(x), size, dtype=np.int32) for _ in range(updates))

    def trained(updates: int) -> float:
        params = jax.jit(shape.init)(jax.random.key(0))
        state, loss = step((params, adamw.init(params)), next(batches(1)), x, y)
        jax.block_until_ready(loss)
        began = time.perf_counter()
        for ids in batches(updates):
            state, loss = step(state, ids, x, y)
        assert math.isfinite(float(loss))
        jax.block_until_ready(state)
        return (time.perf_counter() - began) / updates

    return trained
