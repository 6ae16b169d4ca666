from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Mlp:
    widths: tuple[int, ...]
    additive = True

    @property
    def name(self):
        return "mlp " + "-".join(map(str, self.widths))

    def init(self, key):
        layers = []
        for k, a, b in zip(jax.random.split(key, len(self.widths)), self.widths, self.widths[1:]):
            layers.append({"w": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "b": jnp.zeros(b)})
        return layers, ()

    def apply(self, params, model_state, x, *, keys, weight, train):
        x = x.reshape(x.shape[0], -1)
        for i, layer in enumerate(params):
            x = x @ layer["w"] + layer["b"][None]
            if i + 1 < len(params):
                x = jax.nn.relu(x)
        return x, model_state


def mlp(*widths):
    return Mlp(widths)
