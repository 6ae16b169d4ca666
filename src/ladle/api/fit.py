"""`fit`: one training run, from a task and a size, plan or policy to a `Run`."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ladle.api.assembly import Assembly, assemble
from ladle.api.backend import backend_of
from ladle.api.courier import Courier, couriers
from ladle.api.description import describe
from ladle.api.divergence import remedy
from ladle.api.folder import RunFolder
from ladle.api.run import Run
from ladle.api.run_answers import forget_answers, keep_answers
from ladle.api.run_model import describe_model
from ladle.api.session import Session, ending
from ladle.api.setup import Restore, RunSetup, Terms, set_up
from ladle.api.task import Task
from ladle.core.backend import Backend
from ladle.core.carry import Carry
from ladle.core.constants import EMA
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, DivergedWarning, must
from ladle.core.moments import Gauge
from ladle.core.plan import Plan
from ladle.core.protocols import Meter, Policy, Sink, Tracker
from ladle.energy.counters import CounterMeter
from ladle.energy.meter import best_meter
from ladle.loop.interrupt import Interrupts, interrupts
from ladle.loop.train import train
from ladle.monitor.console import console


def fit(
    task: Task | Assembly,
    plan: Plan | int | str | None = None,
    *,
    size: int | str | None = None,
    micro_size: int | None = None,
    until: str | Until = "30 epochs",
    policy: Policy | str | None = None,
    memory: int | str | None = None,
    gauge: Gauge | None = None,
    rebase: bool = False,
    lr: float | Literal["sweep"] | None = None,
    hyper: Mapping[str, float] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    checkpoints: bool = True,
    checkpoint_every_seconds: float | None = 30.0,
    window: int | None = None,
    evaluate_every: int | None = None,
    restore: Restore | None = None,
    show: Sink | bool = False,
    sinks: Sequence[Sink | Tracker] = (),
    facts: Mapping[str, Any] | None = None,
) -> Run:
    """Train `task` at a planned or given batch size.

    **Arguments**

    - `plan`: from `ladle.plan`; or `size`: examples per update, a number, "full", or "auto" for a plan made here, which
      is what happens where nothing is said. `micro_size`: examples per forward pass, chosen where left out. `policy`:
      anything of `ladle.policy` instead of one constant size, or its text as `ladle train --schedule` takes it; the
      rate of a text follows its size by the optimiser's rule.
    - `memory`: a limit for the whole run, in bytes or as "2GB": data, updates, evaluations and checkpoints. Where left
      out, the limit of the plan, if it was given one.
    - `gauge`: how the gradient noise scale is measured along the run. Where left out: as the policy needs it, or in
      updates of two or more micro-batches, where it costs 1 to 4 %.
    - `until`: "30 epochs", "2e6 examples", "5000 steps", "10 min", "valid_accuracy >= 0.97", "patience 5", joined by
      commas; the first that is met ends the run.
    - `rebase`: where the size changes, move Adam's second moment with it at once. Experimental.
    - `lr`: a rate over the task's own and the plan's, or "sweep": rates around it race at the first size for a few
      seconds, and the run has the fastest. `hyper`: optimiser constants over the task's.
    - `out`: the run folder to make; None keeps everything in memory. `resume`: go on from the newest good checkpoint
      in `out`, at the size that was where none is given. `overwrite`: remove the run that is in `out` first.
    - `checkpoints`: write them into `out`; `checkpoint_every_seconds`: None for the first and the last alone.
    - `window`: examples between two record lines; an epoch, or about 500 updates, where left out.
    - `evaluate_every`: examples between two evaluations; where left out, at every epoch's end and every million.
    - `restore`: whose parameters the run ends with: "best", those of the best evaluation, or "last". Where left out,
      the best where patience or a validation target ends the run.
    - `show`: True for progress on the terminal. `sinks`: who else takes the record lines: trackers of `ladle.track`, or
      anything with `append(line)`, `message(text)` and `close()`. A tracker that fails is said once and ends nothing.
    - `facts`: more for `run.json`.

    Raises `ArgumentError` before any work for what cannot be right. Warns with `DivergedWarning` where the run ended
    because its loss exploded.

    >>> import ladle
    >>> data = ladle.data.load("digits")
    >>> task = ladle.Task(ladle.models.mlp(64, 32, 10), ladle.losses.cross_entropy, data)
    >>> run = ladle.fit(task, size=64, until="2 epochs")
    >>> run.status, run.final["updates"]
    ('finished', 46)
    """
    plan, size = _plan_or_size(plan, size)
    terms = Terms(
        until=Until.parse(until),
        plan=plan,
        size=size,
        micro_size=micro_size,
        policy=policy,
        memory=memory,
        gauge=gauge,
        rebase=rebase,
        lr=lr,
        hyper=dict(hyper or {}),
        seed=seed,
        window=window,
        evaluate_every=evaluate_every,
        restore=restore,
    )
    place = RunFolder(Path(out) if out is not None else None, resume=resume, overwrite=overwrite, keep=checkpoints)
    with _backend(task).world() as world:
        place, before = place.kept_by(world)
        setup = set_up(task if isinstance(task, Assembly) else assemble(task), terms, before, world)
        with closing(_screen(show if world.rank == 0 else False, setup)) as screen:
            heard = (screen, *couriers(sinks, screen)) if world.rank == 0 else ()
            run = sit(setup, place, sinks=heard, every_seconds=checkpoint_every_seconds, facts=facts or {})
    if run.status == "diverged":
        warnings.warn(f"the run diverged: {run.why}; try {remedy(run.why)}", DivergedWarning, stacklevel=2)
    return run


def _backend(task: Task | Assembly) -> Backend:
    """Who computes, before data are placed."""
    if isinstance(task, Assembly):
        return task.backend
    return backend_of(task) if isinstance(task, Task) else assemble(task).backend  # Which refuses it.


def _plan_or_size(plan: Plan | int | str | None, size: int | str | None) -> tuple[Plan | None, int | str | None]:
    """The second argument is a plan, or a size that was given in its place."""
    if plan is None or isinstance(plan, Plan):
        return plan, size
    if size is not None:
        why = "both are sizes"
        raise ArgumentError(must("plan", "be a ladle.Plan beside a size", plan, why, f"fit(task, size={size!r})"))
    if isinstance(plan, bool) or not (isinstance(plan, str) or hasattr(plan, "__index__")):
        why, remedy = "a run needs a batch size", "ladle.plan(task), or size=64"
        raise ArgumentError(must("plan", "be a ladle.Plan or a size", plan, why, remedy))
    return None, plan


def _screen(show: Sink | bool, setup: RunSetup) -> Sink:
    """Progress on the terminal where it is asked for, on the console that was given, or nowhere."""
    return console(setup.until.stop(setup.assembly.rows), quiet=not show) if isinstance(show, bool) else show


@dataclass
class _Sitting:
    """What `sit` passes from hand to hand."""

    session: Session
    every_seconds: float | None
    signal: Interrupts
    saved_at: float = field(default_factory=time.monotonic)


def sit(
    setup: RunSetup,
    place: RunFolder,
    *,
    sinks: Sequence[Sink] = (),
    every_seconds: float | None = 30.0,
    facts: Mapping[str, Any] | None = None,
) -> Run:
    """One sitting of the run that `setup` describes, in `place`, from its first line or a checkpoint to its last.

    - `sinks`: who takes the record besides its file; they stay open. `facts`: more for run.json.
    """
    facts = facts or {}
    meter = best_meter(accelerator=not setup.assembly.backend.on_host())
    meter.start()
    with ExitStack() as stack:
        file, newest, bests = place.open(stack, setup.assembly.backend.saver)
        joules = meter.so_far if isinstance(meter, CounterMeter) else None
        session = Session(setup, (*([file] if file else []), *sinks), file, joules, newest, bests)
        for one in _couriers(session):
            stack.callback(one.close)
        # What cannot be gone on with is refused before anything of it is touched.
        carry = session.joined(place.resumed(session))
        known = describe(session, "running", facts)
        place.describe(known)
        begun = -1 if carry is None else carry.progress.examples
        for one in _couriers(session):
            one.begin(place.path.name if place.path else "run", known, place.path, begun)
        try:
            carry = carry or place.begin(session)
            forget_answers(place.path)
            if place.path is not None:
                describe_model(setup.assembly, place.path, {"seed": setup.seed})
            for sentence in (*_described(session), *setup.warnings):
                session.message(sentence)
            with interrupts() as signal:
                carry, status, why = _go(_Sitting(session, every_seconds, signal), carry, stack)
            return _finish(session, place, meter, carry, status, why, facts)
        except Exception as error:
            _describe(session, place, "failed", facts, {"why": setup.world.why(error)})
            raise


def _couriers(session: Session) -> list[Courier]:
    return [one for one in session.sinks if isinstance(one, Courier)]


def _describe(
    session: Session, place: RunFolder, status: str, facts: Mapping[str, Any], kept: Mapping[str, Any]
) -> None:
    """How the run ended: in run.json, and for its trackers."""
    ended = describe(session, status, facts, kept)
    place.describe(ended)
    for one in _couriers(session):
        one.end(ended)
    for one in _couriers(session):  # They finish side by side.
        one.finish()


def _go(sitting: _Sitting, carry: Carry, stack: ExitStack) -> tuple[Carry, str, str]:
    """Windows and evaluations until something ends the run: `(carry, status, why)`."""
    session, setup = sitting.session, sitting.session.setup
    feed = setup.assembly.feed(setup.seed)
    stack.callback(getattr(feed, "close", lambda: None))
    while True:
        if why := setup.until.ended(carry.progress, session.history()):
            return carry, "stopped" if why.startswith(("target", "patience")) else "finished", why
        begun = carry.progress.examples
        stop = min((begun // length + 1) * length for length in setup.evaluate_every)
        how: dict[str, Any] = {"stop": stop, "window": setup.window, "rebase": setup.rebase, "world": setup.world}
        for line, after in train(carry, feed, setup.assembly.engine.step, setup.policy, setup.until, **how):
            carry, ended = _windowed(sitting, after, line, stop)
            if ended is not None:
                return carry, *ended
        if carry.progress.examples == begun:
            if sitting.signal.requested is not None:  # While it waited for an event.
                return carry, "interrupted", f"{sitting.signal.requested} at {begun:,} examples"
            return carry, "finished", f"the stream ended after {begun:,} examples"


def _windowed(sitting: _Sitting, carry: Carry, line: dict[str, Any], stop: int) -> tuple[Carry, tuple[str, str] | None]:
    """What is done after a window: evaluate where that is due, record, save; and how the run ended, if it did."""
    session, examples = sitting.session, carry.progress.examples
    bad = session.diverged(line)
    if not bad and (examples >= stop or session.setup.until.ended(carry.progress) is not None):
        carry = session.evaluate(carry, line)
    carry = session.record(carry, line)
    if bad:
        return carry, ("diverged", bad)
    if asked := next(filter(None, session.setup.world.gathered(sitting.signal.requested)), None):
        return carry, ("interrupted", f"{asked} at {examples:,} examples")
    if sitting.every_seconds is not None and time.monotonic() - sitting.saved_at >= sitting.every_seconds:
        session.save(carry)
        sitting.saved_at = time.monotonic()
    return carry, None


def _finish(
    session: Session,
    place: RunFolder,
    meter: Meter,
    carry: Carry,
    status: str,
    why: str,
    facts: Mapping[str, Any],
) -> Run:
    if status != "diverged":
        session.save(carry)
    newest = place.newest(session)
    final, used = ending(session, carry, status), meter.stop()
    state = _restored(session, carry, status)
    assembly = session.setup.assembly
    if session.setup.restore == "best":  # Rank 0 alone has read it.
        state = session.shared(state)
    if session.setup.world.size > 1:  # What comes now, each rank may ask by itself.
        assembly = session.setup.alone
        state = assembly.engine.place(state)
    final = {**final, **_tested(assembly, state, status)}
    kept = {"why": why, "final": final, "checkpoint": newest and newest.name, "energy": used.to_json()}
    if place.path is not None and status in ("finished", "stopped"):
        for said in keep_answers(assembly, state, place.path):
            session.message(said)
    if status == "diverged":
        last = f"; the last good checkpoint is {newest}" if newest else ""
        session.message(f"diverged: {why}{last}; try {remedy(why)}")
    _describe(session, place, status, facts, kept)
    return Run(
        status,
        why,
        final,
        session.lines,
        state,
        assembly,
        folder=place.path,
        checkpoint=newest,
        used=used,
        refused=session.refused,
        best=session.best,
    )


def _tested(assembly: Assembly, state: Any, status: str) -> dict[str, float]:
    """`test_loss` and metrics of the model that a run ends with, where the data have rows to test: once, at the end.

    Of the average of its weights, where it kept one, as `test_ema_loss`.
    """
    test = getattr(assembly.task.data, "test", None)
    if test is None or status not in ("finished", "stopped"):
        return {}
    found, averaged = assembly.engine.evaluate(state, dict(test), prefix="test_"), assembly.engine.averaged(state)
    return found if averaged is None else found | assembly.engine.evaluate(averaged, dict(test), prefix=f"test_{EMA}_")


def _restored(session: Session, carry: Carry, status: str) -> Any:
    """The state that the run ends with: the last one, or that of the best evaluation."""
    best, setup = session.best, session.setup
    if setup.restore == "last" or best is None or best.examples == carry.progress.examples:
        return carry.state
    engine = setup.assembly.engine
    if session.best_carry is not None:
        state = engine.place(session.best_carry.state)
    elif session.bests is not None:
        state = session.bests.restore(engine.abstract_state(setup.constants)).carry.state
    else:
        return carry.state
    session.message(
        f"parameters are those of the best evaluation: {best.metric} {best.value:.6g} at {best.examples:,} examples"
    )
    return state


def _described(session: Session) -> list[str]:
    """What a feed of rows that travel will keep in memory, and how well its order shuffles: said before a run."""
    feed: Any = session.setup.assembly.feed(session.setup.seed)
    if not hasattr(feed, "feed") or not hasattr(feed, "order"):
        return []
    source, order = getattr(feed.source, "describe", None), getattr(feed.order, "describe", None)
    return [*([source()] if source else []), *([order(session.setup.size)] if order else [])]
