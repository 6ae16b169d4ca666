"""`federate`: rounds of training by clients that keep their rows, simulated together in one compiled program."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly, assemble
from ladle.api.federated_terms import Terms, terms_of
from ladle.api.federation import Federation
from ladle.api.folder import RunFolder
from ladle.api.run_model import describe_model
from ladle.api.setup import require_same_task
from ladle.api.task import Task
from ladle.core import record
from ladle.core.carry import Carry
from ladle.core.cursor import Cursor
from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError, CheckpointError, DivergedWarning, must
from ladle.core.protocols import Sink
from ladle.core.spec import require_count
from ladle.core.world import ALONE, require_alone
from ladle.federated import Absence, Method, Privacy
from ladle.loop.checkpoint import Checkpoints
from ladle.loop.interrupt import interrupts
from ladle.monitor.console import console
from ladle.monitor.jsonl import MetricsFile


def federate(
    task: Task | Assembly,
    clients: Any,
    *,
    rounds: int = 100,
    asked: int | float | None = None,
    size: int | str = 32,
    epochs: int = 1,
    method: str | Method = "fedavg",
    absence: Absence | None = None,
    available: Callable[[int], Sequence[int]] | None = None,
    privacy: Privacy | None = None,
    seed: int = 0,
    evaluate_every: int = 1,
    width: int | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show: Sink | bool = False,
) -> Federation:
    """Train `task` by clients that keep their rows: all of a round's as one compiled program.

    A round: the server's weights go to `asked` clients; each trains `epochs` passes over its own rows in batches of
    `size` with the task's optimiser, begun anew; the server moves by the mean of what changed, by rows trained on,
    which are counted here and told by nobody.

    - `clients`: a number of them, for an even split; a name for each training row; or each client's row numbers, such
      as `ladle.federated.by_class(data.train["y"], 20)` deals them. See `ladle.federated.members`.
    - `asked`: clients of a round, a number or a share such as 0.1; all where left out. `size`: a number, or "full".
    - `method`: "fedavg", "fedprox", "fedadam" or "scaffold", or a value of `ladle.federated`.
    - `absence`: clients that stop early, or whose answer never comes. A round without any answer changes nothing.
    - `available`: which clients can be asked in a round, `round -> numbers`, rounds from 0.
    - `privacy`: updates clipped and noise added, with the epsilon so far in each evaluated line. Clients then come each
      by itself with the chance of `asked`, weigh the same, and nothing else about a round is kept.
    - `seed`: of the first weights, as in `fit`, and of everything drawn: functions of (seed, round, client).
    - `evaluate_every`: rounds between two evaluations on the validation part. `width`: clients side by side, 16 where
      left out; more need more memory.
    - `out`: the folder of the record, one line a round, with checkpoints at evaluations; `resume`: go on there,
      to the same numbers as without the stop; `overwrite`: remove the run there first.

    Raises `ArgumentError` for what cannot be right, before any work; `RunError` in a round that no client is available
    for.

    >>> import ladle
    >>> data = ladle.data.load("digits")
    >>> task = ladle.Task(ladle.models.linear(64, 10), ladle.losses.cross_entropy, data, optimizer="sgd", lr=0.1)
    >>> run = ladle.federate(task, 20, rounds=50, asked=5)  # doctest: +SKIP
    >>> run.noise(), run.worth(5)  # doctest: +SKIP
    """
    require_alone("federate")
    count, every = require_count("rounds", rounds), require_count("evaluate_every", evaluate_every)
    assembly = task if isinstance(task, Assembly) else assemble(task)
    how: dict[str, Any] = {"asked": asked, "size": size, "epochs": epochs, "method": method, "absence": absence}
    how |= {"available": available, "privacy": privacy, "width": width, "seed": seed}
    terms = terms_of(assembly, clients, **how)
    if privacy is not None:
        privacy.epsilon(1, terms.rate)  # A missing accountant is told before the work.
    place = RunFolder(None if out is None else Path(out), resume=resume, overwrite=overwrite)
    before = place.before()
    if before is not None:
        _require_same(before, terms)
        require_same_task(before, assembly, seed)
    screen = console(None, quiet=not show) if isinstance(show, bool) else show
    with ExitStack() as stack:
        file, checkpoints, _ = place.open(stack, assembly.backend.saver)
        sitting = _Sitting(assembly, terms, seed, count, every, place, file, checkpoints, screen)
        return sitting.run()


@dataclass
class _Sitting:
    """One sitting of a federation, from its first round or a checkpoint to its last."""

    assembly: Assembly
    terms: Terms
    seed: int
    rounds: int
    every: int
    place: RunFolder
    file: MetricsFile | None
    checkpoints: Checkpoints | None
    screen: Sink
    lines: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> Federation:
        terms, backend = self.terms, self.assembly.backend
        made: Any = backend
        rule, private = terms.method, terms.privacy is not None
        how = {"server": rule.server, "controls": rule.controls, "private": private}
        self.program = made.rounds(
            self.assembly.objective, self.assembly.optimizer, size=terms.size, width=terms.width, **how
        )
        constants = {} if terms.lr is None else {"lr": terms.lr}
        self.state: Any = self.assembly.engine.step.init(self.seed, constants)
        self.hyper = {name: float(value) for name, value in self.state.hyper.items()}
        carry = self._restored()
        self._describe("running")
        try:
            carry, status, why = self._gone(carry or self._begun())
        except Exception as error:
            self._describe("failed", why=ALONE.why(error))
            raise
        if status == "diverged":
            warnings.warn(f"diverged: {why}", DivergedWarning, stacklevel=3)
        else:
            self._save(carry)
        return self._finished(carry, status, why)

    def _gone(self, carry: Carry) -> tuple[Carry, str, str]:
        """The carry after the last round, how the run ended, and why."""
        if self.place.path is not None:
            describe_model(self.assembly, self.place.path, {"seed": self.seed})
        with interrupts() as signal:
            for after, bad in self._rounds(carry):
                carry, number = after, after.progress.updates
                if bad:
                    return carry, "diverged", bad
                if signal.requested and number < self.rounds:
                    return carry, "interrupted", f"{signal.requested} after round {number}"
        return carry, "finished", f"{self.rounds} rounds"

    def _rounds(self, carry: Carry) -> Iterator[tuple[Carry, str]]:
        """The carry after each round, recorded; and what is wrong with it, or ""."""
        terms, data = self.terms, self.assembly.placed
        assert data is not None
        members = terms.members
        table = self.program.table(data[0], members.table(terms.size), members.counts, members.share)
        serving = terms.serving()
        while carry.progress.updates < self.rounds:
            began, number = time.perf_counter(), carry.progress.updates
            here = terms.attendance.at(number)
            steps = terms.steps(here.clients)
            cohort = self.program.cohort(number, *here, known=len(members), steps=steps)
            rate = self.hyper["lr"] * self.assembly.engine.rate_at(carry.progress.examples)
            told = {"hyper": {**self.hyper, "lr": rate}, "mu": terms.method.mu, "epochs": terms.epochs}
            server, measured = self.program(carry.state, table, cohort, told, serving)
            carry, line = self._counted(carry, server, len(here.clients), measured, time.perf_counter() - began)
            bad = _diverged(measured, number + 1)
            if not bad and ((number + 1) % self.every == 0 or number + 1 == self.rounds):
                carry = self._evaluated(carry, line)
            self._record(line)
            if not bad and self.checkpoints is not None and "evaluated" in line:
                self._save(carry)
            yield carry, bad

    def _counted(
        self, carry: Carry, server: Any, asked: int, measured: Mapping[str, float], seconds: float
    ) -> tuple[Carry, dict[str, Any]]:
        """The carry after a round, and its record line."""
        before, rows = carry.progress, self.assembly.rows
        measured = dict(measured)
        if self.terms.privacy is None:
            drawn = int(measured.pop("examples"))
            told: dict[str, Any] = {"asked": asked, "clients": int(measured.pop("clients")), **measured}
        else:  # What is expected, which tells nothing of who came.
            drawn = max(round(self.terms.rate * self.terms.epochs * int(self.terms.members.counts.sum())), 1)
            told = {}
        examples, number = before.examples + drawn, before.updates + 1
        line = {
            "round": number,
            "examples": examples,
            "updates": number,
            "epoch": examples / rows,
            "seconds": before.seconds + seconds,
            **told,
        }
        progress = Progress(examples, number, examples / rows, before.seconds + seconds)
        return Carry(server, Cursor(number), None, progress), line

    def _evaluated(self, carry: Carry, line: dict[str, Any]) -> Carry:
        if self.terms.privacy is not None:
            line["epsilon"] = self.terms.privacy.epsilon(carry.progress.updates, self.terms.rate)
        if self.assembly.valid is not None:
            line |= self.assembly.engine.evaluate(self._model(carry), self.assembly.valid)
        line["evaluated"] = carry.progress.examples
        return carry

    def _model(self, carry: Carry) -> Any:
        """The engine's state with the server's weights."""
        return self.state._replace(params=carry.state.params, model_state=carry.state.model_state)

    def _begun(self) -> Carry:
        if self.file is not None:
            self.file.truncate_after(-1)
        carry = Carry(self._fresh())
        line: dict[str, Any] = {"round": 0, "examples": 0, "updates": 0, "epoch": 0.0, "seconds": 0.0}
        carry = self._evaluated(carry, line)
        self._record(line)
        return carry

    def _fresh(self) -> Any:
        return self.program.begin(self.state, len(self.terms.members), getattr(self.terms.method, "tau", 0.0))

    def _restored(self) -> Carry | None:
        """The newest checkpoint, with the record cut there; None where the run begins."""
        if not self.place.resume or self.checkpoints is None or self.file is None or not self.checkpoints.begun():
            return None
        found = self.checkpoints.restore(self._fresh())
        if self.file.keep(found.position + 1) < found.position + 1:  # A line for each round, and one before the first.
            why, remedy = "lines before the checkpoint are missing", "an earlier copy of the folder"
            raise CheckpointError(must("resume", "find the whole record", str(self.place.path), why, remedy))
        self.lines = record.read_lines(self.file.path)
        return found.carry

    def _record(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        if self.file is not None:
            self.file.append(line)
        self.screen.append(line)

    def _save(self, carry: Carry) -> None:
        if self.checkpoints is None or carry.progress.updates in self.checkpoints.steps():
            return
        if self.file is not None:
            self.file.flush()
        self.checkpoints.save(carry)

    def _describe(self, status: str, **more: Any) -> None:
        facts = self.assembly.facts()
        optimizer = {"name": self.assembly.optimizer.name, **self.hyper}
        self.place.describe(
            {
                "status": status,
                "seed": self.seed,
                "size": self.terms.size,
                "until": f"{self.rounds} rounds",
                "federation": self.terms.facts,
                "optimizer": optimizer,
                **facts,
                **more,
            }
        )

    def _finished(self, carry: Carry, status: str, why: str) -> Federation:
        final: dict[str, Any] = {}
        for line in self.lines if status != "diverged" else self.lines[-1:]:
            final |= line
        state, test = self._model(carry), getattr(self.assembly.task.data, "test", None)
        if test is not None and status == "finished":
            final |= self.assembly.engine.evaluate(state, dict(test), prefix="test_")
        newest = None
        if self.checkpoints is not None:
            self.checkpoints.wait()
            steps = self.checkpoints.steps()
            newest = self.checkpoints.folder / f"{steps[-1]:012d}" if steps else None
        self._describe(status, why=why, final=final, checkpoint=newest and newest.name)
        how: dict[str, Any] = {"folder": self.place.path, "checkpoint": newest}
        rest: dict[str, Any] = {"members": self.terms.members, "method": self.terms.method}
        privacy = self.terms.privacy
        return Federation(status, why, final, self.lines, state, self.assembly, **how, **rest, privacy=privacy)


def _diverged(measured: Mapping[str, float], number: int) -> str:
    """What is wrong with a round, or ""."""
    if measured.get("finite", 1.0) != 1.0:
        return f"an update is no number in round {number}"
    for name in ("train_loss", "update_norm"):
        if not math.isfinite(measured.get(name, 0.0)):
            return f"{name} is {measured[name]} in round {number}"
    return ""


def _require_same(before: Mapping[str, Any], terms: Terms) -> None:
    """A run goes on as it began: rounds of other clients or another method would be another run."""
    was, now = before.get("federation"), record.plain(terms.facts)
    if was is None:
        why, remedy = "the run there is none of clients", "another folder"
        raise ArgumentError(must("resume", "go on with a federation", "a run of fit", why, remedy))
    for name, here in now.items():
        if (there := was.get(name)) != here:
            why, remedy = f"the run began with {there}", f"{name}={there!r}, or another folder"
            raise ArgumentError(must(name, "stay as it was on resume", here, why, remedy))
