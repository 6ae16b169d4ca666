"""A plan in plain words: about fifteen short lines, every number with its source."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ladle.core.plan import Evidence, Plan

BOUNDS = {
    "optimum": "that is where the time to a target is predicted to be smallest",
    "memory": "more does not fit in memory at once",
    "data": "there are no more rows than that",
    "smallest": "a batch cannot be smaller",
    "unresolved noise": "the gradient noise could not be measured well enough, so the size rests on speed alone",
    "unresolved speed": "the times of an update lie on no line (other programs ran, or a large batch is slower for each"
    " example), so the size is the best by those times alone",
    "given": "you asked for it",
}

UNRESOLVED = ("unresolved noise", "unresolved speed")
"""Bounds under which what a plan predicts of other sizes is worth little, and left out."""


RULES = {
    "none": "kept as it is: no rule is known for this optimiser",
    "linear": "grows in proportion to the size, the rule for SGD",
    "square root": "grows with the square root of the size, the rule for Adam and its kin",
    "sde": "grows with the square root of the size, and the decay rates move with it (SDE rule)",
    "half-life": "grows with the square root of the size, and b2 keeps its half-life in examples",
    "legw": "grows with the square root of the size (LEGW), and a longer warmup is yours to write",
    "adamw timescale": "grows with the square root of the size, and weights decay over as many examples as before",
    "completed": "grows with the square root of the size, and decay rates and weight decay move with it (SDE rule)",
    "mccandlish": "is what the measured noise scale makes best for SGD: proportional below it, constant above",
}


GOALS = {"energy": "energy", "cost": "cost in energy and time"}


def explain(plan: Plan) -> str:
    """`plan` in words, one statement a line. Works for any plan, also one whose size was given and nothing measured."""
    measured = (_memory(plan), _speed(plan), _energy(plan), _noise(plan))
    blocks = (_choice(plan), *measured, _rate(plan), [f"Note: {x}" for x in plan.notes])
    return "\n".join(line for block in blocks for line in block)


def _choice(plan: Plan) -> list[str]:
    bound = BOUNDS.get(plan.bound, plan.bound)
    if plan.minimize == "examples" and plan.bound == "optimum":
        bound = "a larger one is predicted to need over 5 % more examples than the fewest possible"
    if plan.minimize == "examples" and plan.bound == "unresolved noise":
        bound = "the gradient noise is not resolved, so this is the largest that is surely frugal"
    if plan.minimize in GOALS:
        bound = bound.replace("the time to", f"the {GOALS[plan.minimize]} to").replace("on speed", "on energy")
    steps = plan.first.micro_steps
    cut = "one pass" if steps == 1 else f"{steps} micro-batches"
    lines = [
        f"Use batches of {plan.size:,} examples, each in {cut} of up to {plan.micro_size:,}.",
        f"Why this size: {bound}.",
    ]
    target = plan.number("target_size")
    if target and plan.bound not in UNRESOLVED:
        lines.append(f"The ideal size, before limits and rounding, is {_size(target)}.")
    return lines + _as_good(plan)


def _as_good(plan: Plan) -> list[str]:
    """Which sizes are as good as the best, and how surely; nothing where the plan does not know."""
    sure = plan.number("within_confidence")
    if plan.bound == "given" or plan.bound == "unresolved speed":
        return []
    if plan.bound == "unresolved noise":
        return ["Which other sizes are as good is not known."]
    (low, high), what = plan.within_5_percent, GOALS.get(plan.minimize, plan.minimize)
    if sure is None:
        return [f"Any size from {low:,} to {high:,} costs at most 5 % more {what} (predicted)."] if low < high else []
    chance = f"with a confidence of {sure.value:.0%} (predicted)"
    if low < high:
        return [f"Any size from {low:,} to {high:,} costs at most 5 % more {what}, {chance}."]
    return [f"This size costs at most 5 % more {what} than the best, {chance}; of no other is as much known."]


def _memory(plan: Plan) -> list[str]:
    limit, used, predicted = (
        plan.number(name) for name in ("memory_limit_bytes", "memory_measured_bytes", "memory_predicted_bytes")
    )
    fixed, each, largest = (
        plan.number(name) for name in ("memory_fixed_bytes", "memory_per_example_bytes", "largest_micro_size")
    )
    lines = []
    if fixed and each:
        line = f"{bytes_text(fixed.value)} + {bytes_text(each.value)} per example in a micro-batch"
        lines.append(f"Memory: {line} ({each.source}).")
    if limit:
        how = "" if limit.method == limit.source else f", {limit.method}"
        lines.append(f"The limit is {bytes_text(limit.value)} ({limit.source}{how}).")
    if largest:
        everything = largest.method.startswith("all rows")
        what = "All rows fit at once: " if everything else "The largest micro-batch that fits: "
        lines.append(f"{what}{largest.value:,.0f} ({largest.source}).")
    if used and predicted:
        lines.append(
            f"The chosen size needs {bytes_text(predicted.value)} (predicted); run in a child process it used "
            f"{bytes_text(used.value)} (measured)."
        )
    elif predicted:
        lines.append(f"The chosen size needs {bytes_text(predicted.value)} (predicted; it was not run).")
    return [*lines, *_whole_run(plan)]


def _whole_run(plan: Plan) -> list[str]:
    """What a run holds beside its updates."""
    names = ("memory_run_bytes", "memory_data_bytes", "memory_evaluation_bytes", "memory_saving_bytes")
    peak, data, judging, saving = (plan.number(name) for name in names)
    rows = plan.number("evaluation_rows")
    if not (peak and data and judging and saving and rows):
        return []
    judged = f", {bytes_text(judging.value)} while {rows.value:,.0f} rows at once are judged" if rows.value else ""
    saved = f", {bytes_text(saving.value)} for checkpoints" if saving.value else ""
    return [
        f"A whole run peaks at {bytes_text(peak.value)}: {bytes_text(data.value)} of data{judged}{saved} (predicted; "
        "of these the update alone was run)."
    ]


def _speed(plan: Plan) -> list[str]:
    fixed, each, knee, speed = (
        plan.number(name) for name in ("fixed_seconds", "per_example_seconds", "knee", "examples_per_second")
    )
    lines = []
    if fixed and each:
        lines.append(
            f"An update takes {seconds_text(fixed.value)} + {seconds_text(each.value)} per example ({each.source})."
        )
    if knee and plan.bound != "unresolved speed":
        lines.append(f"Half of the highest speed is reached at {_size(knee)}.")
    if speed:
        lines.append(f"Speed at the chosen size: {_number(speed.value)} examples a second ({speed.source}).")
    return lines


def _energy(plan: Plan) -> list[str]:
    fixed, each, chosen, carbon, watts = (
        plan.number(name) for name in ("fixed_joules", "per_example_joules", "joules", "kg_co2", "power_watts")
    )
    lines = []
    if fixed and each:
        line = f"{joules_text(fixed.value)} + {joules_text(each.value)} per example ({each.source})"
        lines.append(f"The energy of an update is {line}.")
    if chosen:
        how = "" if plan.minimize == "time" else f", {chosen.method}"
        lines.append(f"An update at the chosen size takes {joules_text(chosen.value)} ({chosen.source}{how}).")
    if watts:
        lines.append(f"A second is priced at {_number(watts.value)} W ({watts.source}).")
    if carbon:
        grams = f"{_number(1e9 * carbon.value)} micrograms of CO2e"
        lines.append(f"That is {grams} an update ({carbon.source}: {carbon.method}).")
    return lines


def _noise(plan: Plan) -> list[str]:
    noise = plan.noise
    if noise.verdict == "resolved":
        return [
            f"Gradient noise scale: {_number(noise.value)} examples, 95 % interval {_number(noise.low)} to "
            f"{_number(noise.high)} (measured): resolved."
        ]
    if plan.bound == "given" and not noise.updates:
        return ["Gradient noise scale: not measured."]
    if noise.verdict == "heavy tails":
        return [
            f"Gradient noise scale: {_number(noise.low)} examples or more (measured), and no upper end: a few updates "
            "hold most of the gradient's variance (heavy tails)."
        ]
    more = noise.examples_needed
    wanted = f" About {_number(more)} more examples of pilot would settle it (predicted)." if more else ""
    if noise.verdict == "lower bound only":
        return [
            f"Gradient noise scale: at least {_number(noise.low)} examples (measured); no upper end, because the mean "
            f"gradient cannot be told from zero.{wanted}"
        ]
    return [f"Gradient noise scale: unresolved; the pilot says nothing reliable.{wanted}"]


def _rate(plan: Plan) -> list[str]:
    if plan.lr is None:
        return []
    if plan.reference_lr is None:
        return [f"Learning rate: {plan.lr:g} (given)."]
    lr, origin = plan.number("lr"), f"from {plan.reference_lr:g} at size {plan.reference_size:,} (given)"
    lines = [
        f"Learning rate: {plan.lr:g} (predicted), {origin}.",
        f"Why this rate: it {'is ' if plan.lr_rule == 'none' else ''}{RULES[plan.lr_rule]}.",
    ]
    if lr and lr.source == "measured":
        lines = [f"Learning rate: {plan.lr:g} (measured, {lr.method}){_slower(lr)}."]
    if plan.hyper:
        changed = ", ".join(f"{name} = {value:.6g}" for name, value in plan.hyper.items())
        lines.append(f"Optimiser constants by the same rule: {changed} (predicted).")
    return lines


def _slower(lr: Evidence) -> str:
    """Between which rates the best one lies: both were shown to be slower."""
    return "" if lr.low is None or lr.high is None else f"; {lr.low:.3g} and {lr.high:.3g} were shown to be slower"


def _size(number: Evidence) -> str:
    """Value, interval where both ends are known, and source.

    A target size is predicted, a knee measured.
    """
    text = f"{_number(number.value)} examples"
    if number.low is not None and number.high is not None:
        text += f", 95 % interval {_number(number.low)} to {_number(number.high)}"
    return f"{text} ({number.source})"


def _number(value: float | None) -> str:
    """Three significant digits, thousands separated.

    >>> _number(12345.6), _number(0.1234), _number(float("inf"))
    ('12,300', '0.123', 'infinity')
    """
    if value is None or math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "infinity"
    short = float(f"{value:.3g}")
    return f"{short:,.0f}" if abs(short) >= 100 else f"{short:g}"


def bytes_text(value: float) -> str:
    """Bytes in the largest unit that leaves a number of at least one.

    >>> bytes_text(1_500_000), bytes_text(12.0)
    ('1.5 MB', '12 bytes')
    """
    value = float(f"{value:.3g}")
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} bytes"


def joules_text(value: float) -> str:
    """Joules in a readable unit.

    >>> joules_text(12.3), joules_text(2e-5), joules_text(4200)
    ('12.3 J', '20 uJ', '4.2 kJ')
    """
    value = float(f"{value:.3g}")
    for unit, size in (("kJ", 1e3), ("J", 1.0), ("mJ", 1e-3), ("uJ", 1e-6)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:g} J"


def seconds_text(value: float) -> str:
    """Seconds in a readable unit.

    >>> seconds_text(0.0123), seconds_text(2e-6)
    ('12.3 ms', '2 us')
    """
    value = float(f"{value:.3g}")
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:g} s"
