"""Bottou 2010: a bad optimiser is a good learner when data are plenty. Logistic regression on MNIST.

    LADLE_DATA=FOLDER python recipes/papers/bottou2010.py [--out FOLDER] [--seeds 3] [--quick]

Gradient descent and L-BFGS use all rows at each step, SGD one or 16 of them, ASGD is the average of SGD's parameters.
The objective is the mean cross-entropy with 1e-4/2 |W|^2. Rates were chosen on training rows alone. What it gave, and
how its verdict is found: bottou2010.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.loop.train import train
from ladle.policy.constant import Constant

DECAY = 1e-4
NEAR = 1.1
"""A test error has arrived where it is at most so many times that of the optimum, the last point of L-BFGS."""

# name: (rows in a batch, or None for all; rate; power with which the rate falls)
KINDS = {
    "gradient descent": (None, 0.5, 0.0),
    "SGD, 1 row": (1, 0.01, 1.0),
    "SGD, 16 rows": (16, 0.2, 1.0),
    "ASGD, 1 row": (1, 0.02, 0.75),
}
COLOURS = dict(zip([*KINDS, "L-BFGS"], ("tab:gray", "tab:orange", "tab:red", "tab:blue", "black"), strict=True))

Curve = dict[str, np.ndarray]


def outputs(params: Any, _: Any, x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0], -1) @ params["w"] + params["b"][None]


def wrong(logits: jax.Array, y: jax.Array) -> jax.Array:
    return (logits.argmax(-1) != y).astype(jnp.float32)


def learner(data: ladle.data.Data, kind: str) -> Assembly:
    """Logistic regression; under ASGD the state that is not trained is the mean of the parameters so far.

    It begins after a quarter of a pass. Evaluations of the run itself are of the parameters; see `judged`.
    """
    size, rate, power = KINDS[kind]
    averaged, wait = kind.startswith("ASGD"), data.rows // 4

    def init(key: jax.Array) -> tuple[Any, Any]:
        params = {"w": jnp.zeros((784, 10)), "b": jnp.zeros(10)}
        return params, (params, jnp.zeros((), jnp.float32)) if averaged else ()

    def loss(params: Any, state: Any, batch: Any) -> tuple[jax.Array, Any]:
        fit = ladle.losses.cross_entropy(outputs(params, (), batch["x"]), batch["y"])
        if averaged:
            mean, count = state
            share = 1 / (1 + jnp.maximum(count - wait, 0.0))
            state = jax.tree.map(lambda m, p: m + share * (jax.lax.stop_gradient(p) - m), mean, params), count + 1
        return fit + DECAY / 2 * (params["w"] ** 2).sum(), state

    def falling(examples: jax.Array) -> jax.Array:
        return rate / (1 + DECAY * rate * examples / (size or data.rows)) ** power

    metrics = {"error": wrong}
    task = ladle.Task.functions(
        init, loss, data, predict=outputs, metrics=metrics, has_state=True, optimizer="sgd", lr=falling
    )
    return assemble(task)


def judged(assembly: Assembly, state: Any) -> dict[str, float]:
    """Objective and test error at the parameters, or at their mean where there is one."""
    if state.model_state:
        state = state._replace(params=state.model_state[0])
    return {
        "objective": assembly.engine.evaluate(state, assembly.measured_feed(0).data, prefix="")["loss"],
        **assembly.engine.evaluate(state, assembly.valid, prefix="test_"),
    }


def descend(data: ladle.data.Data, kind: str, seed: int, passes: float) -> Curve:
    """One run: passes, seconds of training, objective, test loss and error, at tenths of a pass and at whole ones."""
    assembly, size = learner(data, kind), KINDS[kind][0] or data.rows
    policy, feed = Constant(size, min(size, 4096)), assembly.feed(seed)
    begin, lines = ladle.Carry(assembly.engine.step.init(seed), feed.start(), policy.init(None)), []
    until, places = ladle.Until(epochs=passes), set(np.geomspace(1, max(passes, 2), 12).round() * data.rows)
    for line, carry in train(begin, feed, assembly.engine.step, policy, until, window=max(size, data.rows // 10)):
        if line["examples"] < data.rows or line["examples"] in places:
            place = {"passes": line["examples"] / data.rows, "seconds": line["seconds"]}
            lines.append(place | judged(assembly, carry.state))
    return {name: np.array([line[name] for line in lines]) for name in lines[0]}


def lbfgs(data: ladle.data.Data, steps: int) -> Curve:
    """L-BFGS with a zoom line search; each evaluation of the objective with its gradient counts as a pass."""
    assembly, solver = learner(data, "gradient descent"), optax.lbfgs()
    state, rows = assembly.engine.step.init(0), assembly.measured_feed(0).data

    def objective(params: Any, rows: Any) -> jax.Array:
        logits = outputs(params, (), rows["x"])
        return ladle.losses.cross_entropy(logits, rows["y"]).mean() + DECAY / 2 * (params["w"] ** 2).sum()

    def step(params: Any, memory: Any, rows: Any) -> tuple[Any, Any]:
        function = partial(objective, rows=rows)
        value, slope = optax.value_and_grad_from_state(function)(params, state=memory)
        moves, memory = solver.update(slope, memory, params, value=value, grad=slope, value_fn=function)
        return optax.apply_updates(params, moves), memory

    params, memory, passes, seconds, lines = state.params, solver.init(state.params), 1, 0.0, []
    compiled = jax.jit(step).lower(params, memory, rows).compile()
    for number in range(1, steps + 1):
        begun = time.perf_counter()
        params, memory = jax.block_until_ready(compiled(params, memory, rows))
        seconds += time.perf_counter() - begun
        passes += int(memory[-1].info.num_linesearch_steps)
        if number in (1, 2, steps) or number % 4 == 0:
            place = {"passes": passes, "seconds": seconds}
            lines.append(place | judged(assembly, state._replace(params=params)))
    return {name: np.array([line[name] for line in lines], float) for name in lines[0]}


def arrival(curve: Curve, target: float, axis: str) -> float:
    """Passes or seconds until the test error is first at most `target`; infinite where it never is."""
    reached = np.flatnonzero(curve["test_error"] <= target)
    return float(curve[axis][reached[0]]) if len(reached) else float("inf")


def middle(curves: Sequence[Curve], measure: Any) -> float:
    return float(np.median([measure(curve) for curve in curves]))


def checks(curves: dict[str, list[Curve]], targets: dict[int, float], small: dict[int, dict[str, list[Curve]]]) -> Any:
    """What the paper says, as inequalities between medians over seeds: `{claim: (holds, numbers in words)}`."""
    rows = max(targets)
    passes = {kind: middle(of, partial(arrival, target=targets[rows], axis="passes")) for kind, of in curves.items()}
    seconds = {kind: middle(of, partial(arrival, target=targets[rows], axis="seconds")) for kind, of in curves.items()}
    batch = min(("gradient descent", "L-BFGS"), key=passes.__getitem__)
    quick = min(("SGD, 16 rows", "ASGD, 1 row", "SGD, 1 row"), key=seconds.__getitem__)
    best = min(curve["objective"].min() for of in curves.values() for curve in of)
    excess = {kind: middle(of, lambda curve: curve["objective"][-1] - best) for kind, of in curves.items()}
    once = {kind: middle(curves[kind], lambda c: c["test_error"][c["passes"] >= 1][0]) for kind in KINDS}
    gain = {
        n: middle(of["L-BFGS"], partial(arrival, target=targets[n], axis="passes"))
        / middle(of["ASGD, 1 row"], partial(arrival, target=targets[n], axis="passes"))
        for n, of in {**small, rows: curves}.items()
    }
    ratios = ", ".join(f"{n:,} rows {ratio:.3g}" for n, ratio in sorted(gain.items()))
    return {
        "SGD needs at most a third of the passes of the best batch method": (
            passes["SGD, 1 row"] <= passes[batch] / 3,
            f"SGD {passes['SGD, 1 row']:.3g}, {batch} {passes[batch]:.3g}",
        ),
        "and less time": (
            seconds[quick] < seconds[batch],
            f"{quick} {seconds[quick]:.2g} s, {batch} {seconds[batch]:.2g} s",
        ),
        "although it optimises worse: excess objective at the end": (
            excess["SGD, 1 row"] > excess["L-BFGS"],
            f"SGD {excess['SGD, 1 row']:.2g}, L-BFGS {excess['L-BFGS']:.2g}",
        ),
        "one pass of ASGD is near the optimum, and nearer than SGD's": (
            once["ASGD, 1 row"] <= targets[rows] and once["ASGD, 1 row"] < once["SGD, 1 row"],
            f"{once['ASGD, 1 row']:.2%}, SGD {once['SGD, 1 row']:.2%}, optimum {targets[rows] / NEAR:.2%}",
        ),
        "the more rows, the larger the gain: passes of L-BFGS over ASGD's": (gain[rows] > gain[min(gain)], ratios),
    }


def draw(curves: dict[str, list[Curve]], target: float, file: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    best = min(curve["objective"].min() for of in curves.values() for curve in of)
    for kind, of in curves.items():
        for axis, x, y in zip(
            axes, ("passes", "seconds", "passes"), ("test_error", "test_error", "objective"), strict=True
        ):
            common = min(len(curve[x]) for curve in of)
            ys = np.stack([curve[y][:common] - (best if y == "objective" else 0) for curve in of])
            xs = np.median([curve[x][:common] for curve in of], axis=0)
            axis.plot(xs, np.median(ys, axis=0), color=COLOURS[kind], label=kind)
            axis.fill_between(xs, ys.min(0), ys.max(0), color=COLOURS[kind], alpha=0.2, linewidth=0)
    for axis, x, y in zip(axes, ("passes", "seconds", "passes"), ("test error", "", "excess objective"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    for axis in axes[:2]:
        axis.axhline(target, color="black", linewidth=0.8, linestyle=":")
        axis.set(ylim=(0.065, 0.35), yticks=[0.07, 0.1, 0.2, 0.3], yticklabels=["7 %", "10 %", "20 %", "30 %"])
        axis.minorticks_off()
    axes[2].set_ylim(bottom=1e-3)
    axes[1].legend(fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with mnist/")
    parser.add_argument("--out", default=".", help="folder for bottou2010.png")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1,000 rows and one seed: does it run?")
    given = parser.parse_args(args)
    if not Path(given.data, "mnist").is_dir() or not given.data:
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"bottou2010.py: data must hold mnist/; got {given.data!r}; {remedy}\n")
    os.environ["LADLE_DATA"] = given.data
    whole = ladle.data.load("mnist")
    seeds, counts = (1, (100, 1000)) if given.quick else (given.seeds, (480, 4800, whole.rows))
    mixed = np.random.default_rng(0).permutation(whole.rows)
    found, targets = {}, {}
    for rows in counts:
        part = {name: leaf[mixed[:rows]] for name, leaf in whole.train.items()}
        data = replace(whole, train=part, valid=whole.test)
        largest = rows == counts[-1]
        found[rows] = {"L-BFGS": [lbfgs(data, 8 if given.quick else 120)]}
        for kind, passes in {"gradient descent": 100, "SGD, 16 rows": 5, "SGD, 1 row": 5, "ASGD, 1 row": 5}.items():
            if largest or kind == "ASGD, 1 row":
                own = 1 if kind == "gradient descent" else seeds
                found[rows][kind] = [descend(data, kind, seed, 2 if given.quick else passes) for seed in range(own)]
        targets[rows] = NEAR * found[rows]["L-BFGS"][0]["test_error"][-1]
    curves = found.pop(counts[-1])
    draw(curves, targets[counts[-1]], Path(given.out, "bottou2010.png"))
    print(f"{'':<18}{'passes and seconds to the target':>34}{'test error, 1 pass':>20}{'at the end':>12}")
    for kind, of in curves.items():
        to = [middle(of, partial(arrival, target=targets[counts[-1]], axis=axis)) for axis in ("passes", "seconds")]
        one = middle(of, lambda curve: curve["test_error"][curve["passes"] >= 1][0])
        print(f"{kind:<18}{to[0]:>20.3g}{to[1]:>14.2g}{one:>20.2%}{middle(of, lambda c: c['test_error'][-1]):>12.2%}")
    said = checks(curves, targets, found)
    for claim, (holds, numbers) in said.items():
        print(f"{'holds' if holds else 'does not':<9} {claim}: {numbers}")
    held = sum(bool(holds) for holds, _ in said.values())
    verdict = "reproduced" if held == len(said) else "partly" if held > len(said) // 2 else "not"
    print(f"verdict: {verdict} ({held} of {len(said)})")
    return {"verdict": verdict, "checks": said, "curves": curves}


if __name__ == "__main__":
    main()
