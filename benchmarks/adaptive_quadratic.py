"""Steps and seconds to a fixed loss on the exact noisy quadratic: adaptive batch sizes beside the best constant one.

Nothing is sampled but what a policy is told: the loss of every run is an expectation, in closed form for constant
sizes and by the second-moment recursion for policies; the moments that policies see have the errors of eight
micro-batches an update, from five seeds. Every constant size has its own best rate, and so has every policy, found on a
seed that is not used again. Seconds are those of an assumed line, 1 ms an update and 5 us an example, the same
for all; noise scale 800 at the start, 1000 eigenvalues falling as 1/i, and a target of a twentieth of the first loss.

    python benchmarks/adaptive_quadratic.py [--quick]

Every number: `results/adaptive_quadratic.json`.
"""

from __future__ import annotations

import statistics
from typing import Any

from timing import arguments, headline, save, table

from ladle.duration import Until
from ladle.planner.dry_run import rehearse
from ladle.planner.meter import Meter
from ladle.planner.quadratic import NoisyQuadratic
from ladle.planner.referee import compare
from ladle.planner.throughput import ThroughputLine
from ladle.policy import (
    CABS,
    AdAdaGrad,
    AdaScale,
    Constant,
    DiveBatch,
    Geometric,
    Goodput,
    InnerProduct,
    NoiseFollow,
    NormTest,
    Plateau,
    Range,
)

SMALLEST, LARGEST, MICRO_STEPS, SEEDS = 16, 8192, 8, (1, 2, 3, 4, 5)
SIZES = Range(SMALLEST, LARGEST, LARGEST, first=SMALLEST)
LINE = ThroughputLine(1e-3, 5e-6, 0, 0, 0, (), 0)
UNTIL = Until.parse("loss <= 0.05, 1e6 steps")
EPOCH, WINDOW = 50_000, 4096
RULE: Any = {"coupling": "square root"}

POLICIES: dict[str, Any] = {
    "noise scale": NoiseFollow(SIZES, **RULE),
    "norm test 0.5": NormTest(SIZES, theta=0.5, **RULE),
    "inner product": InnerProduct(SIZES, **RULE),
    "CABS": lambda lr: CABS(SIZES, lr=lr),
    "DiveBatch": DiveBatch(SIZES, **RULE),
    "AdAdaGrad": AdAdaGrad(SIZES, **RULE),
    "AdaScale of 256": AdaScale(Constant(256, 256), base=16),
    "goodput": Goodput(SIZES, **RULE),
    "plateau": Plateau(SMALLEST, LARGEST, LARGEST, patience=2, **RULE),
    "geometric x2 every epoch": Geometric(SMALLEST, LARGEST, growth=2, every=EPOCH, micro_size=LARGEST, **RULE),
}


def main(quick: bool) -> None:
    quadratic = NoisyQuadratic.power_law(1000, noise_scale=800.0, loss=1.0)
    how: dict[str, Any] = {"until": UNTIL, "line": LINE, "epoch_size": EPOCH, "window": WINDOW}
    names = list(POLICIES)[: 3 if quick else None]
    tuned = compare({name: POLICIES[name] for name in names}, quadratic, meter=Meter(MICRO_STEPS, seed=0), **how)
    best, found, rows = tuned.best, {}, []
    for row in tuned.policies:
        made = POLICIES[row.name](row.lr) if callable(POLICIES[row.name]) else POLICIES[row.name]
        runs = [rehearse(made, quadratic, lr=row.lr, meter=Meter(MICRO_STEPS, seed=seed), **how) for seed in SEEDS]
        reached = all(run.status == "reached" for run in runs)
        samples = {unit: [getattr(run, unit) for run in runs] for unit in ("steps", "examples", "seconds", "switches")}
        middle = {unit: statistics.median(values) for unit, values in samples.items()}
        found[row.name] = {"lr": row.lr, "reached": reached, **samples}
        if not reached:
            rows.append([row.name, f"{row.lr:.3g}", "not by every seed", "", "", "", ""])
            continue
        found[row.name] |= {"step_ratio": middle["steps"] / best.steps, "time_ratio": middle["seconds"] / best.seconds}
        steps = samples["steps"]
        rows.append(
            [row.name, f"{row.lr:.3g}", f"{middle['steps']:,.0f} ({min(steps):,.0f} - {max(steps):,.0f})",
             f"{middle['examples']:,.0f}", f"{middle['seconds']:.3g}", f"{middle['switches']:.0f}",
             f"{found[row.name]['step_ratio']:.2f} / {found[row.name]['time_ratio']:.2f}"]
        )  # fmt: skip
    for row in tuned.constants:
        mark = f"{row.steps / best.steps:.2f} / {row.seconds / best.seconds:.2f}"
        numbers = [f"{row.lr:.3g}", f"{row.steps:,.0f}", f"{row.examples:,.0f}", f"{row.seconds:.3g}", "0", mark]
        rows.append([row.name, *numbers])
    print(headline())
    print(f"best constant size: {best.size}")
    print(table(["size or policy", "rate", "steps (range)", "examples", "seconds", "switches", "x best"], rows))
    constants = {row.size: {"lr": row.lr, "steps": row.steps, "seconds": row.seconds} for row in tuned.constants}
    print(save("adaptive_quadratic", quick=quick, n=len(SEEDS), best=best.size, constants=constants, policies=found))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
