"""Rematerialisation: memory of an update of a 12-block transformer, predicted and measured, at three policies.

Claims: predicted and measured peak are within 10 % at each; "full" takes less than half of "none".

    python benchmarks/remat.py [--quick]

Hardware and every sample: `results/remat.json`. n = 1 child process for each policy: the same program on the same
inputs differs by a percent. The transformer (Equinox, width
128, 4 heads, 64 places) marks its blocks with `ladle.models.block`. Seconds are medians of updates at a rate of zero:
computing again costs time, and where memory is slow it saves some.
"""

from __future__ import annotations

import statistics
from typing import Any

import equinox as eqx
import jax
import numpy as np
from timing import arguments, headline, save, table
from truth.transformer import Block, letters

import ladle
from ladle.api.assembly import assemble

BLOCKS, WIDTH, LENGTH, LETTERS, ROWS = 12, 128, 64, 64, 256
SIZES = (32,)
WITHIN = 0.1
REPEATS = 1
POLICIES = ("none", "dots", "full")


class Deep(eqx.Module):
    """`i32[length] -> f32[length, letters]`, its blocks marked."""

    embedding: eqx.nn.Embedding
    places: jax.Array
    blocks: tuple[Block, ...]
    out: eqx.nn.Linear

    def __init__(self, key: jax.Array) -> None:
        """Weights from `key`."""
        keys = jax.random.split(key, 3 + BLOCKS)
        self.embedding = eqx.nn.Embedding(LETTERS, WIDTH, key=keys[0])
        self.places = 0.02 * jax.random.normal(keys[1], (LENGTH, WIDTH))
        self.out = eqx.nn.Linear(WIDTH, LETTERS, key=keys[2])
        self.blocks = tuple(Block(WIDTH, one) for one in keys[3:])

    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = jax.vmap(self.embedding)(x) + self.places
        for one in self.blocks:
            hidden = ladle.models.block(one)(hidden)
        return jax.vmap(self.out)(hidden)


def data() -> ladle.data.Data:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, LETTERS, (2, ROWS, LENGTH), dtype=np.int32)
    return ladle.data.arrays(x, y, valid=0)


def of_policy(remat: Any, sizes: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    model = ladle.models.from_equinox(lambda key: Deep(key))
    task = ladle.Task(model, letters, data(), optimizer="adamw", lr=1e-3, metrics={}, remat=remat)
    assembly = assemble(task)
    specs = [ladle.BatchSpec(size, size) for size in sizes]
    asked = assembly.engine.probe(assembly.feed(0), specs[0], hyper={**assembly.optimizer.hyper, "lr": 1e-3})
    measured = list(zip(*(asked.confirm_all(specs) for _ in range(repeats)), strict=True))
    return [
        {
            "remat": remat,
            "micro_size": spec.micro_size,
            "predicted_bytes": asked.memory_bytes(spec),
            "measured_bytes": list(peaks),
            "ratio": asked.memory_bytes(spec) / statistics.median(peaks),
            "seconds": asked.seconds(spec, 3).tolist(),
        }
        for spec, peaks in zip(specs, measured, strict=True)
    ]


def main(quick: bool) -> None:
    sizes, repeats = SIZES, 1 if quick else REPEATS
    found = [row for remat in POLICIES for row in of_policy(remat, sizes, repeats)]
    print(headline())
    rows = [
        [
            row["remat"], row["micro_size"], f"{row['predicted_bytes'] / 2**20:.1f}",
            f"{statistics.median(row['measured_bytes']) / 2**20:.1f}", f"{row['ratio']:.3f}",
            "yes" if abs(row["ratio"] - 1) <= WITHIN else "NO", f"{statistics.median(row['seconds']):.3f}",
        ]
        for row in found
    ]  # fmt: skip
    header = ["remat", "micro size", "predicted MiB", "measured MiB", "ratio", "within 10 %", "seconds"]
    print(table(header, rows), end="\n\n")
    print(save("remat", quick=quick, n=repeats, updates=found))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
