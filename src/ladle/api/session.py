"""`Sitting`: one sitting of a run, from its first line or a checkpoint to its last. Consumes `ladle.loop.train`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly
from ladle.api.run import Run
from ladle.core import record
from ladle.core.carry import Carry
from ladle.core.duration import Until
from ladle.core.errors import CheckpointError, must
from ladle.core.plan import Plan
from ladle.core.protocols import Meter, Policy
from ladle.energy.meter import best_meter
from ladle.jax.devices import memory_bytes, on_host
from ladle.jax.memory import device_free_bytes
from ladle.jax.save import OrbaxSaver
from ladle.loop.checkpoint import Checkpoints
from ladle.loop.interrupt import interrupts
from ladle.loop.train import train
from ladle.monitor.console import Console, console
from ladle.monitor.jsonl import MetricsFile
from ladle.policy.ahead import rate_size_of

EXPLODED = 10.0
"""A loss this many times the untrained model's ends the run as diverged."""


@dataclass
class Sitting:
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
