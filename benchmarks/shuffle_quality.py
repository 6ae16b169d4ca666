"""Whether batches are random samples: variance between batches over that of a true shuffle, ours and other libraries'.

Claim: with `Permuted` the ratio is 1 within 5 % for every number of examples, labelling and batch size tried here;
orders that are computed with fewer rounds, or by one multiplication, are not such samples.

    python benchmarks/shuffle_quality.py [--quick] [--only ladle numpy ...]

One number per (order, n, labelling, batch size): between-batch variance of class counts over the hypergeometric
variance (`ladle.feed.quality.variance_ratio`). Labellings: 2 and 10 classes sorted by id, 2 classes in turn. Orders:

- ladle: `Permuted`. numpy: `Generator.permutation`, the true shuffle.
- grain: `grain.experimental.index_shuffle` with the 4 rounds that `MapDataset.shuffle` gives it, a seed for each pass;
  at the smallest n `MapDataset.shuffle` itself as well.
- levanter feistel, levanter linear: only where LEVANTER_PRP names its file `data/_prp.py` (it is loaded from there;
  nothing else of that library is imported).

Hardware and every sample: `results/shuffle_quality.json`. ladle, numpy and levanter: whole passes of 4.2 million ids,
which leaves 1.1 % (one standard deviation) at 2 classes and batches of 256; grain, slower by far: 0.25 million or one
pass, 4.5 %. Besides, for ladle and numpy, over 2000 seeds of few examples: chi-square of (place, example) over its
mean, and the largest correlation between passes and between seeds at n = 10,000, in units of 1 / sqrt(n).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
from timing import arguments, headline, save, table

from ladle.feed.order import Permuted
from ladle.feed.quality import correlation, position_chi_square, variance_ratio

SIZES = (32, 256)
EXAMPLES = (10_000, 50_000, 60_000, 65_537, 200_000, 262_145, 1_000_000)
LABELS: dict[str, Callable[[int], np.ndarray]] = {
    "2 sorted": lambda n: np.arange(n) * 2 // n,
    "10 sorted": lambda n: np.arange(n) * 10 // n,
    "2 in turn": lambda n: np.arange(n) % 2,
}
MANY, FEW = 4_200_000, 250_000
PARTS = 5
"""Samples of each number: passes in so many groups, where there are as many."""

Passes = Callable[[int, int], np.ndarray]
"""`(n, seed) -> i64[n]`, one pass."""


def orders() -> dict[str, tuple[Passes, int]]:
    """Each order, and how many ids to ask of it."""
    found: dict[str, tuple[Passes, int]] = {
        "ladle": (lambda n, seed: Permuted(n, 7).ids(seed * n, n), MANY),
        "numpy": (lambda n, seed: np.random.default_rng(seed).permutation(n), MANY),
    }
    with contextlib.suppress(ImportError):
        from grain.experimental import index_shuffle

        def grain(n: int, seed: int) -> np.ndarray:
            return np.array([index_shuffle(i, max_index=n - 1, seed=seed, rounds=4) for i in range(n)])

        found["grain"] = grain, FEW
    if path := os.environ.get("LEVANTER_PRP"):
        found |= levanter(path)
    return found


def levanter(path: str) -> dict[str, tuple[Passes, int]]:
    import jax

    # The file asks its package for one context; nothing else of the package is needed, or installed.
    package = types.ModuleType("levanter.utils.jax_utils")
    package.local_cpu_mesh = contextlib.nullcontext  # type: ignore[attr-defined]
    for name in ("levanter", "levanter.utils"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules[package.__name__] = package
    spec = importlib.util.spec_from_file_location("levanter_prp", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def of(kind: str) -> Passes:
        return lambda n, seed: module.Permutation.make(kind, n, jax.random.PRNGKey(seed))(np.arange(n))

    return {f"levanter {kind}": (of(kind), MANY) for kind in ("feistel", "linear")}


def measure(order: Passes, n: int, count: int) -> dict[str, list[float]]:
    """`{"labelling, size": ratios}` over passes of `count` ids together; `left out`: examples, for each pass.

    Passes that leave examples out are no shuffles: they have no ratios.
    """
    passes = np.array([order(n, seed) for seed in range(max(1, -(-count // n)))])
    parts = np.array_split(passes, min(PARTS, len(passes)))
    left_out = [n - len(np.unique(one)) for one in passes]
    return {"left out": left_out} | {
        f"{name}, {size}": [] if any(left_out) else [variance_ratio(part, labels(n), size) for part in parts]
        for name, labels in LABELS.items()
        for size in SIZES
    }


def public_shuffle(n: int) -> dict[str, list[float]] | None:
    """Grain through its public interface, with a pass for each seed."""
    try:
        import grain
    except ImportError:
        return None

    def shuffled(n: int, seed: int) -> np.ndarray:
        return np.array(list(grain.MapDataset.range(n).shuffle(seed=seed)))

    return measure(shuffled, n, 5 * n)


def independence(seeds: int) -> dict[str, dict[str, float]]:
    """Chi-square of (place, example) over its mean, and the largest correlations, for ladle and numpy."""
    found: dict[str, dict[str, float]] = {"ladle": {}, "numpy": {}}
    for n in (10, 52, 1000):
        ours = np.array([Permuted(n, seed).ids(0, n) for seed in range(seeds)])
        true = np.array([np.random.default_rng(seed).permutation(n) for seed in range(seeds)])
        for name, passes in (("ladle", ours), ("numpy", true)):
            found[name][f"chi-square, n = {n}"] = position_chi_square(passes, min(n, 52))
    n = 10_000
    ours = [Permuted(n, seed).ids(epoch * n, n) for seed in range(5) for epoch in range(5)]
    true = [np.random.default_rng(seed).permutation(n) for seed in range(25)]
    for name, passes in (("ladle", ours), ("numpy", true)):
        pairs = [correlation(a, b) for i, a in enumerate(passes) for b in passes[:i]]
        found[name]["largest of 300 correlations * sqrt(n)"] = float(np.abs(pairs).max() * np.sqrt(n))
    return found


def rows(name: str, n: int, ratios: dict[str, list[float]]) -> list[Any]:
    left_out, *each = ratios.values()
    shown = (f"{np.mean(samples):.2f}" if samples else "-" for samples in each)
    return [name, f"{n:,}", *shown, f"{np.mean(left_out):.0f}"]


def main(quick: bool, only: list[str] | None) -> None:
    chosen = {name: order for name, order in orders().items() if not only or name in only}
    sizes = EXAMPLES[:2] if quick else EXAMPLES
    print(headline())
    found: dict[str, dict[str, Any]] = {name: {} for name in chosen}
    for name, (order, count) in chosen.items():
        for n in sizes:
            found[name][str(n)] = measure(order, n, min(count, FEW) if quick else count)
    lines = [rows(name, int(n), ratios) for name, each in found.items() for n, ratios in each.items()]
    if "grain" in chosen and (public := public_shuffle(sizes[0])):
        found["grain, MapDataset.shuffle"] = {str(sizes[0]): public}
        lines.append(rows("grain, MapDataset.shuffle", sizes[0], public))
    header = ["order", "n", *(f"{name}, {size}" for name in LABELS for size in SIZES), "left out"]
    print(table(header, lines), end="\n\n")
    apart = independence(200 if quick else 2000)
    tests = list(apart["ladle"])
    print(table(["", *tests], [[name, *(f"{values[test]:.2f}" for test in tests)] for name, values in apart.items()]))
    if "ladle" in found:
        ours = [np.mean(each[name]) for each in found["ladle"].values() for name in each if name != "left out"]
        print(f"\nladle: {min(ours):.3f} to {max(ours):.3f} in {len(ours)} settings")
    grain = metadata.version("grain") if "grain" in chosen else None
    ids = {name: count for name, (_, count) in chosen.items()}
    print(save("shuffle_quality", quick=quick, grain=grain, ids=ids, ratios=found, independence=apart))


if __name__ == "__main__":
    options = arguments(__doc__)
    main(options.quick, options.only)
