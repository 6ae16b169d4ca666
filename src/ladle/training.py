"""`fit`: one training run, from a task and a size or plan to a `Run`. Consumes the loop of `ladle.loop.train`."""

from __future__ import annotations

import html
import math
import os
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ladle import record
from ladle.assembly import Assembly, assemble
from ladle.carry import Carry
from ladle.consumption import Consumption
from ladle.decision import Progress
from ladle.duration import Until
from ladle.energy.meter import best_meter
from ladle.engine.devices import memory_bytes, on_host
from ladle.engine.free import device_free_bytes
from ladle.engine.rebase import require_rebasable
from ladle.engine.save import OrbaxSaver
from ladle.errors import ArgumentError, CheckpointError, must
from ladle.loop.checkpoint import Checkpoints
from ladle.loop.interrupt import interrupts
from ladle.loop.train import train
from ladle.moments import Gauge
from ladle.monitor.console import Console, console
from ladle.monitor.jsonl import MetricsFile
from ladle.plan import Plan
from ladle.policy.ahead import rate_size_of, within
from ladle.protocols import Meter, Policy
from ladle.scheduling import base_at, chosen, require_runnable, warnings_of
from ladle.spec import require_count
from ladle.task import Task

UPDATES_PER_WINDOW = 500
"""A window of the record holds about so many updates at most: what ctrl-C and a progress bar wait for."""

LONG = 1_000_000
"""Where a pass is longer than so many examples, evaluations do not wait for its end."""

EXPLODED = 10.0
"""A loss this many times the untrained model's ends the run as diverged."""


@dataclass(frozen=True)
class Run:
    """A finished (or stopped) training run.

    - `status`: "finished", "stopped" (a target or patience), "interrupted" or "diverged"; `why` in words.
    - `final`: the last record line and the last evaluation as one mapping.
    - `metrics`: every record line, oldest first. `params`: the trained parameters.
    - `folder`: the run folder, or None for a run in memory. `checkpoint`: the newest in it.
    - `used`: time, processor time and, where a counter was found, energy of this sitting, compilation included.
    - `refused`: checkpoints passed over on resume, as (name, reason).
    """

    status: str
    why: str
    final: Mapping[str, Any]
    metrics: list[dict[str, Any]]
    state: Any = field(repr=False)
    assembly: Assembly = field(repr=False)
    folder: Path | None = None
    checkpoint: Path | None = None
    used: Consumption | None = None
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def params(self) -> Any:
        return self.state.params

    def predict(self, x: Any) -> np.ndarray:
        """The model's outputs for rows `x`, in the units of the data: `f32[examples, outputs]`."""
        if self.assembly.objective.predict is None:
            raise ArgumentError(
                must("task", "have a predict function", None, "outputs are asked for", "Task.functions(predict=...)")
            )
        data = self.assembly.task.data
        outputs = self.assembly.evaluator.predict(self.state, x)
        scale = getattr(data, "target_sd", 1.0), getattr(data, "target_mean", 0.0)
        return outputs * scale[0] + scale[1] if data.kind == "regression" else outputs

    def evaluate(self, rows: Any) -> dict[str, float]:
        """Mean loss and metrics of the trained model on `rows`, each counted once: `{"loss": ..., "accuracy": ...}`.

        - `rows`: such as `data.test`, in the form of the task's own data (targets of a regression standardised).
        """
        return self.assembly.evaluator(self.state, rows, prefix="")

    def _repr_html_(self) -> str:
        cells = {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in self.final.items()}
        rows = "".join(f"<tr><td>{html.escape(a)}</td><td>{html.escape(b)}</td></tr>" for a, b in cells.items())
        return f"<p>{html.escape(self.status)}: {html.escape(self.why)}</p><table>{rows}</table>"


def fit(
    task: Task | Assembly,
    plan: Plan | None = None,
    *,
    size: int | str | None = None,
    micro_size: int | None = None,
    until: str | Until = "30 epochs",
    policy: Policy | str | None = None,
    gauge: Gauge | None = None,
    rebase: bool = False,
    lr: float | None = None,
    hyper: Mapping[str, float] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoints: bool = True,
    checkpoint_every_seconds: float | None = 30.0,
    window: int | None = None,
    evaluate_every: int | None = None,
    show: Console | bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Run:
    """Train `task` at a planned or given batch size.

    **Arguments**

    - `plan`: from `ladle.plan`; or `size`: examples per update, a number or "full". `micro_size`: examples per forward
      pass, chosen where left out. `policy`: anything of `ladle.policy` instead of one constant size, or its text as
      `ladle train --schedule` takes it; the rate of a text follows its size by the optimiser's rule.
    - `gauge`: how the gradient noise scale is measured along the run. Where left out: as the policy needs it, or, free
      of charge, in updates of two or more micro-batches.
    - `until`: "30 epochs", "2e6 examples", "5000 steps", "10 min", "valid_accuracy >= 0.97", "patience 5", joined by
      commas; the first that is met ends the run.
    - `rebase`: where the size changes, move Adam's second moment with it at once. Experimental.
    - `lr`: a rate over the task's own and the plan's. `hyper`: optimiser constants over the task's.
    - `out`: the run folder to make; None keeps everything in memory. `resume`: go on from the newest good checkpoint
      in `out`.
    - `checkpoints`: write them into `out`; `checkpoint_every_seconds`: None for the first and the last alone.
    - `window`: examples between two record lines; an epoch, or about 500 updates, where left out.
    - `evaluate_every`: examples between two evaluations; where left out, at every epoch's end and every million.
    - `show`: True for progress on the terminal.
    - `facts`: more for `run.json`.

    Raises `ArgumentError` before any work for what cannot be right.

    >>> import ladle
    >>> data = ladle.data.load("digits")
    >>> task = ladle.Task(ladle.models.mlp(64, 32, 10), ladle.losses.cross_entropy, data)
    >>> run = ladle.fit(task, size=64, until="2 epochs")
    >>> run.status, run.final["updates"]
    ('finished', 46)
    """
    until = Until.parse(until)
    assembly = task if isinstance(task, Assembly) else assemble(task)
    folder = Path(out) if out is not None else None
    if resume and folder is None:
        raise ArgumentError(must("out", "be given", None, "a run is resumed from its folder", "out='runs/a'"))
    before = record.read_json(folder / record.RUN_FILE) if folder is not None and resume else None
    lr = plan.lr if lr is None and plan is not None else lr
    base = partial(base_at, assembly, before if isinstance(policy, str) else None, lr=lr)
    asked = chosen(policy, assembly, plan, size=size, micro_size=micro_size, base=base)
    policy = within(asked, assembly.rows)
    assembly = assembly.gauged(_enough(gauge, getattr(policy, "needs", ())))
    _, first = policy.decide(policy.init(plan), Progress())
    first_size = first.spec.size
    rate, _ = base(rate_size_of(policy, first_size))
    constants = {**(plan.hyper if plan is not None else {}), **(hyper or {}), **first.hyper}
    if rate is not None:
        constants["lr"] = rate
    require_runnable(policy, first, assembly, rate)
    ends = (f"Sizes end at the {assembly.rows:,} examples of a pass.",) if policy != asked else ()
    warnings = (*ends, *warnings_of(policy, first_size, assembly))
    if rebase:
        require_rebasable(assembly.objective, assembly.optimizer)
    window = window or _window(first_size, min(assembly.rows, LONG))
    every = (assembly.rows, LONG) if evaluate_every is None else (require_count("evaluate_every", evaluate_every),)
    if before is not None:
        _require_same(before, assembly, seed)
    elif folder is not None:
        record.make_folder(folder)
    with ExitStack() as stack:
        how = (seed, window, every, folder, constants, first_size, stack, checkpoints, rebase)
        session = _Session(assembly, policy, until, *how, warnings=warnings)
        if folder is not None:
            session.describe("running", plan=plan, facts=facts)
        try:
            return session.run(plan, resume, checkpoint_every_seconds, show, facts)
        except Exception as error:
            if folder is not None:
                session.describe("failed", plan=plan, facts=facts, ending={"why": str(error) or type(error).__name__})
            raise


@dataclass
class _Session:
    """One sitting of a run: what `fit` needs between its first and its last line."""

    assembly: Assembly
    policy: Policy
    until: Until
    seed: int
    window: int
    evaluate_every: tuple[int, ...]
    folder: Path | None
    constants: dict[str, float]
    size: int
    stack: ExitStack
    keep: bool = True
    rebase: bool = False
    warnings: tuple[str, ...] = ()
    lines: list[dict[str, Any]] = field(default_factory=list)
    file: MetricsFile | None = None
    checkpoints: Checkpoints | None = None
    first_loss: float | None = None
    last_good: int | None = None
    refused: tuple[tuple[str, str], ...] = ()
    memory_limit: int | None = None
    meter: Meter = field(default_factory=lambda: best_meter(accelerator=not on_host()))

    def run(
        self,
        plan: Plan | None,
        resume: bool,
        every_seconds: float | None,
        show: Console | bool,
        facts: Mapping[str, Any] | None,
    ) -> Run:
        total = self.until.stop(self.assembly.rows)
        monitor = show if not isinstance(show, bool) else console(total, quiet=not show)
        self.meter.start()
        self.stack.callback(monitor.close)
        if self.folder is not None and self.keep:
            self.checkpoints = self.stack.enter_context(Checkpoints(self.folder / record.CHECKPOINTS, OrbaxSaver()))
        # Killed before the first checkpoint was whole, a run begins again: the same seed gives the same run.
        resume = resume and self.checkpoints is not None and self.checkpoints.begun()
        carry = self._resumed() if resume else self._fresh(plan)
        if self.folder is not None:
            self.file = self.stack.enter_context(MetricsFile(self.folder / record.METRICS_FILE))
            kept = self.file.truncate_after(carry.progress.examples if resume else -1)
            if resume and kept < carry.progress.examples:
                reason = (
                    f"{record.METRICS_FILE} ends at {kept:,} examples, the checkpoint is of {carry.progress.examples:,}"
                )
                raise CheckpointError(
                    must("resume", "find the whole record", str(self.folder), reason, "an earlier copy of the folder")
                )
        if resume:
            assert self.folder is not None
            self.lines = record.read_lines(self.folder / record.METRICS_FILE)
            self.first_loss = _first_loss(self.lines)
        else:
            carry = self._record(
                carry, {"examples": 0, "updates": 0, "epoch": 0.0, "seconds": 0.0}, monitor, evaluate=True
            )
            self._save(carry)
        for line in (*_described(self.assembly.feed(self.seed), self.size), *self.warnings):
            monitor.message(line)
        with interrupts() as signal:
            carry, status, why = self._go(carry, monitor, signal, every_seconds)
        return self._finish(carry, status, why, plan, facts, monitor)

    def _go(self, carry: Carry, monitor: Console, signal: Any, every_seconds: float | None) -> tuple[Carry, str, str]:
        """Windows and evaluations until something ends the run: `(carry, status, why)`."""
        saved, feed = time.monotonic(), self.assembly.feed(self.seed)
        self.stack.callback(getattr(feed, "close", lambda: None))
        while True:
            if why := self.until.ended(carry.progress, self._history()):
                return carry, _ending(why), why
            begun = carry.progress.examples
            stop = min((begun // length + 1) * length for length in self.evaluate_every)
            how = {"stop": stop, "window": self.window, "rebase": self.rebase}
            windows = train(carry, feed, self.assembly.step, self.policy, self.until, **how)
            for line, carry in windows:
                ended = carry.progress.examples >= stop or self.until.ended(carry.progress) is not None
                bad = self._diverged(line)
                carry = self._record(carry, line, monitor, evaluate=ended and not bad)
                if bad:
                    return carry, "diverged", bad
                if signal.requested:
                    return carry, "interrupted", f"{signal.requested} at {carry.progress.examples:,} examples"
                if every_seconds is not None and time.monotonic() - saved >= every_seconds:
                    self._save(carry)
                    saved = time.monotonic()
            if carry.progress.examples == begun:
                return carry, "finished", f"the stream ended after {begun:,} examples"

    def _record(self, carry: Carry, line: dict[str, Any], monitor: Console, *, evaluate: bool) -> Carry:
        """Write one line, with an evaluation where one is due; the carry then knows it too."""
        if evaluate and self.assembly.valid is not None:
            reading = self.assembly.evaluator(carry.state, self.assembly.valid)
            reading["evaluated"] = line["examples"]  # What tells this evaluation from the next, were they equal.
            carry = carry.read(reading)
            line |= reading
        if self.first_loss is None:
            self.first_loss = line.get("valid_loss", line.get("train_loss"))
        if "lr_factor" in line:
            held = {"lr": self._lr(carry, line["lr_factor"]), **self._memory()}
            line |= held
            carry = carry.read({name: float(value) for name, value in held.items() if value is not None})
        self.lines.append(line)
        if self.file is not None:
            self.file.append(line)
        monitor.show(line)
        return carry

    def _memory(self) -> dict[str, int]:
        """Bytes in use now, and how many may be: what is free now and what is in use already."""
        used = memory_bytes()
        if used is None:
            return {}
        if self.memory_limit is None:
            self.memory_limit = used + device_free_bytes()
        return {"memory_bytes": used, "memory_limit_bytes": self.memory_limit}

    def _lr(self, carry: Carry, factor: float) -> float | None:
        """The learning rate in force after a window; None where the user's own transformation holds it."""
        base = self.constants.get("lr", self.assembly.optimizer.lr)
        return None if base is None else base * factor * self.assembly.step.rate_at(carry.progress.time[0])

    def _diverged(self, line: Mapping[str, Any]) -> str | None:
        loss = line.get("train_loss", 0.0)
        if line.get("refused", 0.0) > 0 or not math.isfinite(loss):
            return f"the loss or gradient was not finite after {line['examples']:,} examples"
        limit = EXPLODED * max(abs(self.first_loss or 0.0), 1e-3)
        if self.first_loss is not None and loss > limit:
            return f"the loss rose to {loss:.4g}, over {EXPLODED:g} times the untrained model's {self.first_loss:.4g}"
        return None

    def _history(self) -> list[float]:
        """All evaluations of the metric that patience watches; none where there is no patience."""
        name = self.until.patience_metric
        if self.until.patience is None:
            return []
        return [line[name] for line in self.lines if line.get(name) is not None and line["examples"] > 0]

    def _fresh(self, plan: Plan | None) -> Carry:
        state = self.assembly.step.init(self.seed, self.constants)
        return Carry(state, self.assembly.feed(self.seed).start(), self.policy.init(plan))

    def _resumed(self) -> Carry:
        assert self.checkpoints is not None
        like = self.assembly.step.abstract_state(self.constants)
        restored = self.checkpoints.restore(like)
        self.refused, self.last_good = restored.refused, restored.position
        # Constants given for this sitting win over those in the checkpoint: another size brings another rate.
        was, now = restored.carry.state.hyper, self.assembly.step.hyper(self.constants)
        carry = replace(restored.carry, memory=_in_terms_of(restored.carry.memory, float(was["lr"]), float(now["lr"])))
        return replace(carry, state=carry.state._replace(hyper=self.assembly.step.place({**was, **now})))

    def _save(self, carry: Carry) -> None:
        if self.checkpoints is not None and carry.progress.examples != self.last_good:
            assert self.file is not None
            self.file.flush()  # The lines up to a checkpoint are on the disk before the checkpoint is.
            self.checkpoints.save(carry)
            self.last_good = carry.progress.examples

    def _finish(
        self, carry: Carry, status: str, why: str, plan: Plan | None, facts: Mapping[str, Any] | None, monitor: Console
    ) -> Run:
        checkpoint = None
        if self.checkpoints is not None:
            if status != "diverged":
                self._save(carry)
            self.checkpoints.wait()
            if steps := self.checkpoints.steps():
                checkpoint = self.checkpoints.folder / f"{steps[-1]:012d}"
        final, used = _final(self.lines), self.meter.stop()
        if self.folder is not None:
            named = checkpoint and checkpoint.name
            ending = {"why": why, "final": final, "checkpoint": named, "energy": used.to_json()}
            self.describe(status, plan=plan, facts=facts, ending=ending)
        if status == "diverged":
            kept = f"; the last good checkpoint is {checkpoint}" if checkpoint else ""
            monitor.message(f"diverged: {why}{kept}; try a smaller --lr")
        where = self.folder, checkpoint, used, self.refused
        return Run(status, why, final, self.lines, carry.state, self.assembly, *where)

    def describe(
        self,
        status: str,
        *,
        plan: Plan | None,
        facts: Mapping[str, Any] | None,
        ending: Mapping[str, Any] | None = None,
    ) -> None:
        """Write `run.json`."""
        assert self.folder is not None
        record.write_json(
            self.folder / record.RUN_FILE,
            {
                "status": status,
                "seed": self.seed,
                "size": self.size,
                "rate_size": rate_size_of(self.policy, self.size),
                "until": self.until,
                "window": self.window,
                "policy": _named(self.policy),
                "rebase": self.rebase,
                "warnings": self.warnings,
                "gauge": None if self.assembly.step.gauge is None else asdict(self.assembly.step.gauge),
                "refused": self.refused,
                "optimizer": {"name": self.assembly.optimizer.name, **self.constants},
                "plan": plan.to_json() if plan is not None else None,
                **self.assembly.facts(),
                **(ending or {}),
                **(facts or {}),
            },
        )


def _in_terms_of(memory: Any, was: float, now: float) -> Any:
    """A policy's memory with the last factor of the rate counted from the base rate of this sitting."""
    if was == now or not isinstance(memory, Mapping) or "lr_factor" not in memory:
        return memory
    return {**memory, "lr_factor": memory["lr_factor"] * was / now}


def _named(policy: Policy) -> dict[str, Any]:
    """A policy as the record tells of it: its kind and all its numbers."""
    values = asdict(policy) if is_dataclass(policy) else {}
    return {"kind": type(policy).__name__, **values}


def _described(feed: Any, size: int) -> list[str]:
    """What a feed of rows that travel will keep in memory, and how well its order shuffles: said before a run."""
    if not hasattr(feed, "feed") or not hasattr(feed, "order"):
        return []
    source, order = getattr(feed.source, "describe", None), getattr(feed.order, "describe", None)
    return [*([source()] if source else []), *([order(size)] if order else [])]


def _enough(gauge: Gauge | None, needs: Collection[str]) -> Gauge | None:
    """What measures all that a policy needs."""
    if "noise" not in needs and "projection" not in needs:
        return gauge
    projects = "projection" in needs
    return Gauge(parts=8 if projects else 4, projection=projects).join(gauge)


def _window(size: int, rows: int) -> int:
    """Examples per record line: an epoch in the fewest equal parts of at most `UPDATES_PER_WINDOW` updates."""
    updates = -(-rows // size)
    parts = -(-updates // UPDATES_PER_WINDOW)
    return -(-updates // parts) * size if parts > 1 else rows


def _require_same(before: Mapping[str, Any], assembly: Assembly, seed: int) -> None:
    """Refuse to go on with another task than the one that `before`, a run.json, tells of. Size and rate may change."""
    now = assembly.facts()
    for name, was, found in (
        ("data", before.get("data", {}).get("digest", "unknown")[:12], now["data"]["digest"][:12]),
        ("order", before.get("order"), now["order"]),
        ("model", before.get("model"), now["model"]),
        ("optimizer", before.get("optimizer", {}).get("name"), assembly.optimizer.name),
        ("seed", before.get("seed"), seed),
    ):
        if was != found:
            why = "another run would follow from the checkpoint, and nothing would say so"
            raise ArgumentError(must(name, "be what the run began with", found, why, repr(was)))


def _first_loss(lines: list[dict[str, Any]]) -> float | None:
    for line in lines:
        if line.get("valid_loss") is not None or line.get("train_loss") is not None:
            return line.get("valid_loss", line.get("train_loss"))
    return None


def _final(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The last line, with the newest evaluation where it has none of its own."""
    newest: dict[str, Any] = {}
    for line in lines:
        newest |= {name: value for name, value in line.items() if name.startswith("valid_")}
    return {**newest, **(lines[-1] if lines else {})}


def _ending(why: str) -> str:
    return "stopped" if why.startswith(("target", "patience")) else "finished"
