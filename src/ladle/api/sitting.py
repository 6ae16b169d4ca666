"""A sitting: one stretch of a run, from its set-up to its end, as a generator that waits before each window."""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

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
from ladle.api.setup import RunSetup, Terms, set_up
from ladle.api.task import Task
from ladle.core.backend import Backend
from ladle.core.carry import Carry
from ladle.core.constants import EMA
from ladle.core.errors import ArgumentError, DivergedWarning, must
from ladle.core.protocols import Meter, Sink, Tracker
from ladle.energy.counters import CounterMeter
from ladle.energy.meter import best_meter
from ladle.loop.interrupt import Interrupts, interrupts
from ladle.loop.train import train
from ladle.monitor.console import console


@dataclass(frozen=True)
class Window:
    """Where a run stands before one of its windows.

    - `line`: the last record line; before the first window that of no update.
    - `params`: the parameters as they are now, as the model's own `init` makes them. Read them before the next window
      begins: it takes their memory for its own. `model_state`: what the model carries beside them.
    """

    line: Mapping[str, Any]
    carry: Carry = field(repr=False)
    assembly: Assembly = field(repr=False)

    @property
    def params(self) -> Any:
        return self.assembly.engine.params(self.carry.state)

    @property
    def model_state(self) -> Any:
        return self.carry.state.model_state


@dataclass(frozen=True)
class Told:
    """What somebody between two windows says: readings for the next record line; why the run ends here, if it does."""

    readings: Mapping[str, float] = field(default_factory=dict)
    stop: str | None = None


Sitting = Generator[Window, Told | None, Run]
"""A sitting that waits before each window: where it stands comes out, what is `Told` goes in, the run is its value."""


def begin(
    task: Task | Assembly,
    terms: Terms,
    place: RunFolder,
    *,
    show: Sink | bool = False,
    sinks: Sequence[Sink | Tracker] = (),
    every_seconds: float | None = 30.0,
    facts: Mapping[str, Any] | None = None,
) -> Sitting:
    """One sitting of `task` by what was asked of it, window by window. What is wrong is refused before the first."""
    with _backend(task).world() as world:
        place, before = place.kept_by(world)
        setup = set_up(task if isinstance(task, Assembly) else assemble(task), terms, before, world)
        with closing(_screen(show if world.rank == 0 else False, setup)) as screen:
            heard = (screen, *couriers(sinks, screen)) if world.rank == 0 else ()
            return (yield from _windows(setup, place, heard, every_seconds, facts or {}))


def ended(going: Sitting) -> Run:
    """The run of a sitting that nobody looks into."""
    while True:
        try:
            next(going)
        except StopIteration as ended:
            return ended.value


def warn_if_diverged(run: Run) -> Run:
    """The same run. Its caller's caller is told where its loss exploded."""
    if run.status == "diverged":
        warnings.warn(f"the run diverged: {run.why}; try {remedy(run.why)}", DivergedWarning, stacklevel=3)
    return run


def _backend(task: Task | Assembly) -> Backend:
    """Who computes, before data are placed."""
    if isinstance(task, Assembly):
        return task.backend
    return backend_of(task) if isinstance(task, Task) else assemble(task).backend  # Which refuses it.


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
    return ended(_windows(setup, place, sinks, every_seconds, facts or {}))


def _windows(
    setup: RunSetup, place: RunFolder, sinks: Sequence[Sink], every_seconds: float | None, facts: Mapping[str, Any]
) -> Sitting:
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
                carry, status, why = yield from _go(_Sitting(session, every_seconds, signal), carry, stack)
            return _finish(session, place, meter, carry, status, why, facts)
        except GeneratorExit:  # Whoever went through it did not end it.
            _describe(session, place, "interrupted", facts, {"why": "left by the loop around it"})
            raise
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


def _go(sitting: _Sitting, carry: Carry, stack: ExitStack) -> Generator[Window, Told | None, tuple[Carry, str, str]]:
    """Windows and evaluations until something ends the run: `(carry, status, why)`."""
    session, setup = sitting.session, sitting.session.setup
    feed = setup.assembly.feed(setup.seed)
    stack.callback(getattr(feed, "close", lambda: None))
    stop = carry.progress.examples
    while True:
        # Patience counts evaluations, which stand where windows had to stop.
        history = session.history() if carry.progress.examples >= stop else ()
        if why := setup.until.ended(carry.progress, history):
            return carry, "stopped" if why.startswith(("target", "patience")) else "finished", why
        told = (yield Window(session.lines[-1] if session.lines else {}, carry, setup.assembly)) or Told()
        if told.stop is not None:
            return carry, "stopped", told.stop
        begun = carry.progress.examples
        stop = min((begun // length + 1) * length for length in setup.evaluate_every)
        how: dict[str, Any] = {"stop": stop, "window": setup.window, "rebase": setup.rebase, "world": setup.world}
        loop = train(carry, feed, setup.assembly.engine.step, setup.policy, setup.until, **how)
        if (found := next(loop, None)) is None:
            if sitting.signal.requested is not None:  # While it waited for an event.
                return carry, "interrupted", f"{sitting.signal.requested} at {begun:,} examples"
            return carry, "finished", f"the stream ended after {begun:,} examples"
        line, after = found
        carry, ended = _windowed(sitting, after, _noted(line, told.readings), stop)
        if ended is not None:
            return carry, *ended


def _noted(line: dict[str, Any], readings: Mapping[str, float]) -> dict[str, Any]:
    """A record line with the readings of somebody else. Raises `ArgumentError` where they would hide its own."""
    if hidden := sorted(set(line) & set(readings)):
        why, remedy = "the record has that reading of its own", f"my_{hidden[0]}=..."
        raise ArgumentError(must("note", "give names of its own", hidden[0], why, remedy))
    return {**line, **readings}


def _windowed(sitting: _Sitting, carry: Carry, line: dict[str, Any], stop: int) -> tuple[Carry, tuple[str, str] | None]:
    """What is done after a window: evaluate where that is due, record, save; and how the run ended, if it did."""
    session, examples = sitting.session, carry.progress.examples
    bad = session.diverged(line)
    if not bad and (examples >= stop or session.setup.until.ended(carry.progress) is not None):
        carry = session.evaluate(carry, line)
        bad = session.diverged(line)  # What a validation loss shows, too.
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
