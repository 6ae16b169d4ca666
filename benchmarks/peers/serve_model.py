"""The model of `serving.py` for the other servers, by hand: a jitted network, batches padded to powers of two, warm."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np

MOST = 64
WAIT_MS = 1


class ByHand:
    def __init__(self) -> None:
        held = np.load(os.environ["SERVE_WEIGHTS"])
        layers = [
            (jax.numpy.asarray(held[f"w{at}"]), jax.numpy.asarray(held[f"b{at}"])) for at in range(len(held) // 2)
        ]

        @jax.jit
        def outputs(x: Any) -> Any:
            for w, b in layers[:-1]:
                x = jax.nn.relu(x @ w + b)
            return x @ layers[-1][0] + layers[-1][1]

        self.outputs = outputs
        for power in range(MOST.bit_length()):
            self([np.zeros(layers[0][0].shape[0])] * (1 << power))

    def __call__(self, rows: list[Any]) -> list[dict[str, Any]]:
        x = np.asarray(rows, np.float32)
        rung = 1 << (len(x) - 1).bit_length()
        logits = np.asarray(self.outputs(np.concatenate([x, np.zeros((rung - len(x), x.shape[1]), np.float32)])))[
            : len(x)
        ]
        made = np.exp((logits - logits.max(1, keepdims=True)).astype(np.float64))
        made /= made.sum(1, keepdims=True)
        return [
            {"predictions": [int(one)], "chances": [row]}
            for one, row in zip(made.argmax(1), made.tolist(), strict=True)
        ]
