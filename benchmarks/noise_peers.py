"""A planted noise scale, as ladle and three others estimate it from the same gradients.

    python benchmarks/noise_peers.py [--quick]

The gradient of a micro-batch of 16 rows is G + z / 4, z normal in 20 coordinates with tr Sigma = 20; G is as long as
the planted noise scale B = tr Sigma / |G|^2 wants it. Four micro-batches make an update of 64 rows. Nothing moves, so
the truth is exact and stays: what compares gradients of several updates, as gpt-neox does, loses nothing by it here,
and gains by having more of them to compare. In a run parameters move in between. The
others are written here from what their sources say, with the constants that are usual there:

- gpt-neox (`megatron/gradient_noise_scale/gradient_noise_scale.py`): of ten updates the last is the small batch, of 64
  rows, and their mean the large one, of 640; running averages with 0.99 of both parts, then their ratio.
- k-diffusion (`k_diffusion/gns.py`): the mean of the four |g_j|^2 and |mean g_j|^2 of every update, running averages
  with 0.9998, and each part held above 1e-8.
- fairscale's AdaScale (`fairscale/optim/adascale.py`; Johnson et al. 2020, arXiv:2007.05105, B.3): the same pair, its
  variance held above 1e-6 and its |G|^2 above 0 in every update, *before* averages with max(1 - S/1000, 0), S = 4.

For each: the middle 90 % of the estimates over seeds, divided by the truth, and how many are within a factor of two.
Of ladle also how often its 95 % interval holds the truth. Result: `results/noise_peers.json`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from coverage import measured
from timing import arguments, save, table

MICRO, STEPS, DIMENSION = 16, 4, 20
PLACES = ((40, 40), (40, 400), (1000, 400), (4000, 400))
"""The planted noise scale, updates."""


def gradients(rng: np.random.Generator, scale: float, updates: int) -> np.ndarray:
    """`f64[updates, STEPS, DIMENSION]` mean gradients of micro-batches."""
    mean = np.zeros(DIMENSION)
    mean[0] = math.sqrt(DIMENSION / scale)
    return mean + rng.standard_normal((updates, STEPS, DIMENSION)) / math.sqrt(MICRO)


def pairs(small: np.ndarray, large: np.ndarray, few: int, many: int) -> tuple[np.ndarray, np.ndarray]:
    """`(|G|^2, tr Sigma)` from squared norms for batches of two sizes: A.2 of McCandlish et al. 2018."""
    return (many * large - few * small) / (many - few), (small - large) / (1 / few - 1 / many)


def average(values: np.ndarray, keep: float) -> float:
    """A running average that begins at nothing; its bias is the same in both parts of a ratio."""
    weights = (1 - keep) * keep ** np.arange(len(values) - 1, -1, -1)
    return float((weights * values).sum() / weights.sum())


def squares(vectors: np.ndarray) -> np.ndarray:
    return (vectors**2).sum(-1)


def neox(g: np.ndarray, every: int = 10, keep: float = 0.99) -> float:
    rows, updates = MICRO * STEPS, g.mean(1)
    groups = updates[: len(updates) // every * every].reshape(-1, every, DIMENSION)
    square, trace = pairs(squares(groups[:, -1]), squares(groups.mean(1)), rows, rows * every)
    return average(trace, keep) / average(square, keep)


def diffusion(g: np.ndarray, keep: float = 0.9998, least: float = 1e-8) -> float:
    square, trace = pairs(squares(g).mean(1), squares(g.mean(1)), MICRO, MICRO * STEPS)
    held = 1 - keep ** len(g)  # What is held above `least` there is not freed of its bias.
    return max(held * average(trace, keep), least) / max(held * average(square, keep), least)


def adascale(g: np.ndarray) -> float:
    square, trace = pairs(squares(g).mean(1), squares(g.mean(1)), MICRO, MICRO * STEPS)
    variance = np.maximum(trace / MICRO, 1e-6)  # Of one micro-batch's gradient, S times that of their mean.
    keep = max(1 - STEPS / 1000, 0.0)
    return MICRO * average(variance, keep) / max(average(np.maximum(square, 0.0), keep), 1e-300)


PEERS = {"gpt-neox": neox, "k-diffusion": diffusion, "fairscale": adascale}


def of_place(scale: float, updates: int, seeds: int) -> dict[str, Any]:
    """The estimates of all over `seeds`, and how often ladle's interval holds the truth."""
    found: dict[str, list[float]] = {name: [] for name in ("ladle", *PEERS)}
    holds, resolved = 0, 0
    for seed in range(seeds):
        g = gradients(np.random.default_rng((seed, updates, int(scale))), scale, updates)
        own = measured(g, MICRO)
        found["ladle"].append(own.value)
        holds += own.low <= scale <= own.high
        resolved += own.verdict == "resolved"
        for name, estimate in PEERS.items():
            found[name].append(estimate(g))
    short = {name: [float(f"{value:.5g}") for value in values] for name, values in found.items()}
    return {"estimates": short, "holds": holds / seeds, "resolved": resolved / seeds}


def told(values: list[float], scale: float) -> list[str]:
    """The middle 90 % over the truth; the share within a factor of two."""
    over = np.asarray(values) / scale
    low, middle, high = np.quantile(np.nan_to_num(over, nan=np.inf, posinf=1e9, neginf=-1e9), (0.05, 0.5, 0.95))
    near = np.mean((over >= 0.5) & (over <= 2))
    shown = [f"{x:.2g}" if abs(x) < 1e6 else "inf" for x in (middle, low, high)]
    return [f"{shown[0]} ({shown[1]} - {shown[2]}), {near:.0%}"]


def main() -> None:
    quick = arguments(__doc__).quick
    seeds, rows, kept = (20 if quick else 200), [], {}
    for scale, updates in PLACES:
        found = of_place(scale, updates, seeds)
        kept[f"{scale} in {updates} updates"] = found
        of_each = [cell for values in found["estimates"].values() for cell in told(values, scale)]
        rows.append([f"{scale:,} in {updates}", *of_each, f"{found['holds']:.1%}", f"{found['resolved']:.0%}"])
    print(table(["planted, updates", "ladle", *PEERS, "interval holds", "resolved"], rows))
    save("noise_peers", quick=quick, seeds=seeds, places=kept)


if __name__ == "__main__":
    main()
