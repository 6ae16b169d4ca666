"""`measure`: the critical batch size of a run at its newest checkpoint, by branches at several sizes.

The run is read, never written: branches live in memory, what they found goes to a folder of its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ladle.api.assembly import Assembly, resolve_micro
from ladle.api.branch_start import Start, start_of
from ladle.api.fitting import fitted, fitting_factors
from ladle.core import record
from ladle.core.decision import Decision, Progress
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must
from ladle.core.protocols import Probe
from ladle.core.scaling.coupling import Rule, lr_factor
from ladle.core.spec import BatchSpec, require_count
from ladle.core.world import require_alone
from ladle.critical.answer import Critical
from ladle.critical.branches import MARGIN, branch_definitions, caveats, compared, differences
from ladle.loop.train import train
from ladle.monitor.console import Console, console

if TYPE_CHECKING:
    from ladle.core.plan import Plan

FACTORS = (1, 2, 4, 8, 16)
SEEDS = 3
"""Data orders. Of one nothing can be tested: the spread over orders is most of the error."""


@dataclass(frozen=True)
class Branch:
    """One branch: `factor` times the run's batch, its rate moved by a rule. A policy that never changes its mind."""

    factor: int
    spec: BatchSpec
    lr_factor: float

    def init(self, plan: Plan | None) -> None:
        return None

    def decide(self, memory: None, progress: Progress) -> tuple[None, Decision]:
        return None, Decision(self.spec, lr_factor=self.lr_factor)


def measure(
    folder: str | os.PathLike[str],
    *,
    factors: Sequence[int] | None = None,
    examples: int | str = "1 epoch",
    rule: Rule | None = None,
    seeds: int = SEEDS,
    micro_size: int | None = None,
    margin: float = MARGIN,
    out: str | os.PathLike[str] | None = None,
    show: Console | bool = False,
) -> Critical:
    """Branch the run in `folder` at its newest checkpoint into batches of `factors` times its own; which does no harm?

    Every branch trains the same examples in the same order from the same parameters and optimiser state, with the rate
    times k (`rule` "linear", of SGD and its kin) or sqrt(k) ("square root", of Adam and its kin). Then validation
    losses are compared example by example, see `ladle.critical.branches`.

    - `folder`: a run of `ladle train`, which may still be going on. `factors`: ascending whole numbers from 1 on; 1, 2,
      4, 8 and 16 where left out, as far as the rows go.
    - `examples`: how far each branch goes, a number or "2 epochs"; rounded up to where the batches of all of them end.
    - `seeds`: the first is the run's own order, the others are other orders. Of one the differences are told, not
      tested, and there is no B_paired.
    - `micro_size`: examples per forward pass at most, the run's own where left out, so that memory is as before.
    - `margin`: of the fixed-margin definition that stands beside the paired one.
    - `out`: where critical.json and critical.png go; None keeps everything in memory.

    Raises `ArgumentError` before any training for what cannot be right.

    >>> import ladle.api.critical_branches
    >>> ladle.api.critical_branches.measure("runs/train-digits-1", factors=(1, 2, 4))["B_paired"]  # doctest: +SKIP
    """
    require_alone("critical")
    given, seeds, margin = factors and _factors(factors), require_seeds(seeds), _margin(margin)
    target = Path(out) if out is not None else None
    if target is not None:
        record.require_new(target)
    start = start_of(Path(folder))
    factors = given or fitting_factors(FACTORS, start.spec.size, start.assembly.rows)
    rule = _rule(rule, start.assembly)
    if micro_size is not None:
        resolve_micro(factors[-1] * start.spec.size, micro_size)
    branches = [_branch(start, factor, rule, micro_size) for factor in factors]
    _require_memory(start, branches)
    rows, position = start.assembly.rows, start.carry.progress.examples
    stop = aligned(position, _count(examples, rows), math.lcm(*factors) * start.spec.size, rows)
    _require_rate(start, position, stop)
    monitor = show if not isinstance(show, bool) else console(None, quiet=not show)
    for line in fitted("factors", factors, FACTORS, rows) if given is None else ():
        monitor.message(line)
    monitor.message(f"{len(branches)} branches from {position:,} to {stop:,} examples, {seeds} seeds")
    tries = []
    for branch in branches:
        tries.append([_grown(start, branch, start.seed + seed, stop) for seed in range(seeds)])
        monitor.message(f"size {branch.spec.size}: {np.mean([grown.losses for grown in tries[-1]]):.6g}")
    monitor.close()
    found = _answer(start, branches, tries, rule=rule, margin=margin, stop=stop)
    return found if target is None else written(found, target, start.assembly)


def written(found: Critical, folder: Path, assembly: Assembly) -> Critical:
    """`found` with its critical.json and critical.png in the new `folder`; both name what it was measured on."""
    from ladle.report.critical_picture import critical_figure

    facts = {name: value for name, value in assembly.facts().items() if name in ("model", "data")}
    value = {**facts, "optimizer": assembly.optimizer.name, **found.to_json()}
    record.make_folder(folder)
    record.write_json(folder / record.CRITICAL_FILE, value)
    critical_figure(value, folder / "critical.png")
    return replace(found, folder=folder)


def aligned(position: int, examples: int, period: int, rows: int) -> int:
    """The first place, `examples` or more past `position`, at which every batch size that divides `period` ends.

    Batches count from `position` in the pass it is in, then from each start of a pass of `rows`; its end ends them all.

    >>> aligned(position=30, examples=25, period=20, rows=100), aligned(30, 65, 20, 100), aligned(30, 75, 20, 100)
    (70, 100, 120)
    """
    goal = position + examples
    begin = max(position, goal // rows * rows)
    end = begin + -(-(goal - begin) // period) * period
    return min(end, (goal - 1) // rows * rows + rows)


@dataclass(frozen=True)
class _Grown:
    """A branch at its end: `losses` f64[validation examples], inf where it diverged."""

    losses: np.ndarray
    updates: int
    examples: int


def _grown(start: Start, branch: Branch, seed: int, stop: int) -> _Grown:
    assembly, carry, diverged = start.assembly, start.carry, False
    carry = replace(carry, state=assembly.engine.copy(carry.state), memory=None)
    feed = assembly.feed(seed)
    for line, after in train(carry, feed, assembly.engine.step, branch, Until(examples=stop), stop=stop):
        carry, diverged = after, line.get("refused", 0.0) > 0 or not math.isfinite(line.get("train_loss", 0.0))
        if diverged:
            break
    getattr(feed, "close", lambda: None)()
    losses = assembly.engine.losses(carry.state, assembly.valid)
    losses = np.full_like(losses, math.inf) if diverged or not np.isfinite(losses).all() else losses
    return _Grown(losses, carry.progress.updates - start.carry.progress.updates, carry.progress.examples)


def _answer(
    start: Start, branches: list[Branch], tries: list[list[_Grown]], *, rule: Rule, margin: float, stop: int
) -> Critical:
    losses = [np.stack([grown.losses for grown in one]) for one in tries]
    sizes = [branch.spec.size for branch in branches]
    pairs = differences(losses)
    found = branch_definitions(sizes, losses, margin=margin)
    position, seeds = start.carry.progress.examples, len(tries[0])
    table = tuple(
        {
            **_row(branch, one, np.stack([grown.losses for grown in one])),
            **compared(number, pairs, sizes, margin=margin),
        }
        for number, (branch, one) in enumerate(zip(branches, tries, strict=True))
    )
    critical, ends = found[0], {grown.examples for one in tries for grown in one}
    point = position, critical.value, critical.low, critical.high
    return Critical(
        "branches",
        table,
        found,
        (point,) if seeds > 1 else (),
        {"position": position, "trained": stop - position, "seeds": seeds, "rule": rule, "margin": margin},
        caveats(seeds, pairs, critical, margin=margin, apart=len(ends) > 1),
    )


def _row(branch: Branch, grown: Sequence[_Grown], losses: np.ndarray) -> dict[str, Any]:
    return {
        "factor": branch.factor,
        "size": branch.spec.size,
        "micro_size": branch.spec.micro_size,
        "lr_factor": round(branch.lr_factor, 6),
        "updates": grown[0].updates,
        "loss": float(losses.mean()),
        "seed_losses": losses.mean(1).tolist(),
    }


def _branch(start: Start, factor: int, rule: Rule, micro_size: int | None) -> Branch:
    size, rows = factor * start.spec.size, start.assembly.rows
    if size > rows:
        why = f"a batch never crosses an epoch, and the run's own size is {start.spec.size}"
        remedy = "factors=" + str([k for k in FACTORS if k * start.spec.size <= rows])
        raise ArgumentError(
            must("factors", f"make batches of at most the {rows:,} training examples", size, why, remedy)
        )
    micro = start.spec.micro_size if micro_size is None else min(micro_size, size)
    if not start.assembly.objective.additive:
        micro = size  # Where an example's loss depends on the others, a micro-batch is part of what is learnt.
    return Branch(factor, BatchSpec(size, micro), start.lr_factor * lr_factor(rule, factor))


def _require_memory(start: Start, branches: Sequence[Branch]) -> None:
    """Refuse a forward pass that does not fit. The run's own did: nothing is asked of the compiler then."""
    largest = max((branch.spec for branch in branches), key=lambda spec: spec.micro_size)
    if largest.micro_size > start.spec.micro_size:
        feed = start.assembly.measured_feed(start.seed)
        _require_fit(largest, start.assembly.engine.probe(feed, BatchSpec(1, 1), hyper={}))


def _require_fit(spec: BatchSpec, probe: Probe) -> None:
    needed, (limit, where) = probe.memory_bytes(spec), probe.limit_bytes()
    if needed > limit:
        got = f"{spec.micro_size:,} examples, {needed / 1e9:.3g} GB"
        why = f"there are {limit / 1e9:.3g} GB ({where})"
        raise ArgumentError(
            must(
                "factors",
                "leave forward passes that fit in memory",
                got,
                why,
                f"micro_size={max(spec.micro_size // 2, 1)}",
            )
        )


def _require_rate(start: Start, position: int, stop: int) -> None:
    if max(start.assembly.engine.rate_at(place) for place in (position, (position + stop) // 2)) <= 0:
        why = "the schedule has brought the rate to zero there: no branch would learn"
        remedy = "a run stopped earlier, or one of constant rate"
        raise ArgumentError(
            must("checkpoint", "be before the end of the rate's schedule", f"{position:,} examples", why, remedy)
        )


def _factors(factors: Sequence[int]) -> tuple[int, ...]:
    found = tuple(require_count("factors", factor) for factor in factors)
    if len(found) < 2 or found[0] != 1 or any(a >= b for a, b in pairwise(found)):
        why = "every branch is held against the run's own size and all smaller ones"
        raise ArgumentError(must("factors", "ascend from 1", ",".join(map(str, found)), why, "factors=[1, 2, 4, 8]"))
    return found


def require_seeds(seeds: int) -> int:
    """`seeds`, or an `ArgumentError` where that is no number of runs."""
    if isinstance(seeds, bool) or not hasattr(seeds, "__index__") or seeds < 1:
        raise ArgumentError(must("seeds", "be a whole number from 1 on", seeds, "each is a run", f"seeds={SEEDS}"))
    return seeds


def _margin(margin: float) -> float:
    if not 0 < margin < math.inf:
        why = "a branch may be so much worse and still count as harmless"
        raise ArgumentError(must("margin", "be a positive number", margin, why, f"margin={MARGIN}"))
    return margin


def _rule(rule: Rule | None, assembly: Assembly) -> Rule:
    rule = assembly.rule if rule is None else rule
    if rule not in ("linear", "square root"):
        custom = assembly.task.optimizer_name == "custom"
        why = "how the rate of your own optimiser follows the size is not known" if custom else "branches keep all else"
        raise ArgumentError(must("rule", "be 'linear' or 'square root'", rule, why, "rule='linear'"))
    return rule


def _count(examples: int | str, rows: int) -> int:
    text = str(examples).strip()
    try:
        until = Until.parse(f"{text} examples" if text.replace(".", "").replace("e", "").isdigit() else text)
        count = until.stop(rows) if until == Until(until.epochs, until.examples) else None
    except ArgumentError:
        count = None
    if count is None:
        why = "every branch trains the same examples"
        raise ArgumentError(
            must("examples", "be a positive number of examples or epochs", examples, why, "examples='2 epochs'")
        )
    return count
