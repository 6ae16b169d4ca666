"""How often the intervals of a plan hold what they should: the noise scale, the ideal size, the sizes within 5 %.

    python benchmarks/coverage.py [RUNS]

Simulated gradients with known moments, so that the truth is exact. `resolved` is the share of measurements that say
so, `holds` the share of these whose 95 % interval holds the truth; `lower end holds` is of all others. The gradient of
an example is a mean plus r u: u normal in `dim` coordinates with `effective` dimensions, r one (normal), Student's t
with 4.5 degrees of freedom, or log-normal. The network is an MLP on digits with the gradient of every row computed
once; its batches are drawn from the rows without replacement.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import numpy as np

import ladle
from ladle.core.moments import Moments, pair
from ladle.core.noise import NoiseScale, estimate
from ladle.planner.sure import surely_within
from ladle.planner.target import Cost, best_log_sd

NORMS = ("normal", "Student 4.5", "log-normal 1", "log-normal 1.5", "log-normal 2")
PLACES = (
    # dimension, effective dimension, noise scale, updates, micro-batches, rows of one
    (10, 10, 300, 16, 16, 16),
    (10, 10, 550, 16, 16, 16),
    (10, 2, 100, 16, 16, 16),
    (1000, 300, 2500, 16, 16, 16),
    (1000, 10, 500, 32, 16, 16),
    (10, 10, 150, 48, 4, 16),
)


def spectrum(dimension: int, effective: float) -> np.ndarray:
    """`f64[dimension]`, a power law with sum one and 1 / sum of squares = `effective`."""
    low, high = 0.0, 8.0
    for _ in range(60):
        power = (low + high) / 2
        values = np.arange(1, dimension + 1.0) ** -power
        low, high = (power, high) if values.sum() ** 2 / (values**2).sum() > effective else (low, power)
    return values / values.sum()


def norms(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """With a mean square of one."""
    if kind.startswith("log"):
        sigma = float(kind.split()[1])
        return np.exp(sigma * rng.standard_normal(shape) - sigma**2)
    return rng.standard_t(4.5, shape) / math.sqrt(4.5 / 2.5) if kind.startswith("Student") else np.ones(shape)


def measured(gradients: np.ndarray, rows: int, population: int | None = None) -> NoiseScale:
    """The estimate from `f64[updates, micro-batches, parameters]` mean gradients of `rows` examples each."""
    _, k, _ = gradients.shape
    micro, batch = rows * (gradients**2).sum((1, 2)), (gradients.mean(1) ** 2).sum(-1)
    moments = Moments.from_pairs(*pair(micro, batch, k * rows, k), len(gradients) * k * rows)
    return estimate(moments, population=population)


def simulated(rng: np.random.Generator, kind: str, place: tuple[int, ...], runs: int) -> Iterator[NoiseScale]:
    dimension, effective, scale, updates, k, rows = place
    share = spectrum(dimension, effective)
    mean = np.sqrt(share / scale)  # tr Sigma = 1, |G|^2 = 1 / scale.
    for _ in range(runs):
        variance = (norms(rng, kind, (updates, k, rows)) ** 2).sum(-1, keepdims=True) / rows**2
        noise = rng.standard_normal((updates, k, dimension), np.float32)
        yield measured(mean + np.sqrt(variance) * np.sqrt(share) * noise, rows)


def network(rng: np.random.Generator, steps: int) -> np.ndarray:
    """`f32[rows, parameters]`: the gradient of every row of digits, in an MLP after some steps of descent."""
    data = ladle.data.load("digits")
    x, y = np.asarray(data.train["x"], np.float32).reshape(len(data.train["y"]), -1), np.asarray(data.train["y"])
    w, v = 0.2 * rng.standard_normal((x.shape[1], 16)), 0.2 * rng.standard_normal((16, 10))
    for step in range(steps + 1):
        hidden = np.tanh(x @ w)
        chances = np.exp(hidden @ v - (hidden @ v).max(1, keepdims=True))
        error = chances / chances.sum(1, keepdims=True) - np.eye(10)[y]
        back = (error @ v.T) * (1 - hidden**2)
        if step < steps:
            w, v = w - 0.3 * x.T @ back / len(x), v - 0.3 * hidden.T @ error / len(x)
    parts = np.einsum("ni,nj->nij", x, back), np.einsum("ni,nj->nij", hidden, error)
    return np.concatenate([part.reshape(len(x), -1) for part in parts], axis=1).astype(np.float32)


def drawn(rng: np.random.Generator, rows: np.ndarray, updates: int, runs: int) -> tuple[float, Iterator[NoiseScale]]:
    """The exact noise scale of `rows`, and measurements of it by updates of 256 in 16 micro-batches."""
    mean, n = rows.mean(0, dtype=np.float64), len(rows)
    truth = float(((rows - mean) ** 2).sum() / (n - 1) / (mean @ mean))

    def all_of_them() -> Iterator[NoiseScale]:
        for _ in range(runs):
            picked = (rng.permutation(n)[:256] for _ in range(updates))
            yield measured(np.stack([rows[ids].reshape(16, 16, -1).mean(1) for ids in picked]), 16, population=n)

    return truth, all_of_them()


def row(name: str, truth: float, noises: list[NoiseScale]) -> str:
    resolved = [noise for noise in noises if noise.verdict == "resolved"]
    heavy = sum(noise.verdict == "heavy tails" for noise in noises) / len(noises)
    holds = [noise.low <= truth <= noise.high for noise in resolved]
    told = f"{np.mean(holds):.3f} of {len(holds)}" if len(holds) >= 20 else f"({len(holds)} resolved)"
    bounds = [noise.low <= truth for noise in noises if noise.verdict != "resolved"]
    lower = f"{np.mean(bounds):.3f}" if len(bounds) >= 20 else ""
    return f"| {name} | {len(holds) / len(noises):.2f} | {told} | {heavy:.2f} | {lower} |"


def sizes(rng: np.random.Generator, runs: int) -> Iterator[str]:
    """The ideal size and the sizes within 5 %, where knee and noise scale are read with errors."""
    for knee_sd, noise_sd in ((0.02, 0.05), (0.1, 0.15), (0.2, 0.3), (0.6, 0.7)):
        ideal, inside, alone = [], [], 0
        for _ in range(runs):
            true = Cost(200.0, 1.0, noise=800.0)
            knee, noise = 200 * math.exp(knee_sd * rng.normal()), 800 * math.exp(noise_sd * rng.normal())
            read = Cost(knee, 1.0, noise=noise)
            size = 1 << round(math.log2(read.best))
            (low, high), _ = surely_within(read, knee_sd, noise_sd, size, share=0.05, largest=10**5)
            ideal.append(abs(math.log(read.best / true.best)) <= 1.96 * best_log_sd(knee_sd, noise_sd))
            alone += low == high
            if low < high:
                inside += [true(one) <= 1.05 * true(true.best) for one in np.linspace(low, high, 9)]
        told = f"{np.mean(inside):.3f}" if inside else ""
        yield f"| {knee_sd}, {noise_sd} | {np.mean(ideal):.3f} | {told} | {alone / runs:.2f} |"


def table(*heads: str) -> None:
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")


def main() -> None:
    runs, rng = int(sys.argv[1]) if len(sys.argv) > 1 else 300, np.random.default_rng(0)
    print(f"{runs} measurements each; a third of that with 1000 dimensions and of the network.")
    table(
        "norms; dim, effective, noise scale, updates x k x rows", "resolved", "holds", "heavy tails", "lower end holds"
    )
    for kind in NORMS:
        for place in PLACES:
            d, effective, scale, updates, k, rows = place
            few = max(runs // 3, 20) if d > 100 else runs
            name = f"{kind}; {d}, {effective}, {scale}, {updates} x {k} x {rows}"
            print(row(name, scale, list(simulated(rng, kind, place, few))), flush=True)
    for steps, updates in ((20, 8), (100, 16), (400, 16)):
        truth, noises = drawn(rng, network(rng, steps), updates, max(runs // 3, 20))
        name = f"MLP on digits after {steps} steps; {truth:.0f}, {updates} x 16 x 16"
        print(row(name, truth, list(noises)), flush=True)
    table("sd of log knee, of log noise scale", "ideal size holds", "sizes inside cost <= 5 %", "size alone")
    for line in sizes(rng, runs):
        print(line)


if __name__ == "__main__":
    main()
