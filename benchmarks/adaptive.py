"""Steps and seconds to a fixed validation loss: adaptive batch sizes beside the best constant one, Fashion-MNIST.

The sweep is honest: every constant size has its own best of five learning rates, a factor of two apart, chosen on a
seed that is not used again. Policies begin at one size, with that size's own best rate and one factor of two around it,
under the better of two rules for the rate at a change of size (none, square root), chosen on the same seed: six tries.
Then five fresh seeds each. A run ends at the first evaluation, ten to an epoch, whose loss on
held-out images (a fifth of the rows) is at the target; seconds are of training alone, without compilation.

    python benchmarks/adaptive.py [--quick] [--only mlp convnet]        (LADLE_DATA names the folder of data sets)

Hardware and every sample: `results/adaptive.json`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from timing import arguments, headline, save, table

import ladle
from ladle.api.assembly import Assembly, assemble, resolve_micro
from ladle.policy import CABS, Constant, DiveBatch, Geometric, Goodput, NoiseFollow, NormTest, Plateau, Range

SEEDS = (1, 2, 3, 4, 5)
PER_EPOCH = 10
RULES = ("none", "square root")


@dataclass(frozen=True)
class Case:
    """What is trained, to which validation loss, at most how long."""

    model: Any
    optimizer: str
    rows: int
    target: float
    epochs: int
    sizes: tuple[int, ...]
    usual: float
    """Learning rate at batches of 64 around which is swept."""

    def assembly(self) -> Assembly:
        whole = ladle.data.load("fashion-mnist", valid=0).train
        data = ladle.data.arrays(whole["x"][: self.rows], whole["y"][: self.rows])
        return assemble(ladle.Task(self.model, "cross_entropy", data, optimizer=self.optimizer, lr=self.usual))


CASES = {
    "mlp": Case(ladle.models.mlp(784, 256, 10), "sgd", 60_000, 0.36, 30, (16, 32, 64, 128, 256, 512, 1024), 0.1),
    "convnet": Case(
        ladle.models.convnet((28, 28, 1), 10, width=8), "sgd", 7_500, 0.52, 30, (16, 32, 64, 128, 256), 0.1
    ),
}


def to_target(case: Case, assembly: Assembly, policy: Any, lr: float, seed: int) -> tuple[float, float, float]:
    """`(steps, seconds, examples)` of one run; infinite where the target was not reached."""
    run = ladle.fit(
        assembly,
        policy=policy,
        until=f"valid_loss <= {case.target}, {case.epochs} epochs",
        lr=lr,
        seed=seed,
        evaluate_every=assembly.rows // PER_EPOCH,
        window=assembly.rows // PER_EPOCH,
    )
    if not run.why.startswith("target"):
        return math.inf, math.inf, math.inf
    return run.final["updates"], run.final["seconds"], run.final["examples"]


def tuned(case: Case, assembly: Assembly, policy: Any, rates: Sequence[float]) -> tuple[float, list[Any]]:
    """The soonest rate on seed 0, and what the five other seeds then took."""
    first = {lr: to_target(case, assembly, policy, lr, 0)[1] for lr in rates}
    lr = min(first, key=lambda rate: (first[rate], rate))
    return lr, [to_target(case, assembly, policy, lr, seed) for seed in SEEDS]


def policies(case: Case, lr: float, rule: str, rows: int) -> dict[str, Any]:
    """Every one begins at the second size that was swept, at rate `lr`, and may grow to four times the largest."""
    first, largest = case.sizes[1], 4 * case.sizes[-1]
    sizes = Range(first, largest, largest, first=first)
    how: Any = {"coupling": rule}
    return {
        "noise scale": NoiseFollow(sizes, **how),
        "norm test 0.5": NormTest(sizes, theta=0.5, **how),
        "CABS": CABS(sizes, lr=lr),
        "DiveBatch 0.5": DiveBatch(sizes, delta=0.5, **how),
        "goodput": Goodput(sizes, **how),
        "plateau": Plateau(first, largest, largest, patience=2, **how),
        "geometric x2 every epoch": Geometric(first, largest, growth=2, every=rows, micro_size=largest, **how),
    }


Row = tuple[str, float, float, tuple[float, float], float, float]


def row(name: str, lr: float, found: list[Any]) -> Row:
    steps, seconds, examples = (sorted(values) for values in zip(*found, strict=True))
    middle = [statistics.median(values) for values in (steps, seconds, examples)]
    return name, lr, middle[0], (steps[0], steps[-1]), middle[1], middle[2]


def measure(case: Case, quick: bool) -> dict[str, Any]:
    assembly = case.assembly()
    constants, rates = {}, {}
    sizes = case.sizes[1::2] if quick else case.sizes
    for size in sizes:
        around = case.usual * math.sqrt(size / 64)
        tried = [around * 2.0**power for power in ((0,) if quick else (-1, 0, 1, 2, 3))]
        policy = Constant(size, resolve_micro(size, None))
        rates[size], found = tuned(case, assembly, policy, tried)
        constants[size] = row(f"{size}", rates[size], found)
        print(constants[size], flush=True)
    base = rates[min(sizes, key=lambda size: abs(size - case.sizes[1]))]
    adaptive = {}
    for name in policies(case, base, RULES[0], assembly.rows):
        best: Any = None
        for lr, rule in product([base * factor for factor in ((1.0,) if quick else (0.5, 1.0, 2.0))], RULES):
            policy = policies(case, lr, rule, assembly.rows)[name]
            _, seconds, _ = to_target(case, assembly, policy, lr, 0)
            best = min(filter(None, (best, (seconds, lr, rule))))
        _, lr, rule = best
        policy = policies(case, lr, rule, assembly.rows)[name]
        adaptive[name] = row(f"{name}, {rule}", lr, [to_target(case, assembly, policy, lr, seed) for seed in SEEDS])
        print(adaptive[name], flush=True)
    made = ladle.plan(assembly, lr=case.usual)
    planned = min(sizes, key=lambda size: abs(math.log(size / made.size)))
    fastest = min(constants, key=lambda size: constants[size][4])
    return {
        "constants": constants,
        "adaptive": adaptive,
        "fastest_constant": fastest,
        "plan": {
            "size": made.size,
            "nearest_swept": planned,
            "time_ratio": constants[planned][4] / constants[fastest][4],
        },
        "step_ratio": min(of[2] for of in adaptive.values()) / constants[fastest][2],
        "time_ratio": min(of[4] for of in adaptive.values()) / constants[fastest][4],
    }


def main(quick: bool, names: Sequence[str]) -> None:
    found = {}
    print(headline())
    for name in names:
        found[name] = measure(CASES[name], quick)
        rows = [
            [title, f"{lr:.3g}", f"{steps:,.0f} ({low:,.0f}-{high:,.0f})", f"{seconds:.3g}", f"{examples:,.0f}"]
            for title, lr, steps, (low, high), seconds, examples in (
                *found[name]["constants"].values(), *found[name]["adaptive"].values(),
            )
        ]  # fmt: skip
        print(f"\n{name}: validation loss {CASES[name].target}, medians of {len(SEEDS)} seeds")
        print(table(["size or policy", "rate", "steps (range)", "seconds", "examples"], rows))
        print({key: found[name][key] for key in ("fastest_constant", "plan", "step_ratio", "time_ratio")})
    print(save("adaptive", quick=quick or len(names) < len(CASES), n=len(SEEDS), cases=found))


if __name__ == "__main__":
    options = arguments(__doc__)
    main(options.quick, options.only or tuple(CASES))
