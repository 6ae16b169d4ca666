"""Linear models and multi-layer perceptrons: matrix products over the whole micro-batch, nothing per example."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from ladle.core.errors import ArgumentError, must
from ladle.models.layers import (
    activation_named,
    checked_counts,
    checked_rate,
    dense,
    dense_init,
    dropped,
    flat,
    glorot,
    he,
    normals,
)
from ladle.models.norm import batch_norm as over_batch
from ladle.models.norm import batch_norm_init, checked_ghost_size, norm_name


@dataclass(frozen=True)
class Mlp:
    """Dense layers of the given widths; see `mlp`. Equal values are equal models.

        h_0 = x flattened;  h_k = activation(h_{k-1} @ W_k + b_k);  outputs = h_{n-1} @ W_n + b_n

    `params`: a tuple with `{"weight": f32[in, out], "bias": f32[out]}` per layer; with batch norm hidden layers also
    have "scale", and their "bias" is added after the norm.
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    dropout: float = 0.0
    batch_norm: bool = False
    ghost_size: int | None = None

    @property
    def name(self) -> str:
        kind = "mlp" if len(self.widths) > 2 else "linear"
        return f"{kind} {'-'.join(map(str, self.widths))}{norm_name(self.batch_norm, self.ghost_size)}"

    @property
    def additive(self) -> bool:
        return not self.batch_norm

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Hidden layers `he` (`glorot` under tanh), the last `glorot`, biases zero."""
        shapes = list(pairwise(self.widths))
        hidden = glorot if self.activation == "tanh" else he
        scales = [*(hidden(shape) for shape in shapes[:-1]), glorot(shapes[-1])]
        drawn = normals(key, shapes)
        layers = [dense_init(scale * weight) for scale, weight in zip(scales, drawn, strict=True)]
        if not self.batch_norm:
            return tuple(layers), ()
        normed = [{**layer, "scale": jnp.ones_like(layer["bias"])} for layer in layers[:-1]]
        return (*normed, layers[-1]), tuple(map(batch_norm_init, self.widths[1:-1]))

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
        """`[examples, ...] -> [examples, outputs]`. Raises `ArgumentError` for rows of another size."""
        activation = activation_named(self.activation)
        h = flat(x, self.widths[0]).astype(params[0]["weight"].dtype)
        states = []
        for number, layer in enumerate(params[:-1]):
            if self.batch_norm:
                h, running = over_batch(
                    h @ layer["weight"], model_state[number], weight, train=train, ghost_size=self.ghost_size
                )
                states.append(running)
                h = activation(h * layer["scale"][None] + layer["bias"][None])
            else:
                h = activation(dense(layer, h))
            if train:
                h = dropped(h, keys, rate=self.dropout if dropout is None else dropout, layer=number)
        return dense(params[-1], h), tuple(states) if self.batch_norm else model_state


def mlp(
    *widths: int,
    activation: str = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
    ghost_size: int | None = None,
) -> Mlp:
    """A multi-layer perceptron: inputs, hidden widths, outputs. Rows of any shape are flattened.

    **Arguments**

    - `widths`: values in a row, hidden units ..., outputs. Two numbers make a linear model.
    - `activation`: "relu", "gelu", "silu" or "tanh".
    - `dropout`: share of hidden units left out in training, in [0, 1).
    - `batch_norm`: normalise hidden layers, before the activation, with the statistics of the micro-batch's real rows.
      The model is then not `additive`. `ghost_size`: of so many rows at a time instead of all.

    Weights start as N(0, 2 / inputs) in hidden layers (He et al. 2015), and as N(0, 2 / (inputs + outputs)) in the
    last one and under tanh (Glorot and Bengio 2010); biases at zero.

    **Raises** `ArgumentError`.

    >>> import jax, numpy as np
    >>> model = mlp(64, 128, 10)
    >>> params, state = model.init(jax.random.key(0))
    >>> outputs, _ = model.apply(params, state, np.ones((5, 8, 8)), keys=None, weight=np.ones(5), train=False)
    >>> model.name, outputs.shape
    ('mlp 64-128-10', (5, 10))
    """
    if len(widths) < 2:
        because = "a model has inputs and outputs"
        raise ArgumentError(must("widths", "be at least two numbers", widths, because, "mlp(64, 128, 10)"))
    activation_named(activation)
    if batch_norm and len(widths) == 2:
        because = "a linear model has no hidden layer to normalise"
        raise ArgumentError(must("batch_norm", "be False for two widths", True, because, "mlp(64, 128, 10)"))
    ghost_size = checked_ghost_size(batch_norm, ghost_size)
    return Mlp(checked_counts("widths", widths), activation, checked_rate(dropout), bool(batch_norm), ghost_size)


def linear(inputs: int, outputs: int) -> Mlp:
    """`outputs = x @ W + b`: linear or, under a cross-entropy, logistic regression.

    >>> linear(64, 10).name
    'linear 64-10'
    """
    return mlp(inputs, outputs)
