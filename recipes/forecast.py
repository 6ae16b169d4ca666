"""How dirty will the air be? Two days of weather and dust, the next day of dust: recurrent and convolutional nets.

    LADLE_DATA=FOLDER python recipes/forecast.py [--net gru|tcn] [--until "4 epochs, patience 2"] [--seed 0]
                                                 [--size 128] [--out FOLDER] [--peer] [--sizes] [--data FOLDER]

Beijing's PM2.5 and weather by the hour: 2010 to 2012 to train on, 2013 to validate, 2014 to test. 48 hours -> the dust
of the next 24, as a logarithm; targets that are missing weigh nothing. The weights are those of the best evaluation,
since windows overlap and a net has soon seen them all. 15 s of CPU time. Planned 128 (GRU) and 64 (TCN); from 16 to
1,024 one pass ends at the same loss (--sizes). Errors of known hours, in ug/m3, seeds 0, 1, 2:

                        all 24 hours                                the 24th hour
    GRU                 MAE 45.3, 45.0, 45.5, RMSE 70.7, 69.9, 70.9; MAE 59.0, 59.0, 59.1, RMSE 86.1, 85.3, 86.2
    TCN                 MAE 44.7, 45.4, 45.1, RMSE 69.1, 70.6, 70.5; MAE 57.9, 59.5, 58.9, RMSE 83.4, 85.9, 86.6
    ridge, same inputs  MAE 45.7, RMSE 72.2;                         MAE 60.0, RMSE 88.5
    last value          MAE 50.0, RMSE 79.2;                         MAE 67.8, RMSE 99.6
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from batch_sizes import add_sizes, keep, side_by_side

import ladle

PAST, FUTURE, WIDTH, DEPTH, RATE, SIZE = 48, 24, 48, 5, 1e-3, 128
PASSES, SWEPT = "4 epochs, patience 2", "1 epochs"
YEAR = 365 * 24


@dataclass(frozen=True, eq=False)
class Windows:
    """Example `i`: `PAST` hours as `x`; of the `FUTURE` hours after them the dust as `y`, and as `known` where it is.

    `columns`: `f32[hours, inputs]`, dust first, as its logarithm. `known`: `bool[hours]`. `starts`: `i64[n]`.
    """

    columns: np.ndarray
    known: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        past, future = (self.starts[ids, None] + np.arange(*span) for span in ((0, PAST), (PAST, PAST + FUTURE)))
        known = self.known[future].astype(np.float32)
        # Where none is, a target is no number to learn from: `known` is its weight in the loss.
        return {"x": self.columns[past], "y": self.columns[future, 0], "known": known}


def read(file: Path) -> tuple[dict[str, Windows], tuple[float, float]]:
    """Windows of 2010 to 2012 to train on, 2013 to validate and 2014 to test; mean and spread of the dust's log.

    The past of the first windows of a year lies in the year before. Missing dust is the last known one, and marked.
    """
    table = np.genfromtxt(file, delimiter=",", skip_header=1, usecols=(5, 6, 7, 8, 10, 11, 12))
    wind = np.loadtxt(file, str, delimiter=",", skiprows=1, usecols=9)
    year, hour = np.loadtxt(file, int, delimiter=",", skiprows=1, usecols=(1, 4)).T
    known = ~np.isnan(table[:, 0])
    last = np.maximum.accumulate(np.where(known, np.arange(len(table)), np.argmax(known)))
    dust = np.log(table[last, 0] + 10)
    numbers = np.column_stack([dust, table[:, 1:4], np.log1p(table[:, 4:])])
    train, numbers = numbers[year <= 2012], (numbers - numbers[year <= 2012].mean(0)) / numbers[year <= 2012].std(0)
    turn, kinds = 2 * np.pi * hour / 24, [wind == kind for kind in np.unique(wind)]
    columns = np.column_stack([numbers, ~known, *kinds, np.sin(turn), np.cos(turn)]).astype(np.float32)
    parts = {}
    for name, of in (("train", year <= 2012), ("valid", year == 2013), ("test", year == 2014)):
        first, end = np.flatnonzero(of)[[0, -1]]
        starts = np.arange(max(first - PAST, 0), end + 2 - PAST - FUTURE)
        some = np.lib.stride_tricks.sliding_window_view(known, FUTURE)[starts + PAST].any(1)
        parts[name] = Windows(columns, known, starts[some])
    return parts, (float(train[:, 0].mean()), float(train[:, 0].std()))


def dense(key: jax.Array, rows: int, width: int) -> jax.Array:
    return jax.random.normal(key, (rows, width)) / rows**0.5


def init(net: str, inputs: int, key: jax.Array) -> Any:
    one, two, three, four = jax.random.split(key, 4)
    out = {"out": dense(two, WIDTH + 1, FUTURE), "bias": jnp.zeros(FUTURE)}
    if net == "gru":
        gates = {"into": dense(one, inputs, 3 * WIDTH), "again": dense(three, WIDTH, 3 * WIDTH)}
        return gates | {"b": jnp.zeros(3 * WIDTH)} | out
    layers = [dense(k, 3 * WIDTH, WIDTH) for k in jax.random.split(three, DEPTH)]
    return {"into": dense(four, inputs, WIDTH), "layers": layers, "b": jnp.zeros((DEPTH, WIDTH))} | out


def gru(params: Any, x: jax.Array) -> jax.Array:
    """`f32[rows, WIDTH]` after the last hour: gates for what is kept, and for what of it is looked at."""

    def hour(state: jax.Array, into: jax.Array) -> tuple[jax.Array, None]:
        again = state @ params["again"]
        keep, look = jnp.split(jax.nn.sigmoid((into + again)[:, : 2 * WIDTH]), 2, axis=1)
        new = jnp.tanh(into[:, 2 * WIDTH :] + look * again[:, 2 * WIDTH :])
        return keep * state + (1 - keep) * new, None

    into = x @ params["into"] + params["b"][None, None]
    return jax.lax.scan(hour, jnp.zeros((len(x), WIDTH)), into.swapaxes(0, 1))[0]


def tcn(params: Any, x: jax.Array) -> jax.Array:
    """The same from sums over three hours that lie 1, 2, 4, 8, 16 apart, as matrix products."""
    hours = x @ params["into"]
    for depth, layer in enumerate(params["layers"]):
        apart = 2**depth
        before = jnp.pad(hours, ((0, 0), (2 * apart, 0), (0, 0)))
        three = jnp.concatenate([before[:, k * apart : k * apart + PAST] for k in range(3)], axis=-1)
        hours = hours + jax.nn.relu(three @ layer + params["b"][depth][None, None])
    return hours[:, -1]


NETS = {"gru": gru, "tcn": tcn}


def forecast(net: str, params: Any, x: jax.Array) -> jax.Array:
    """`f32[rows, FUTURE]`, from what the net makes of the past, and the last dust itself."""
    now = x[:, -1, :1]
    return now + jnp.concatenate([NETS[net](params, x), now], axis=1) @ params["out"] + params["bias"][None]


def loss(net: str, params: Any, batch: Any) -> jax.Array:
    """Squared error of the hours that are known, as a share of all: a sum over a batch is one over known hours."""
    return ((forecast(net, params, batch["x"]) - batch["y"]) ** 2 * batch["known"]).mean(1)


def task_of(parts: dict[str, Windows], net: str) -> ladle.Task:
    valid = parts["valid"]
    data = ladle.data.streamed(parts["train"], valid=valid.take(np.arange(0, len(valid), 4)), name="beijing_pm25")
    inputs, length = valid.columns.shape[1], 4 * len(parts["train"])
    how: dict[str, Any] = {"predict": partial(forecast, net), "optimizer": "adamw", "hyper": {"weight_decay": 0.01}}
    rate = lambda seen: RATE * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(seen / length, 1)))  # noqa: E731
    return ladle.Task.functions(partial(init, net, inputs), partial(loss, net), data, lr=rate, clip=1.0, **how)


def errors(found: np.ndarray, rows: dict[str, np.ndarray], scale: tuple[float, float]) -> dict[str, float]:
    """Mean absolute and root mean squared error in micrograms a cubic metre: of all hours, and of the last."""
    (mean, spread), known = scale, rows["known"] > 0
    off = np.exp(found * spread + mean) - np.exp(rows["y"] * spread + mean)
    last = off[known[:, -1], -1]
    made = {"mae": np.abs(off[known]).mean(), "rmse": np.sqrt((off[known] ** 2).mean())}
    return {
        n: float(v) for n, v in (made | {"mae_24": np.abs(last).mean(), "rmse_24": np.sqrt((last**2).mean())}).items()
    }


def sizes_of(parts: dict[str, Windows], net: str, until: str) -> dict[str, Any]:
    task = task_of(parts, net)
    return side_by_side(task, ladle.plan(task), sizes=[16, 64, 256, 1024], until=until, reference=SIZE)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with beijing_pm25")
    parser.add_argument("--net", choices=NETS, default="gru")
    parser.add_argument("--until", help=f"{PASSES}; of a sweep {SWEPT}")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="run folder to write")
    parser.add_argument("--peer", action="store_true", help="the last value, and ridge on the same hours")
    add_sizes(parser)
    given = parser.parse_args(args)
    file = Path(given.data, "beijing_pm25/PRSA_data_2010.1.1-2014.12.31.csv")
    if not given.data or not file.is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"forecast.py: data must hold beijing_pm25; got {given.data!r}; {remedy}\n")
    parts, scale = read(file)
    try:
        if given.sizes is not None:
            swept = sizes_of(parts, given.net, given.until or SWEPT)
            keep(given.sizes, f"forecast --net {given.net}", "validation loss", swept)
            return swept
        task = task_of(parts, given.net)
        run = ladle.fit(task, size=given.size, until=given.until or PASSES, seed=given.seed, out=given.out)
    except ladle.ArgumentError as error:
        parser.exit(2, f"forecast.py: {error}\n")
    rows = parts["test"].take(np.arange(len(parts["test"])))
    found: dict[str, Any] = {**errors(run.outputs(rows["x"]), rows, scale), "seconds": run.final["seconds"]}
    shown = {given.net: found}
    if given.peer:
        from forecast_peers import peers

        shown |= peers(parts, scale)
    for name, of in shown.items():
        print(f"{name}: " + ", ".join(f"{what} {of[what]:.1f}" for what in ("mae", "rmse", "mae_24", "rmse_24")))
    return found | {"peers": shown}


if __name__ == "__main__":
    main()
