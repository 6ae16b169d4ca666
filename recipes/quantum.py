"""DOC"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ladle
from ladle.core.errors import must

SIZE, LR, WIRES, LAYERS, SIZES = 32, 2e-2, 4, 4, (8, 32, 128, 512)


def digits(wires: int, seed: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Handwritten digits, odd or even, as their first principal components; and the test part as it was split off."""
    whole = ladle.data.load("digits")
    train, test = (np.asarray(part["x"]).reshape(-1, 64) for part in (whole.train, whole.valid))
    odd, test_odd = (np.asarray(part["y"]) % 2 for part in (whole.train, whole.valid))
    middle = train.mean(0)
    _, spread, axes = np.linalg.svd(train - middle, full_matrices=False)
    unit = axes[:wires].T / spread[:wires] * len(train) ** 0.5  # Each component has mean 0 and spread 1 in training.
    x, test_x = ((part - middle) @ unit for part in (train, test))
    data = ladle.data.arrays(
        x, odd, valid=0.2, test=(test_x, test_odd), seed=seed, name=f"digits, odd or even, {wires}"
    )
    return data, test_x, test_odd


def circuit_of(wires: int, layers: int) -> Any:
    """`(params, x) -> <Z>` of each wire. Every layer turns each qubit by the inputs anew (Perez-Salinas et al. 2020)."""
    import pennylane as qml  # pyright: ignore[reportMissingImports]

    @qml.qnode(qml.device("default.qubit", wires=wires), interface="jax", diff_method="backprop")
    def circuit(params: Any, x: jax.Array) -> Any:
        for layer in range(layers):
            angles = params["by"][layer] * x[None] + params["from"][layer]  # f32[2, wires]
            for wire in range(wires):
                qml.RY(angles[0, wire], wires=wire)
                qml.RZ(angles[1, wire], wires=wire)
            for wire in range(wires if wires > 2 else wires - 1):
                qml.CZ(wires=[wire, (wire + 1) % wires])
        return [qml.expval(qml.PauliZ(wire)) for wire in range(wires)]

    return circuit


def task_of(data: Any, wires: int, layers: int, lr: float = LR) -> ladle.Task:
    circuit = circuit_of(wires, layers)

    def init(key: jax.Array) -> dict[str, jax.Array]:
        by, start, read = jax.random.split(key, 3)
        shape = layers, 2, wires
        return {
            "by": 0.5 + 0.2 * jax.random.normal(by, shape),
            "from": 0.3 * jax.random.normal(start, shape),
            "read": jax.random.normal(read, (wires, 2)),
        }

    def outputs(params: Any, x: jax.Array) -> jax.Array:
        return jnp.stack(jax.vmap(circuit, (None, 0))(params, x), 1).astype(jnp.float32) @ params["read"]

    def loss(params: Any, batch: Any) -> jax.Array:
        return ladle.losses.cross_entropy(outputs(params, batch["x"]), batch["y"])

    metrics = {"accuracy": ladle.metrics.accuracy}
    return ladle.Task.functions(init, loss, data, predict=outputs, metrics=metrics, lr=lr)


def require_room(wires: int, layers: int, free_bytes: int) -> None:
    """Refuse a circuit one example of which does not fit: the backward pass keeps the amplitudes after every gate."""
    needed = 8 * 2**wires * (3 * wires * layers + 2)
    if needed > free_bytes:
        most = max(n for n in range(1, wires) if 8 * 2**n * (3 * n * layers + 2) <= free_bytes)
        why = f"2^{wires} amplitudes after each of {3 * wires * layers} gates are {needed:,} bytes, and {free_bytes:,} are free"
        raise ladle.ArgumentError(must("wires", f"be at most {most} in this memory", wires, why, f"--wires {most}"))


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="quantum.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wires", type=int, default=WIRES, help="qubits, and principal components")
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--until", default="30 epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="run folder to write")
    parser.add_argument("--sizes", action="store_true", help="what the batch size does: a plan, and a comparison")
    parser.add_argument("--peer", action="store_true", help="a support vector machine on the same components too")
    given = parser.parse_args(args)
    return {}


if __name__ == "__main__":
    main()
