"""`ladle rehearse`: policies, given as text, played on the exact noisy quadratic with a line of hardware."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ladle.api.assembly import LARGEST_MICRO, REFERENCE_SIZE
from ladle.core import record
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must
from ladle.core.plan import Plan
from ladle.core.protocols import Policy
from ladle.core.scaling.coupling import Rule
from ladle.core.spec import require_count
from ladle.core.speed import Speed
from ladle.policy.constant import Constant
from ladle.policy.parse import policy_from_text
from ladle.quadratic.dry_run import Rehearsal, rehearse, target_text
from ladle.quadratic.noisy_quadratic import NoisyQuadratic
from ladle.quadratic.readings import Instrument
from ladle.quadratic.referee import Candidate, Ranking, compare
from ladle.report.rehearsal import write_rehearsal

MOST = 1_000_000
"""Updates after which a dry run without another bound ends."""

NOISE_SCALE, FIXED_SECONDS, PER_EXAMPLE_SECONDS = 800.0, 1e-3, 5e-6
"""Assumed where nothing was given and no plan measured it."""

SHOWN = 12
"""Changes of a policy that are printed; the others are in rehearsal.json."""

RESULT_FILE, PICTURE_FILE = "rehearsal.json", "rehearsal.png"


@dataclass(frozen=True)
class Setting:
    """What policies are rehearsed on. Numbers left out come from `plan`, or are assumed.

    - `size`: of "constant", and where a policy begins that needs one. `until`: bounds; the loss is 1 at the start.
    - `noise_scale` at the start, `dimension`, `exponent`: the spectrum. `momentum`: of the optimiser.
    - `rule`: how the rate follows the size. `micro_steps`: 0 for exact measurements, see `Instrument`.
    - `plan`: plan.json, or its folder: hardware line, noise scale if resolved, size.
    """

    size: int | None = None
    until: str = "loss <= 0.05"
    noise_scale: float | None = None
    dimension: int = 1000
    exponent: float = 1.0
    momentum: float = 0.0
    fixed_seconds: float | None = None
    per_example_seconds: float | None = None
    plan: Path | None = None
    rule: Rule = "linear"
    epoch: int = 50_000
    window: int = 4096
    micro_steps: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Scene:
    """A `Setting` made ready: all numbers known, each with where it came from (`facts`)."""

    setting: Setting
    quadratic: NoisyQuadratic
    line: Speed
    until: Until
    size: int
    plan: Plan | None
    facts: tuple[str, ...]

    def how(self) -> dict[str, Any]:
        """The arguments that `rehearse` and `compare` share."""
        one = self.setting
        instrument = Instrument(micro_steps=one.micro_steps, seed=one.seed)
        bounds = {"window": one.window, "epoch_size": one.epoch, "momentum": one.momentum}
        return {"until": self.until, "line": self.line, "instrument": instrument, "plan": self.plan, **bounds}


@dataclass(frozen=True)
class RehearsalResult:
    """Every policy and constant size, and the text's own lines. `failed`: why a policy did not get there; or none."""

    scene: Scene
    made: Ranking
    failed: tuple[str, ...]

    def __str__(self) -> str:
        lines = [*self.scene.facts, "", *str(self.made).splitlines()]
        for row in self.made.policies:
            lines += ["", *_changes(row)]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values; the windows of every policy among them."""
        names = ("name", "size", "lr", "loss", "steps", "examples", "seconds", "switches")
        rows = [
            {**{name: getattr(row, name) for name in names}, **_told(row.run)}
            for row in (*self.made.policies, *self.made.constants)
        ]
        units = ("steps", "examples", "seconds", "loss")
        ratios = {row.name: {unit: self.made.ratio(row.name, unit) for unit in units} for row in self.made.policies}
        setting = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(self.scene.setting).items()}
        return {
            "setting": setting,
            "facts": list(self.scene.facts),
            "by": self.made.by,
            "best_constant": self.made.best.name,
            "against_best": ratios,
            "rows": rows,
        }


def set_up(setting: Setting) -> Scene:
    """The scene of a setting. Raises `ArgumentError` for a plan without a measured line, and for bad numbers."""
    plan = None if setting.plan is None else _plan(setting.plan)
    line, whence = _line(setting, plan)
    scale, scale_whence = _scale(setting, plan)
    size = setting.size or (plan.size if plan else REFERENCE_SIZE)
    for name in ("epoch", "window"):
        require_count(name, getattr(setting, name))
    quadratic = NoisyQuadratic.power_law(setting.dimension, setting.exponent, noise_scale=scale, loss=1.0)
    until, told = _until(setting.until)
    goal = f"{'soonest' if until.target else 'lowest loss'} at: {told}; rates: the best of each where not given"
    facts = (
        f"noisy quadratic: {setting.dimension:,} coordinates, curvature i^-{setting.exponent:g}, loss 1 at the start",
        f"gradient noise scale at the start: {scale:,.4g} examples ({scale_whence})",
        f"an update takes {line.fixed_seconds:.3g} s + {line.per_example_seconds:.3g} s x size ({whence})",
        goal,
    )
    return Scene(setting, quadratic, line, until, size, plan, facts)


def rehearse_texts(texts: Sequence[str], scene: Scene, *, lr: float | None = None) -> RehearsalResult:
    """Policies by their text, beside the constant sizes. `lr`: of the policies; left out, each has its best.

    Raises `ArgumentError` for a text that is no policy, and a target that no constant size reaches.
    """
    one = scene.setting
    how = {"size": scene.size, "micro_size": max(LARGEST_MICRO, scene.size), "epoch_size": one.epoch}

    def made_of(text: str, rate: float) -> Policy:
        return policy_from_text(text, **how, coupling=one.rule, lr=rate)

    policies = {text: partial(made_of, text) for text in texts}
    for policy in policies.values():
        policy(lr or 1.0)  # A text that is none is refused before anything is played.
    made = compare(policies, scene.quadratic, lr=lr, **scene.how())
    return RehearsalResult(scene, made, tuple(filter(None, (_failure(row, scene) for row in made.policies))))


def write(outcome: RehearsalResult, folder: Path) -> None:
    """rehearsal.json and rehearsal.png in a new `folder`."""
    record.make_folder(folder)
    record.write_json(folder / RESULT_FILE, outcome.to_json())
    best = outcome.made.best
    constant = rehearse(Constant(best.size, best.size), outcome.scene.quadratic, lr=best.lr, **outcome.scene.how())
    runs = [(row.name, row.run) for row in outcome.made.policies] + [(f"{best.name} (best constant)", constant)]
    target = outcome.scene.until.target
    curves = [curve(name, run, outcome.scene.line) for name, run in runs if run and run.status != "diverged"]
    write_rehearsal(
        curves, folder / PICTURE_FILE, target.value if target else None, caption="; ".join(outcome.scene.facts[:2])
    )


def curve(name: str, run: Rehearsal, line: Speed) -> dict[str, Any]:
    """A dry run as lists for the picture, the start first."""
    table: dict[str, Any] = {"name": name, "steps": [0], "examples": [0], "seconds": [0.0], "loss": [run.first_loss]}
    for window in run.windows:
        table["steps"].append(table["steps"][-1] + window.steps)
        table["examples"].append(window.start + window.steps * window.size)
        table["seconds"].append(table["seconds"][-1] + window.steps * line.seconds(window.size))
        table["loss"].append(window.loss)
    sizes = [window.size for window in run.windows]
    return table | {"size": [*sizes[:1], *sizes] or [1]}


def _until(text: str) -> tuple[Until, str]:
    """`text`, and how it is told: a target alone is bounded by `MOST` updates."""
    try:
        return Until.parse(text), text
    except ArgumentError:
        return Until.parse(f"{text}, {MOST} steps"), f"{text}, within {MOST:,} updates"


def _plan(path: Path) -> Plan:
    file = path / "plan.json" if path.is_dir() else path
    try:
        facts = record.read_json(file)
        return Plan.from_json({name: facts[name] for name in Plan.__dataclass_fields__ if name in facts})
    except (ArgumentError, TypeError, KeyError, AttributeError):
        why = "`ladle plan` did not write it" if file.exists() else f"{file} is missing"
        remedy = "the folder that `ladle plan` printed"
        raise ArgumentError(must("plan", "be a plan.json or its folder", str(path), why, remedy)) from None


def _line(setting: Setting, plan: Plan | None) -> tuple[Speed, str]:
    """The hardware line, and where it is from."""
    names = ("fixed_seconds", "per_example_seconds")
    given = [getattr(setting, name) for name in names]
    for name, value in zip(names, given, strict=True):
        if value is not None and not 0 <= value < math.inf:
            why = "an update takes some time"
            raise ArgumentError(must(name, "be at least 0", value, why, f"{name}=1e-3"))
    found = [plan.number(name) if plan else None for name in names]
    if plan and None in found and None in given:
        why, remedy = "it measured only one size", "fixed_seconds=1e-3 and per_example_seconds=5e-6"
        raise ArgumentError(must("plan", "hold a measured hardware line", str(setting.plan), why, remedy))
    assumed = (FIXED_SECONDS, PER_EXAMPLE_SECONDS)
    values = [
        value if value is not None else known.value if known else default
        for value, known, default in zip(given, found, assumed, strict=True)
    ]
    if sum(values) <= 0:
        why = "an update takes some time"
        raise ArgumentError(must("the hardware line", "be above 0", tuple(values), why, "fixed_seconds=1e-3"))
    whence = "given" if None not in given else f"measured: {setting.plan}" if plan else "assumed"
    return Speed(values[0], values[1]), whence


def _scale(setting: Setting, plan: Plan | None) -> tuple[float, str]:
    if setting.noise_scale is not None:
        return setting.noise_scale, "given"
    if plan and plan.noise.verdict == "resolved" and plan.noise.value > 0:
        return plan.noise.value, f"measured: {setting.plan}"
    return NOISE_SCALE, "assumed"


def _failure(row: Candidate, scene: Scene) -> str:
    """Why a policy did not get there, in one line; empty where it did."""
    run, target = row.run, scene.until.target
    if run is None or (math.isfinite(row.seconds) and run.status != "diverged"):
        return ""
    if run.status == "diverged":
        return f"{row.name}: {run.why}; try a smaller lr"
    level = target_text(target) if target else ""
    return f"{row.name}: target not reached: {level}; the loss is {run.loss:.4g} after {run.why}; try more steps"


def _changes(row: Candidate) -> list[str]:
    """The changes of a policy with their reasons, the first and the last of them."""
    run = row.run
    windows = run.windows if run else ()
    pairs = [(before, after) for before, after in zip((None, *windows), windows, strict=False)]
    lines = [
        f"  at {now.start:,} examples, loss {before.loss:.4g}: "
        + (now.reason or f"batch size {before.size} -> {now.size}")
        for before, now in pairs
        if before and (before.size != now.size or now.reason)
    ]
    head = f"{row.name}: {row.switches} changes of size" + ("" if lines else ".")
    if len(lines) > SHOWN:
        left = len(lines) - SHOWN
        lines = [*lines[: SHOWN // 2], f"  ... {left} more, in {RESULT_FILE}", *lines[-SHOWN // 2 :]]
    return [head, *lines]


def _told(run: Rehearsal | None) -> Mapping[str, Any]:
    return {} if run is None else {"status": run.status, "why": run.why, "windows": [vars(w) for w in run.windows]}
