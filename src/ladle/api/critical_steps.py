"""`measure_steps`: steps to a target at several batch sizes, each at its own tuned rate, and the hyperbola."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly, assemble, resolve_micro, resolve_size
from ladle.api.critical_branches import require_seeds, written
from ladle.api.fitting import fitted, fitting
from ladle.api.inference import inferred
from ladle.api.task import Task
from ladle.core import record
from ladle.core.constants import EMA
from ladle.core.duration import Target, Until, direction_of
from ladle.core.errors import ArgumentError, RunError, must, nearest
from ladle.core.hyperbola import FEWEST_TO_CHOOSE, better_model, widened
from ladle.core.spec import BatchSpec, require_count, rung_for
from ladle.core.world import require_alone
from ladle.critical.answer import Critical
from ladle.critical.definition import definitions, fewest_examples
from ladle.critical.reach import Arrival, Tuned, steps_to, tuned
from ladle.monitor.console import Console, console

SIZES = (8, 16, 32, 64, 128, 256)

SLOWER = 1.5
"""A rate is given up once it has taken so many times the steps of the best one."""


@dataclass(frozen=True)
class _Size:
    """One batch size at its best rate. `there`: how every seed arrived at it; of no seed where none did."""

    spec: BatchSpec
    best: Tuned
    there: Arrival

    @property
    def seeds(self) -> tuple[float, ...]:
        return self.there.each


def measure_steps(
    task: Task | Assembly,
    target: str,
    *,
    sizes: Sequence[int | str] | None = None,
    seeds: int = 1,
    until: str | Until = "100 epochs",
    micro_size: int | None = None,
    base: float | None = None,
    out: str | os.PathLike[str] | None = None,
    show: Console | bool = False,
) -> Critical:
    """Train `task` to `target` at each of `sizes`, with the best of a sweep of rates at each, and fit the trade-off.

    - `target`: "valid_loss=0.4", "valid_accuracy=0.95", or with <= and >=; reached where the falling path nearest to
      all readings meets it (`ladle.critical.reach.crossing`), not at the first reading that does: small batches are
      noisier, and their first would come earlier than their mean. Evaluations are a 16th of the steps so far apart.
      "valid_ema_loss" and the like are of the average of the weights (`Task(ema=)`), whose decay follows the size.
    - `sizes`: 8, 16, 32, 64, 128 and 256 where left out, as far as the rows go.
    - `seeds`: parameters, the same for each size, and orders, others for each size; steps are read off the mean of
      their readings. Every rate runs all of them side by side, so that many states are held at once.
    - `until`: what a size may spend on each try. `micro_size`: examples per forward pass at most.
    - `base`: of the 20 % definition, the smallest size where left out.
    - `out`: where critical.json and critical.png go; None keeps everything in memory.

    Rates begin at the optimiser's rule and go on by factors of 3, as long as an end is best, then of 3^(1/2) and
    3^(1/4), and once of 3^(1/8) below a rate that fails. The best of noisy tries looks a little better than it is,
    most at small sizes, whose tries are noisiest: on a quadratic by 1 to 2 % with three seeds and 4 % with one. A
    best rate between two tries costs up to 9 %, most at large sizes, whose rate is bounded by divergence.

    Raises `ArgumentError` before any training for what cannot be right, such as a target that is met already;
    `RunError` where fewer than three sizes reach the target.
    """
    require_alone("critical")
    goal, seeds = _target(target), require_seeds(seeds)
    assembly = task if isinstance(task, Assembly) else assemble(task)
    usual = fitting(SIZES, assembly.rows, fewest=4)
    counts = sorted({resolve_size(size, assembly.rows, "sizes") for size in (usual if sizes is None else sizes)})
    if len(counts) < 3:
        why = "any hyperbola passes through two points"
        raise ArgumentError(must("sizes", "hold three or more sizes", counts, why, f"sizes={list(usual)}"))
    if base is not None and not 0 < base < math.inf:
        raise ArgumentError(
            must("base", "be positive", base, "steps are held against ideal scaling from it", f"base={counts[0]}")
        )
    specs = [_spec(size, micro_size) for size in counts]
    read = _reader(assembly, goal)
    _require_sign(target)
    _require_unmet(assembly, goal, target, seeds)
    folder = Path(out) if out is not None else None
    if folder is not None:
        record.require_new(folder)
    monitor = show if not isinstance(show, bool) else console(None, quiet=not show)
    for line in (
        *inferred(assembly.task.data),
        *(fitted("sizes", usual, SIZES, assembly.rows) if sizes is None else ()),
    ):
        monitor.message(line)
    tried = []
    for number, spec in enumerate(specs):
        orders = range(number * seeds, (number + 1) * seeds)
        tried.append(_tuned(assembly, spec, read, goal, orders=orders, until=until))
        monitor.message(f"size {spec.size}: {_said(tried[-1])}")
    monitor.close()
    found = _answer(tried, f"{goal.metric} {'>=' if goal.at_least else '<='} {goal.value:g}", until, base)
    return found if folder is None else written(found, folder, assembly)


def _tuned(
    assembly: Assembly,
    spec: BatchSpec,
    read: Callable[[Any], float],
    goal: Target,
    *,
    orders: range,
    until: str | Until,
) -> _Size:
    """`orders`: seeds of the data order. Sizes that share them err together, which no interval of theirs could tell."""
    feeds = [assembly.feed(order) for order in orders]
    most = _most(until, spec.size, assembly.rows)
    value = -goal.value if goal.at_least else goal.value
    hyper, kept = assembly.moved(spec.size), dict[float, Arrival]()

    def steps(rate: float, fewest: float) -> float:
        limit = min(most, math.ceil(SLOWER * fewest) + 1) if math.isfinite(fewest) else most
        found = steps_to(assembly.engine.step, feeds, spec, read, value, rate=rate, most=limit, hyper=hyper)
        if math.isfinite(found.steps):
            kept[rate] = found
        return max(found.steps, 1.0)

    best = tuned(steps, (assembly.reference_lr or 1.0) * assembly.lr_ratio(spec.size))
    for feed in feeds:
        getattr(feed, "close", lambda: None)()
    return _Size(spec, best, kept.get(best.rate, Arrival(math.inf)))


def _answer(tried: Sequence[_Size], target: str, until: str | Until, base: float | None) -> Critical:
    reached = [one for one in tried if one.seeds]
    never = [one.spec.size for one in tried if not one.seeds]
    if len(reached) < 3:
        why = f"{len(reached)} of {len(tried)} sizes reached it, at any rate within {until}"
        remedy = "an easier target, more sizes or a longer until"
        raise RunError(must("target", "be reached at three sizes or more", target, why, remedy))
    sizes, steps = [float(one.spec.size) for one in reached], [one.best.steps for one in reached]
    notes = [_left_out(never, sizes)] if never else []
    rivals = better_model(sizes, steps)
    fit, law = rivals.hyperbola, rivals.power_law
    seeds = len(reached[0].seeds)
    if seeds > 1:
        fit = widened(fit, sizes, [one.there.error for one in reached], seeds - 1)
    if rivals.better is None:
        notes.append(f"fewer than {FEWEST_TO_CHOOSE} sizes: they cannot tell a hyperbola from a power law")
    if rivals.better == "power law":
        notes.append(f"a power law (exponent {law.exponent:.2f}) fits better: these sizes do not show both ends")
    if seeds == 1:
        notes.append("one seed: the interval rests on how far the sizes scatter around the hyperbola")
    return Critical(
        "steps to target",
        tuple(_row(one, fit.steps(one.spec.size)) for one in tried),
        (*definitions(fit, base=sizes[0] if base is None else base), fewest_examples(sizes, steps)),
        (),
        {
            "target": target,
            "seeds": seeds,
            "fit": asdict(fit),
            "power_law": asdict(law),
            "better": rivals.better,
            "weight": rivals.weight,
        },
        tuple(notes),
    )


def _left_out(never: Sequence[int], sizes: Sequence[float]) -> str:
    """Sizes that the fit does not know, and which way that moves it: they took more steps than could be counted."""
    text = f"never reached, left out of the fit: {', '.join(map(str, never))}"
    if max(never) > max(sizes):
        text += "; larger sizes that saved too few steps are not seen, so Bc may be too high"
    if min(never) < min(sizes):
        text += "; smaller sizes that took too many steps are not seen, so Bc may be too low"
    return text


def _row(one: _Size, fitted: float) -> dict[str, Any]:
    row: dict[str, Any] = {"size": one.spec.size, "steps": None, "rate": None, "fitted": fitted}
    row["tried"] = [list(pair) for pair in one.best.tried]
    steps = one.best.steps
    if one.seeds:
        row |= {"steps": steps, "examples": steps * one.spec.size, "rate": one.best.rate, "seeds": one.seeds}
    if len(one.seeds) > 1:
        row |= {"low": min(steps, *one.seeds), "high": max(steps, *one.seeds), "error": one.there.error}
    return row


def _said(one: _Size) -> str:
    return f"{one.best.steps:.4g} steps at rate {one.best.rate:.3g}" if one.seeds else "never reached"


def _spec(size: int, micro_size: int | None) -> BatchSpec:
    largest = resolve_micro(size, None)
    return BatchSpec(
        size, rung_for(size, largest if micro_size is None else min(require_count("micro_size", micro_size), largest))
    )


def _most(text: str | Until, size: int, rows: int) -> int:
    """Updates that a size may spend on a try."""
    until = Until.parse(text)
    examples = until.stop(rows)
    bounds = [*([until.updates] if until.updates else []), *([-(-examples // size)] if examples else [])]
    if not bounds or until.target or until.patience or until.seconds:
        why = "every size may spend as much"
        raise ArgumentError(must("until", "be epochs, examples or steps", text, why, "until='100 epochs'"))
    return min(bounds)


def _target(text: str) -> Target:
    """`text` such as "valid_loss=0.4" or "valid_accuracy >= 0.95"."""
    name, sign, value = _parts(text)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not math.isfinite(number):
        why, remedy = "it names a metric and a value", "'valid_loss=0.4'"
        raise ArgumentError(must("the target", "be METRIC=VALUE", text, why, remedy))
    return Target(name, direction_of(name) == "higher" if sign == "=" else sign == ">=", number)


def _require_sign(text: str) -> None:
    """Refuse `METRIC=VALUE` where the metric's name does not say on which side of it the target lies."""
    name, sign, value = _parts(text)
    if sign == "=" and direction_of(name) is None:
        why = "which way it is better is not known by its name"
        raise ArgumentError(must("the target", "say <= or >= for this metric", text, why, f"'{name}>={value}'"))


def _parts(text: str) -> tuple[str, str, str]:
    for sign in ("<=", ">=", "="):
        name, found, value = text.partition(sign)
        if found:
            return name.strip(), sign, value.strip()
    return "", "", ""


def _require_unmet(assembly: Assembly, goal: Target, target: str, seeds: int) -> None:
    for seed in range(seeds):
        reading = _read(assembly, assembly.engine.step.init(seed), goal.metric)
        if goal.met(reading):
            why = f"a fresh model has {goal.metric} {reading:.4g}, so it takes no step"
            raise ArgumentError(must("the target", "be a target that takes training", target, why, "a harder one"))


def _read(assembly: Assembly, state: Any, metric: str) -> float:
    """`metric` of the validation part: of the average of the weights where its name begins with `valid_ema_`."""
    prefix, engine = f"valid_{EMA}_", assembly.engine
    if not metric.startswith(prefix) or EMA not in assembly.optimizer.hyper:
        return engine.evaluate(state, assembly.valid)[metric]
    return engine.evaluate(engine.averaged(state), assembly.valid, prefix=prefix)[metric]


def _reader(assembly: Assembly, goal: Target) -> Callable[[Any], float]:
    """The metric of a state as a number that falls."""
    known = [f"valid_{name}" for name in assembly.directions]
    if goal.metric not in known:
        why = "it is read off the validation part"
        raise ArgumentError(
            must("the target", "name a validation metric", goal.metric, why, nearest(goal.metric, known))
        )
    if assembly.valid is None:
        why, remedy = "the target is read off it", "valid=0.2 for the data"
        raise ArgumentError(must("data", "have a validation part", assembly.task.data.name, why, remedy))
    if assembly.optimizer.lr is None:
        why = "its own rate is inside it, so there is none to tune"
        raise ArgumentError(must("optimizer", "be one whose rate can be set", "custom", why, "optimizer='adam'"))
    sign = -1.0 if goal.at_least else 1.0
    return lambda state: sign * _read(assembly, state, goal.metric)
