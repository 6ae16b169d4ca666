"""The price of running a batch size on a shared rung, and of cutting it into micro-batches; the machine's limits.

Claims: none in advance; these are the prices a plan weighs. A size between two powers of two that runs on the rung
above (no compilation of its own) computes up to twice the rows. A batch cut into micro-batches computes the same rows
in more and smaller products, and adds up gradients.

    python benchmarks/rungs.py [--quick]

Hardware and every sample: `results/rungs.json`. n = 9 interleaved repetitions, each some hundredths of a second of
updates at a learning rate of zero, MLP 784-256-10, Adam, 16,384 made-up resident rows. The limits, beside which the
seconds may be judged: the rate of a plain memory copy (read and written bytes), of a large f32 matrix product, and of
the model's own products at 64 rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import arguments, headline, interleave, ratio, save, show, spread, table

import ladle
from ladle.api.assembly import assemble
from ladle.core.spec import rung_for
from ladle.jax.probe import CompiledProbe

ROWS, INPUTS, HIDDEN, CLASSES, LARGEST = 16_384, 784, 256, 10, 4096
SIZES = (65, 96, 127, 1000, 2049, 3000)
CUT, CUTS = 4096, (4096, 1024, 256, 64)


def task() -> ladle.Task:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((ROWS, INPUTS), dtype=np.float32), rng.integers(0, CLASSES, ROWS)
    data = ladle.data.arrays(x, y, valid=0, kind="classification")
    return ladle.Task(ladle.models.mlp(INPUTS, HIDDEN, CLASSES), ladle.losses.cross_entropy, data, "adam", 1e-3)


def product_flops(rows: int) -> int:
    """Floating-point operations of the matrix products of one update: 2 each for forward and weights, inputs once."""
    return rows * (2 * 2 * INPUTS * HIDDEN + 3 * 2 * HIDDEN * CLASSES)


def rate(work: float, run: Callable[[], Any], runs: int) -> float:
    """`work` per second of `run`."""
    run()
    started = time.perf_counter()
    for _ in range(runs):
        run()
    return work * runs / (time.perf_counter() - started)


def limits() -> dict[str, Callable[[], float]]:
    """Copy in bytes/s; products in FLOP/s."""
    source = np.ones(2**26, np.float32)
    target = np.empty_like(source)
    large = jnp.ones((2048, 2048), jnp.float32)
    x, weight, d = jnp.ones((64, INPUTS)), jnp.ones((INPUTS, HIDDEN)), jnp.ones((64, HIDDEN))
    product = jax.jit(jnp.matmul)

    @jax.jit
    def small(x, weight, d):
        def body(_, carry):
            x, weight = carry
            h = x @ weight + d
            # Fed back, so that no product can be left out; far too small to change a number.
            return x, weight + 1e-30 * (x.T @ h)

        return jax.lax.fori_loop(0, 100, body, (x, weight))

    return {
        "copy, bytes/s": lambda: rate(2 * source.nbytes, lambda: np.copyto(target, source), 3),
        "product 2048^3, FLOP/s": lambda: rate(2 * 2048**3, lambda: product(large, large).block_until_ready(), 3),
        "products of 64 rows, FLOP/s": lambda: rate(
            100 * 2 * 2 * 64 * INPUTS * HIDDEN, lambda: jax.block_until_ready(small(x, weight, d)), 3
        ),
    }


def specs() -> dict[str, ladle.BatchSpec]:
    exact = {f"{size} exact": ladle.BatchSpec(size, size) for size in SIZES}
    shared = {f"{size} on {rung_for(size, LARGEST)}": ladle.BatchSpec(size, rung_for(size, LARGEST)) for size in SIZES}
    return {**exact, **shared, **{f"{CUT} as {CUT // cut} x {cut}": ladle.BatchSpec(CUT, cut) for cut in CUTS}}


def seconds_once(probe: CompiledProbe, spec: ladle.BatchSpec) -> float:
    return float(probe.seconds(spec, 1)[0])


def main(quick: bool) -> None:
    repeats, assembly = (2 if quick else 9), assemble(task())
    probe = CompiledProbe(assembly.engine.step, assembly.feed(0), ladle.BatchSpec(64, 64), {"lr": 1e-3})
    todo = specs()
    seconds = interleave({name: partial(seconds_once, probe, spec) for name, spec in todo.items()}, repeats)
    bounds = interleave(limits(), repeats)
    shared = {size: (f"{size} on {rung_for(size, LARGEST)}", f"{size} exact") for size in SIZES}
    ratios = {f"{on} / exact": ratio(seconds[on], seconds[exact]) for on, exact in shared.values()}
    whole = f"{CUT} as 1 x {CUT}"
    ratios |= {
        f"{name} / whole": ratio(seconds[name], seconds[whole])
        for name in todo
        if name.startswith(f"{CUT} as") and name != whole
    }
    print(headline())
    rows = [
        [name, f"{1e3 * spread(of)['median']:.3f}", f"{todo[name].size / spread(of)['median']:,.0f}",
         f"{product_flops(todo[name].size) / spread(of)['median'] / 1e9:.1f}"]
        for name, of in seconds.items()
    ]  # fmt: skip
    print(table(["size and rung", "ms per update", "examples/s", "useful GFLOP/s"], rows), end="\n\n")
    print(table(["ratio", "median (low - high)"], [[name, show(of)] for name, of in ratios.items()]), end="\n\n")
    print(table(["limit", "10^9 per second"], [[n, show(spread([v / 1e9 for v in of]))] for n, of in bounds.items()]))
    floor = product_flops(60_000) / spread(bounds["products of 64 rows, FLOP/s"])["median"]
    print(f"\nproducts alone of an epoch of `fashion_mlp` at that last rate: {floor:.2f} s")
    found = {"ratios": ratios, "limits": bounds, "epoch_floor_seconds": floor, "samples": seconds}
    print(save("rungs", quick=quick, n=repeats, **found))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
