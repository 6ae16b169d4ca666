"""Two loads of a building from one net: heating and cooling, learnt together by weights, or each alone.

    LADLE_DATA=FOLDER python recipes/two_targets.py [--weights 0.5 0.5] [--until "600 epochs"] [--seed 0] [--size 32]
                                                    [--out FOLDER] [--peer] [--sizes] [--data FOLDER]

768 simulated buildings, 460 to train on, 154 to validate and 154 to test, drawn by the seed. One trunk with a head for
each load; the loss is the sum of their squared errors by weights. RMSE of heating and cooling, seeds 0, 1, 2:

    together, 1/2 and 1/2    0.622, 0.545, 0.500    0.989, 0.889, 0.933
    each alone               0.523, 0.465, 0.457    0.788, 0.832, 0.880
    boosted trees            0.393, 0.318, 0.325    0.827, 0.934, 0.858    (which train on the validation rows as well)

Learning both together gains nothing here, and heating has steps that trees find. 5 s of CPU time a net.

The batch (--sizes): plans for heating, both, cooling 32, 32, 16. After 100 passes at sizes 4, 16, 64, 460: validation
loss 0.028, 0.011, 0.011, 0.076.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from batch_sizes import add_sizes, keep, line_of, side_by_side

import ladle

WIDTH, SIZE, PASSES, SWEPT = 64, 32, "600 epochs", "100 epochs"
NAMES = ("heating", "cooling")


def read(file: Path, seed: int) -> tuple[dict[str, dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]:
    """Of 768 buildings 60 % train, 20 % validate and 20 % test, drawn by `seed`; mean and spread of both loads.

    Each orientation and distribution of glass is a number without an order, and so a column of 0 and 1 a level.
    """
    table = np.loadtxt(file, np.float32, delimiter=",", skiprows=1)
    x, y = table[:, :8], table[:, 8:]
    levels = [x[:, [column]] == np.unique(x[:, column])[None] for column in (5, 7)]
    x = np.column_stack([np.delete(x, (5, 7), axis=1), *levels]).astype(np.float32)
    train, valid, test = np.split(np.random.default_rng(seed).permutation(len(x)), [460, 614])
    x, mean, spread = (x - x[train].mean(0)) / x[train].std(0), y[train].mean(0), y[train].std(0)
    rows = {"train": train, "valid": valid, "test": test}
    return {name: {"x": x[ids], "y": (y[ids] - mean) / spread} for name, ids in rows.items()}, (mean, spread)


def init(inputs: int, key: jax.Array) -> Any:
    keys = jax.random.split(key, 3)
    sizes = {"first": (inputs, WIDTH), "second": (WIDTH, WIDTH), "heads": (WIDTH, len(NAMES))}
    weights = {
        name: {"w": jax.random.normal(k, size) * (2 / size[0]) ** 0.5, "b": jnp.zeros(size[1])}
        for k, (name, size) in zip(keys, sizes.items(), strict=True)
    }
    return weights


def outputs(params: Any, x: jax.Array) -> jax.Array:
    """`f32[rows, 2]`: a trunk that both share, and a head each."""
    for name in ("first", "second"):
        x = jax.nn.silu(x @ params[name]["w"] + params[name]["b"][None])
    return x @ params["heads"]["w"] + params["heads"]["b"][None]


def loss(weights: tuple[float, ...], params: Any, batch: Any) -> jax.Array:
    """`sum_k w_k (outputs_k - y_k)^2`: a weight of zero leaves a load out."""
    return (outputs(params, batch["x"]) - batch["y"]) ** 2 @ jnp.array(weights)


def off(which: int, outputs: jax.Array, y: jax.Array) -> jax.Array:
    return (outputs[:, which] - y[:, which]) ** 2


def task_of(parts: dict[str, dict[str, np.ndarray]], weights: Sequence[float]) -> ladle.Task:
    train, valid = parts["train"], parts["valid"]
    data = ladle.data.arrays(train["x"], train["y"], valid=valid, kind="regression", name="energy_efficiency")
    measured = {name: ladle.metrics.lower(partial(off, which)) for which, name in enumerate(NAMES)}
    own = partial(loss, tuple(weights))
    how: dict[str, Any] = {
        "predict": outputs,
        "metrics": measured,
        "optimizer": "adamw",
        "hyper": {"weight_decay": 0.3},
    }
    rate = lambda seen: 3e-3 * jnp.exp2(-seen / (150 * len(train["x"])))  # noqa: E731
    return ladle.Task.functions(partial(init, train["x"].shape[1]), own, data, lr=rate, **how)


def rmse(found: np.ndarray, parts: dict[str, dict[str, np.ndarray]], spread: np.ndarray) -> list[float]:
    """Of both loads, in kilowatt hours a square metre."""
    return (spread * np.sqrt(((found - parts["test"]["y"]) ** 2).mean(0))).tolist()


def trees(parts: dict[str, dict[str, np.ndarray]], spread: np.ndarray, seed: int) -> list[float]:
    """Boosted trees, one model a load, with the rows that a net validates on to train on as well."""
    from sklearn.ensemble import GradientBoostingRegressor

    x, y = (np.concatenate([parts[part][name] for part in ("train", "valid")]) for name in ("x", "y"))
    made = [GradientBoostingRegressor(n_estimators=500, max_depth=4, random_state=seed) for _ in NAMES]
    found = [model.fit(x, y[:, k]).predict(parts["test"]["x"]) for k, model in enumerate(made)]
    return rmse(np.stack(found, axis=1), parts, spread)


def sizes_of(parts: dict[str, dict[str, np.ndarray]], until: str) -> dict[str, Any]:
    """A plan for each way of weighing, since the noise of a sum of losses is that of its parts; then sizes."""
    for weights in ((1.0, 0.0), (0.0, 1.0)):
        print(f"weights {weights}: plan {line_of(ladle.plan(task_of(parts, weights)))}")
    task = task_of(parts, (0.5, 0.5))
    sizes = [4, 16, 64, len(parts["train"]["x"])]
    return side_by_side(task, ladle.plan(task), sizes=sizes, until=until, reference=SIZE, most=6, seeds=3)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with energy_efficiency")
    parser.add_argument("--weights", type=float, nargs=2, default=(0.5, 0.5), help="of heating and of cooling")
    parser.add_argument("--until", help=f"{PASSES}; of a sweep {SWEPT}")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--seed", type=int, default=0, help="of the split too")
    parser.add_argument("--out", help="run folder to write")
    parser.add_argument("--peer", action="store_true", help="boosted trees, and each load alone")
    add_sizes(parser)
    given = parser.parse_args(args)
    file = Path(given.data, "energy_efficiency/ENB2012_data.csv")
    if not given.data or not file.is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"two_targets.py: data must hold energy_efficiency; got {given.data!r}; {remedy}\n")
    parts, (_, spread) = read(file, given.seed)
    asked = {"together": given.weights, **({"heating": (1.0, 0.0), "cooling": (0.0, 1.0)} if given.peer else {})}
    found, run = {}, None
    try:
        if given.sizes is not None:
            swept = sizes_of(parts, given.until or SWEPT)
            keep(given.sizes, "two_targets", "validation loss", swept)
            return swept
        for name, weights in asked.items():
            how = {"until": given.until or PASSES, "seed": given.seed, "out": given.out and Path(given.out, name)}
            run = ladle.fit(task_of(parts, weights), size=given.size, **how)
            found[name] = rmse(run.outputs(parts["test"]["x"]), parts, spread)
    except ladle.ArgumentError as error:
        parser.exit(2, f"two_targets.py: {error}\n")
    shown = {"together": found.pop("together")}
    if given.peer:
        shown["each alone"] = [found["heating"][0], found["cooling"][1]]
        shown["boosted trees"] = trees(parts, spread, given.seed)
    for name, (heating, cooling) in shown.items():
        print(f"{name}: RMSE heating {heating:.3f}, cooling {cooling:.3f}")
    return {"rmse": shown["together"], "peers": shown, "seconds": run.final["seconds"] if run else 0.0}


if __name__ == "__main__":
    main()
