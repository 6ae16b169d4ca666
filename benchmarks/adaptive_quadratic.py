"""Steps and seconds to a fixed loss on the exact noisy quadratic: adaptive batch sizes beside the best constant one.

Nothing is sampled but what a policy is told: the loss of every run is an expectation, in closed form for constant
sizes and by the second-moment recursion for policies; the moments that policies see have the errors of eight
micro-batches an update, from five seeds. Every constant size has its own best rate. Every policy has its own best rate
too, and the better of two rules for it at a change of size (none, square root), found on a seed that is not used again.
Policies begin at 512, where `plan` would, sqrt(B_hw B_noise) = 400 to the nearest power of two, and once more at 16.
Seconds are those of an assumed line, 1 ms an update and 5 us an example, the same for all; noise scale 800 at the
start, 1000 eigenvalues falling as 1/i, and a target of a twentieth of the first loss.

    python benchmarks/adaptive_quadratic.py [--quick]

Every number: `results/adaptive_quadratic.json`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from timing import arguments, headline, save, table

from ladle.core.duration import Until
from ladle.core.speed import Speed
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
from ladle.quadratic.dry_run import rehearse
from ladle.quadratic.noisy_quadratic import NoisyQuadratic
from ladle.quadratic.readings import Instrument
from ladle.quadratic.referee import Candidate, Ranking, compare

SMALLEST, PLANNED, LARGEST, MICRO_STEPS, SEEDS = 16, 512, 8192, 8, (1, 2, 3, 4, 5)
LINE = Speed(1e-3, 5e-6)
UNTIL = Until.parse("loss <= 0.05, 1e6 steps")
EPOCH, WINDOW = 50_000, 4096
HOW: dict[str, Any] = {"until": UNTIL, "line": LINE, "epoch_size": EPOCH, "window": WINDOW}
QUADRATIC = NoisyQuadratic.power_law(1000, noise_scale=800.0, loss=1.0)

Make = Callable[[int, Any], Any]


def sizes(first: int) -> Range:
    return Range(SMALLEST, LARGEST, LARGEST, first=first)


def doubling(epochs: int) -> Make:
    return lambda first, rule: Geometric(
        first, LARGEST, growth=2, every=epochs * EPOCH, micro_size=LARGEST, coupling=rule
    )


POLICIES: dict[str, Make] = {
    "noise scale": lambda first, rule: NoiseFollow(sizes(first), coupling=rule),
    "norm test 0.5": lambda first, rule: NormTest(sizes(first), theta=0.5, coupling=rule),
    "inner product": lambda first, rule: InnerProduct(sizes(first), coupling=rule),
    "DiveBatch": lambda first, rule: DiveBatch(sizes(first), coupling=rule),
    "AdAdaGrad": lambda first, rule: AdAdaGrad(sizes(first), coupling=rule),
    "goodput": lambda first, rule: Goodput(sizes(first), coupling=rule),
    "plateau": lambda first, rule: Plateau(first, LARGEST, LARGEST, patience=2, coupling=rule),
    "twice every epoch": doubling(1),
    "twice every 4 epochs": doubling(4),
}
"""By name: a policy that begins at a size and couples its rate by a rule."""

ONE_RULE: dict[str, Make] = {
    "CABS": lambda first, rule: lambda lr: CABS(sizes(first), lr=lr),
    "AdaScale of 1024": lambda first, rule: AdaScale(Constant(1024, 1024), base=first),
}
"""Those whose rate follows from their own formula."""

RULES = ("none", "square root")


def tuned(names: Mapping[str, Make], first: int, rules: tuple[str, ...]) -> Ranking:
    """All of `names` under each of the rules, at their best rates."""
    made = {f"{name}, {rule}": make(first, rule) for name, make in names.items() for rule in rules}
    return compare(made, QUADRATIC, instrument=Instrument(MICRO_STEPS, seed=0), **HOW)


def measured(name: str, make: Make, first: int, row: Candidate, best: Candidate) -> dict[str, Any]:
    """One policy at the rate and rule of `row`, with five seeds that tuning did not see."""
    rule = row.name.removeprefix(f"{name}, ")
    policy = make(first, rule)
    policy = policy(row.lr) if callable(policy) else policy
    runs = [
        rehearse(policy, QUADRATIC, lr=row.lr, instrument=Instrument(MICRO_STEPS, seed=seed), **HOW) for seed in SEEDS
    ]
    found = {unit: [getattr(run, unit) for run in runs] for unit in ("steps", "examples", "seconds", "switches")}
    middle = {unit: statistics.median(values) for unit, values in found.items()}
    ratios = {"step_ratio": middle["steps"] / best.steps, "time_ratio": middle["seconds"] / best.seconds}
    reached = all(run.status == "reached" for run in runs)
    return {"first": first, "rule": rule, "lr": row.lr, "reached": reached, **found, **(ratios if reached else {})}


def shown(name: str, found: Mapping[str, Any]) -> list[str]:
    rate = f"{found['lr']:.3g}, {found['rule']}"
    if not found["reached"]:
        return [name, str(found["first"]), rate, "not by every seed", "", "", "", ""]
    steps = found["steps"]
    middle = {unit: statistics.median(found[unit]) for unit in ("steps", "examples", "seconds", "switches")}
    return [
        name, str(found["first"]), rate, f"{middle['steps']:,.0f} ({min(steps):,.0f} - {max(steps):,.0f})",
        f"{middle['examples']:,.0f}", f"{middle['seconds']:.3g}", f"{middle['switches']:.0f}",
        f"{found['step_ratio']:.2f} / {found['time_ratio']:.2f}",
    ]  # fmt: skip


def main(quick: bool) -> None:
    found: list[dict[str, Any]] = []
    for first in (PLANNED,) if quick else (PLANNED, SMALLEST):
        for names, rules in ((POLICIES, RULES), (ONE_RULE, ("its own",))):
            made = tuned(names, first, rules)
            for name, make in names.items():
                row = min((made.row(f"{name}, {rule}") for rule in rules), key=lambda row: row.seconds)
                found.append({"policy": name, **measured(name, make, first, row, made.best)})
    rows = [shown(one["policy"], one) for one in found]
    for row in made.constants:
        ratio = f"{row.steps / made.best.steps:.2f} / {row.seconds / made.best.seconds:.2f}"
        numbers = [f"{row.steps:,.0f}", f"{row.examples:,.0f}", f"{row.seconds:.3g}", "0", ratio]
        rows.append([row.name, str(row.size), f"{row.lr:.3g}", *numbers])
    print(headline())
    print(f"best constant size: {made.best.size}")
    print(table(["size or policy", "from", "rate", "steps (range)", "examples", "seconds", "switches", "x best"], rows))
    constants = {row.size: {"lr": row.lr, "steps": row.steps, "seconds": row.seconds} for row in made.constants}
    print(
        save("adaptive_quadratic", quick=quick, n=len(SEEDS), best=made.best.size, constants=constants, policies=found)
    )


if __name__ == "__main__":
    main(arguments(__doc__).quick)
