"""Linear models and multi-layer perceptrons: matrix products over the whole micro-batch, nothing per example."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax

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
from ladle.models.norm import NO_NORM, Kind, Norm, norm_of


@dataclass(frozen=True)
class Mlp:
    """Dense layers of the given widths; see `mlp`. Equal values are equal models.

        h_0 = x flattened;  h_k = activation(h_{k-1} @ W_k + b_k);  outputs = h_{n-1} @ W_n + b_n

    `params`: a tuple with `{"weight": f32[in, out], "bias": f32[out]}` per layer; with a norm hidden layers also have
    "scale", and their "bias" is added after it: h_k = activation(norm(h_{k-1} @ W_k) * scale_k + b_k).
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    dropout: float = 0.0
    norm: Norm = NO_NORM

    @property
    def name(self) -> str:
        kind = "mlp" if len(self.widths) > 2 else "linear"
        return f"{kind} {'-'.join(map(str, self.widths))}{self.norm.name}"

    @property
    def additive(self) -> bool:
        return not self.norm.over_batch

    @property
    def norm_rows(self) -> int | None:
        """Rows normalised together: see `Norm.rows`."""
        return self.norm.rows

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Hidden layers `he` (`glorot` under tanh), the last `glorot`, biases zero."""
        shapes = list(pairwise(self.widths))
        hidden = glorot if self.activation == "tanh" else he
        scales = [*(hidden(shape) for shape in shapes[:-1]), glorot(shapes[-1])]
        drawn = normals(key, shapes)
        layers = [dense_init(scale * weight) for scale, weight in zip(scales, drawn, strict=True)]
        normed = map(self.norm.layer, layers[:-1])
        return (*normed, layers[-1]), self.norm.begin(self.widths[1:-1])

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
            if self.norm.kind is not None:
                running = model_state[number] if self.norm.over_batch else None
                h, running = self.norm(h @ layer["weight"], running, weight, train=train)
                states.append(running)
                h = activation(h * layer["scale"][None] + layer["bias"][None])
            else:
                h = activation(dense(layer, h))
            if train:
                h = dropped(h, keys, rate=self.dropout if dropout is None else dropout, layer=number)
        return dense(params[-1], h), tuple(states) if self.norm.over_batch else model_state


def mlp(
    *widths: int,
    activation: str = "relu",
    dropout: float = 0.0,
    norm: Kind | None = None,
    batch_norm: bool = False,
    ghost_size: int | None = None,
    groups: int | None = None,
) -> Mlp:
    """A multi-layer perceptron: inputs, hidden widths, outputs. Rows of any shape are flattened.

    **Arguments**

    - `widths`: values in a row, hidden units ..., outputs. Two numbers make a linear model.
    - `activation`: "relu", "gelu", "silu" or "tanh".
    - `dropout`: share of hidden units left out in training, in [0, 1).
    - `norm`: of hidden layers, before the activation. "batch": by the statistics of the micro-batch's real rows; the
      model is then not `additive`. `batch_norm=True` says the same. "layer", "rms": over the units of a layer, example
      by example. "group": over each of `groups` equal groups of units, 8 where nothing is said.
    - `ghost_size`: batch norm over so many rows at a time instead of all.

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
    counts = checked_counts("widths", widths)
    found = norm_of(norm, batch_norm, ghost_size, groups, widths=counts[1:-1])
    return Mlp(counts, activation, checked_rate(dropout), found)


def linear(inputs: int, outputs: int) -> Mlp:
    """`outputs = x @ W + b`: linear or, under a cross-entropy, logistic regression.

    >>> linear(64, 10).name
    'linear 64-10'
    """
    return mlp(inputs, outputs)
