"""A variational quantum circuit, simulated by PennyLane under JAX, on the same engine as any other model.

    python recipes/quantum.py [--wires 4] [--layers 4] [--until "30 epochs"] [--seed 0] [--out FOLDER] [--sizes]

ladle's own 1,797 handwritten digits, odd or even, by their first four principal components: what a line cannot tell
apart. Four qubits, four layers of gates that take the four numbers anew; 72 numbers are learnt. 359 digits test, and
20 % of the others validate.

Test accuracy 91.1, 91.4, 91.9 % (seeds 0, 1, 2); logistic regression on the same four numbers 77.4 %, a support
vector machine 93.0 %. 7 s of CPU time, all but one of them for compiling.

Batch size: a plan reads a noise scale of 59 examples (51 to 69) and proposes 16; in the second half of the runs it is
203, 343 and 486, bounded from below alone. Test accuracy after 30 passes by size, seed 0, the rate with its square
root: 8: 90.8 %, 32: 91.1 %, 128: 92.5 %, 512: 90.0 %.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ladle
from ladle.core.errors import must
from ladle.jax.memory import device_free_bytes

SIZE, LR, WIRES, LAYERS, SIZES = 32, 2e-2, 4, 4, (8, 32, 128, 512)


def digits(wires: int, seed: int) -> tuple[Any, Any, Any]:
    """Handwritten digits, odd or even, by their first principal components: data, rows to learn from, rows to test."""
    whole = ladle.data.load("digits")
    train, test = (np.asarray(part["x"]).reshape(-1, 64) for part in (whole.train, whole.valid))
    odd, test_odd = (np.asarray(part["y"]) % 2 for part in (whole.train, whole.valid))
    middle = train.mean(0)
    _, spread, axes = np.linalg.svd(train - middle, full_matrices=False)
    unit = axes[:wires].T / spread[:wires] * len(train) ** 0.5  # Each component has mean 0 and spread 1 in training.
    x, test_x = ((part - middle) @ unit for part in (train, test))
    name = f"digits, odd or even, {wires} components"
    data = ladle.data.arrays(x, odd, valid=0.2, test=(test_x, test_odd), seed=seed, name=name)
    return data, (x, odd), (test_x, test_odd)


def circuit_of(wires: int) -> Any:
    """`(angles, x) -> <Z>` of each wire, `f32[wires]`, after `len(angles["by"])` layers of gates.

    Each layer takes the inputs anew (Perez-Salinas et al. 2020), and is a circuit that goes on from a state: one is
    compiled, and run as often as there are layers.
    """
    import pennylane as qml  # pyright: ignore[reportMissingImports]

    # It asks for double precision here and there, and gets what JAX computes in.
    warnings.filterwarnings("ignore", message="Explicitly requested dtype complex128", category=UserWarning)

    @qml.qnode(qml.device("default.qubit", wires=wires), interface="jax", diff_method="backprop")
    def layer(state: jax.Array, turns: jax.Array) -> Any:
        qml.StatePrep(state, wires=range(wires), validate_norm=False)
        for wire in range(wires):
            qml.RY(turns[0, wire], wires=wire)
            qml.RZ(turns[1, wire], wires=wire)
        for wire in range(wires):
            qml.CZ(wires=[wire, (wire + 1) % wires])
        return qml.state()

    signs = 1 - 2 * ((np.arange(2**wires)[:, None] >> np.arange(wires)[::-1]) & 1)

    def circuit(angles: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        start = jnp.zeros(2**wires, jnp.complex64).at[0].set(1)
        turns = angles["by"] * x[None, None] + angles["from"]  # f32[layers, 2, wires]
        state, _ = jax.lax.scan(lambda state, one: (layer(state, one).astype(jnp.complex64), None), start, turns)
        return (state.real**2 + state.imag**2) @ jnp.asarray(signs, jnp.float32)

    return circuit


def task_of(data: Any, wires: int, layers: int) -> ladle.Task:
    circuit = circuit_of(wires)

    def init(key: jax.Array) -> dict[str, jax.Array]:
        by, start, read = jax.random.split(key, 3)
        shape = layers, 2, wires
        return {
            "by": 0.5 + 0.2 * jax.random.normal(by, shape),
            "from": 0.3 * jax.random.normal(start, shape),
            "read": jax.random.normal(read, (wires, 2)),
        }

    def outputs(params: Any, x: jax.Array) -> jax.Array:
        angles = {name: params[name] for name in ("by", "from")}
        return jax.vmap(circuit, (None, 0))(angles, x) @ params["read"]

    def loss(params: Any, batch: Any) -> jax.Array:
        return ladle.losses.cross_entropy(outputs(params, batch["x"]), batch["y"])

    metrics = {"accuracy": ladle.metrics.accuracy}
    return ladle.Task.functions(init, loss, data, predict=outputs, metrics=metrics, lr=LR)


def require_room(wires: int, layers: int) -> None:
    """Refuse a circuit of which one example does not fit: the way back needs the amplitudes after every gate."""

    def needed(wires: int) -> int:
        return 8 * 2**wires * (3 * wires * layers + 2)

    for name, got, least in (("wires", wires, 3), ("layers", layers, 1)):
        if got < least:
            why = "gates join the wires in a ring, layer by layer"
            raise ladle.ArgumentError(must(name, f"be at least {least}", got, why, f"--{name} 4"))
    free = device_free_bytes()
    if needed(wires) > free:
        most = max(n for n in range(1, min(wires, 64)) if needed(n) <= free)
        gates = 3 * wires * layers
        why = f"amplitudes after {gates} gates are {8 * (gates + 2):,} * 2**{wires} bytes, and {free:,} are free"
        raise ladle.ArgumentError(must("wires", f"be at most {most} in this memory", wires, why, f"--wires {most}"))


def learn(given: argparse.Namespace) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    began = time.perf_counter()
    data, train, test = digits(given.wires, given.seed)
    task = task_of(data, given.wires, given.layers)
    how: dict[str, Any] = {"until": given.until, "seed": given.seed, "out": given.out}
    run = ladle.fit(task, size=SIZE, gauge=ladle.Gauge(parts=4, every=4), **how)
    noise, numbers = run.noise(since=run.final["updates"] // 2), sum(leaf.size for leaf in jax.tree.leaves(run.params))
    found: dict[str, Any] = {"accuracy": run.final["test_accuracy"], "noise": noise}
    found["linear"] = LogisticRegression().fit(*train).score(*test)
    print(
        f"test accuracy {found['accuracy']:.1%} with {numbers} numbers, {run.final['seconds']:.1f} s of training, "
        f"{time.perf_counter() - began:.0f} s with compilation; logistic regression {found['linear']:.1%}"
    )
    print(f"noise scale of the second half {noise.value:.3g} ({noise.low:.3g} to {noise.high:.3g}, {noise.verdict})")
    if given.peer:
        found["peer"] = SVC(C=10).fit(*train).score(*test)
        print(f"a support vector machine {found['peer']:.1%}")
    if given.sizes:
        found["plan"] = ladle.plan(run.assembly, until=given.until)
        print(found["plan"].explain())
        by_size(run, given.until)
    return found


def by_size(run: ladle.Run, until: str) -> None:
    """Each size at the rate that goes with its square root. (`ladle.compare` compiles Hessians besides.)"""
    print("  size  updates  seconds  valid loss  accuracy")
    for size in SIZES:
        one = ladle.fit(run.assembly, size=size, lr=LR * (size / SIZE) ** 0.5, until=until).final
        numbers = (
            f"{one['updates']:>7,}  {one['seconds']:>7.2f}  {one['valid_loss']:>10.3f}  {one['valid_accuracy']:>8.1%}"
        )
        print(f"{size:>6}  {numbers}", flush=True)


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
    try:
        require_room(given.wires, given.layers)
        return learn(given)
    except ModuleNotFoundError as error:
        parser.exit(2, f"quantum.py: {error.name} must be installed; try pip install pennylane\n")
    except ladle.LadleError as error:
        parser.exit(2, f"quantum.py: {error}\n")


if __name__ == "__main__":
    main()
