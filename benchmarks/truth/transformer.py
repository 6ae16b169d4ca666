"""A small transformer in Equinox, and the loss of the letters it tells."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

HEADS, BLOCKS = 4, 2


class Block(eqx.Module):
    """Attention to what came before, then a layer of its own for each place."""

    attention: eqx.nn.MultiheadAttention
    norms: tuple[eqx.nn.LayerNorm, eqx.nn.LayerNorm]
    perceptron: eqx.nn.MLP

    def __init__(self, width: int, key: jax.Array) -> None:
        """Weights from `key`."""
        first, second = jax.random.split(key)
        self.attention = eqx.nn.MultiheadAttention(HEADS, width, key=first)
        self.norms = eqx.nn.LayerNorm(width), eqx.nn.LayerNorm(width)
        self.perceptron = eqx.nn.MLP(width, width, 4 * width, 1, jax.nn.gelu, key=second)

    def __call__(self, x: jax.Array) -> jax.Array:
        before = jnp.tril(jnp.ones((len(x), len(x)), bool))
        normed = jax.vmap(self.norms[0])(x)
        x = x + self.attention(normed, normed, normed, mask=before)
        return x + jax.vmap(self.perceptron)(jax.vmap(self.norms[1])(x))


class Transformer(eqx.Module):
    """`i32[length] -> f32[length, letters]`."""

    embedding: eqx.nn.Embedding
    places: jax.Array
    blocks: tuple[Block, ...]
    out: eqx.nn.Linear

    def __init__(self, length: int, width: int, count: int, key: jax.Array) -> None:
        """`count` letters."""
        keys = jax.random.split(key, 3 + BLOCKS)
        self.embedding = eqx.nn.Embedding(count, width, key=keys[0])
        self.places = 0.02 * jax.random.normal(keys[1], (length, width))
        self.out = eqx.nn.Linear(width, count, key=keys[2])
        self.blocks = tuple(Block(width, one) for one in keys[3:])

    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = jax.vmap(self.embedding)(x) + self.places
        for block in self.blocks:
            hidden = block(hidden)
        return jax.vmap(self.out)(hidden)


def transformer(length: int, width: int, count: int) -> Any:
    """The factory that a task takes."""

    def made(key: jax.Array) -> Transformer:
        return Transformer(length, width, count, key)

    import ladle

    return ladle.models.from_equinox(made)


def letters(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Mean cross entropy of an example's letters, `f32[examples]`."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean(-1)
