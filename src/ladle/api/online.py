"""`online`: learning from events as they come, each judged before it is learnt."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ladle.api.assembly import assemble, resolve_micro
from ladle.api.courier import couriers
from ladle.api.divergence import remedy as smaller
from ladle.api.folder import RunFolder
from ladle.api.online_source import OnlineSource
from ladle.api.run import Run
from ladle.api.setup import Terms, set_up
from ladle.api.sitting import sit
from ladle.api.task import Task
from ladle.core import record
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, DivergedWarning, must
from ladle.core.protocols import Policy, Sink, Stream, Tracker
from ladle.core.spec import require_count
from ladle.core.world import require_alone
from ladle.data.loader import require_words
from ladle.feed.stream.feed import EPOCH, StreamFeed
from ladle.loop.interrupt import asked
from ladle.monitor.console import Quiet
from ladle.monitor.prequential import PrequentialLines, prequential_line
from ladle.online.detector import Detector
from ladle.online.drift import DriftPolicy
from ladle.online.labels import Labelled
from ladle.online.patient import Followed, Patient
from ladle.online.prequential import Prequential
from ladle.policy.ahead import require_policy
from ladle.policy.constant import Constant


@dataclass(frozen=True)
class Online:
    """What learning from a stream came to.

    - `run`: as of `ladle.fit`; `run.metrics` has the prequential numbers of every update.
    - `waiting`: ids of events whose label has not come. `expired`: events that were left out for that, `unknown`:
      labels of no event that waited.
    """

    run: Run
    waiting: tuple[Any, ...] = ()
    expired: int = 0
    unknown: int = 0

    @property
    def prequential(self) -> dict[str, float]:
        """The newest `prequential_...` numbers, without that word: "accuracy", "accuracy_faded", "accuracy_window"."""
        begins = record.PREQUENTIAL
        line = next((one for one in reversed(self.run.metrics) if any(name.startswith(begins) for name in one)), {})
        return {name.removeprefix(begins): value for name, value in line.items() if name.startswith(begins)}

    @property
    def decisions(self) -> list[tuple[int, str]]:
        """What was changed on the way, and why: `(events before it, reason)`."""
        begun, told = 0, []
        for line in self.run.metrics:
            if line.get("reason"):
                told.append((begun, line["reason"]))
            begun = line["examples"]
        return told

    @property
    def events_per_second(self) -> float:
        """Of training, with the time that batches were waited for; compilation is none of it."""
        return self.run.final["examples"] / max(self.run.final["seconds"], 1e-9)

    def outcome(self) -> str:
        """How it ended, in a few lines."""
        lines = [f"{self.run.status}: {self.run.why}"]
        if self.run.final.get("examples"):
            judged = {record.PREQUENTIAL + name: value for name, value in self.prequential.items()}
            lines.append(prequential_line({**self.run.final, **judged}))
        if left := self.run_labels():
            lines.append(left)
        return "\n".join(lines)

    def run_labels(self) -> str:
        """What became of labels that did not come; nothing where all did."""
        parts = []
        if self.waiting:
            first = ", ".join(map(str, self.waiting[:3])) + (", ..." if len(self.waiting) > 3 else "")
            parts.append(f"{len(self.waiting):,} events still wait for a label ({first})")
        if self.expired:
            parts.append(f"{self.expired:,} were left out, for no label came in time")
        if self.unknown:
            parts.append(f"{self.unknown:,} labels are of no event that waited")
        return "labels: " + "; ".join(parts) if parts else ""


def online(
    task: Task | str | os.PathLike[str] | Stream,
    *,
    size: int = 64,
    policy: Policy | None = None,
    age: float | None = None,
    idle: float | None = None,
    bad: Literal["raise", "skip"] | None = None,
    drift: Detector | str | None = None,
    on_drift: str | Sequence[str] = "shrink",
    factor: float = 4.0,
    hold: int = 5000,
    smallest: int = 8,
    fading: float = 0.999,
    recent: int = 1000,
    until: str | Until | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_every_seconds: float | None = 30.0,
    window: int = 1,
    show: Sink | bool = False,
    sinks: Sequence[Sink | Tracker] = (),
    facts: Mapping[str, Any] | None = None,
    **reading: Any,
) -> Online:
    """Learn from the events of a stream as they come: each is judged by the model before it, then learnt, once.

    **Arguments**

    - `task`: a `Task` whose `feed` is a `ladle.feed.StreamFeed`; or the stream of rows itself: a .csv or .jsonl file, a
      folder of them, "-" for standard input, a `Stream` of mappings. Then also `target`, `kind`, `classes`, `drop`,
      `head` (first events that say what columns are, 1,000), `model`, `optimizer`, `lr`; and for labels that come later
      `id` and `keep`, see `ladle.online.labels.Labelled`.
    - `size`: a batch is closed after so many events, or `age` seconds. `policy`: instead of one size. `idle`: seconds
      without an event after which the stream has ended; 0 for what is there now. `bad`: "skip" leaves out events that
      cannot be read. Where left out: what the task's feed says, else no waiting.
    - `drift`: "adwin", "page-hinkley", "kswin" or a `ladle.online.detector.Detector`: watches the prequential error.
      `on_drift`: "shrink", "raise", "reset", or several; `factor`, `hold`, `smallest`: see `DriftPolicy`.
    - `fading`, `recent`: of the prequential means, see `Prequential`. They are in every line of the record.
    - `until`: where to end before the stream does: "1e6 examples", "10 min".
    - `out`, `overwrite`, `checkpoint_every_seconds`, `seed`, `sinks`, `facts`: as for `ladle.fit`. `resume`: go on with
      the run in `out`, or begin it where there is none: one command for a supervisor that restarts what died.
    - `window`: events between two record lines, at least an update; more of them cost less and show less.
    - `show`: True for a line on the terminal every 5,000 events and for each decision.

    A checkpoint holds the weights, the position in the stream with the events that wait for a label, and what the
    detector was told: a killed run goes on from it and learns every event exactly once, as if nothing had happened.

    Raises `ArgumentError` before any work for what cannot be right, `DataError` for events that cannot be read.

    >>> import ladle, pathlib, tempfile
    >>> rows = "".join(f"{n % 7},{n % 7 > 3}\\n" for n in range(700))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "events.csv")
    ...     _ = file.write_text("x,late\\n" + rows)
    ...     done = ladle.online(file, target="late", lr=0.05, size=10)
    >>> done.run.final["examples"], done.prequential["accuracy_window"] > 0.9
    (700, True)
    """
    require_alone("online")
    out = None if out is None else Path(out)
    going = resume and out is not None and (out / record.RUN_FILE).is_file()
    if resume and out is None:
        why, remedy = "a run is in its folder", "out='runs/stream'"
        raise ArgumentError(must("out", "be given with resume", None, why, remedy))
    chosen = _policy(size, policy, drift, on_drift, {"factor": factor, "hold": hold, "smallest": smallest})
    judged = Prequential(fading, recent)
    place = RunFolder(out, resume=going, overwrite=overwrite)
    before = place.before()  # A folder that cannot be is refused before the stream is read.
    made, waits = _task(task, reading, out if going else None, idle)
    last: dict[str, Any] = {}
    made = made.with_(feed=_patient(made, _waiting(age, idle, bad, waits), last))
    assembly = assemble(made)
    terms = Terms(
        until=Until.parse(until or f"{EPOCH} examples"),
        policy=chosen,
        seed=seed,
        window=require_count("window", window),
    )
    setup = replace(set_up(assembly, terms, before), prequential=judged)
    screen: Any = (PrequentialLines() if show else Quiet()) if isinstance(show, bool) else show
    told = {**(facts or {}), "online": {"fading": fading, "recent": recent, "age": age, "idle": idle}}
    with closing(screen):
        heard = (screen, *couriers(sinks, screen))
        run = sit(setup, place, sinks=heard, every_seconds=checkpoint_every_seconds, facts=told)
    if run.status == "diverged":
        warnings.warn(f"the run diverged: {run.why}; try {smaller(run.why)}", DivergedWarning, stacklevel=2)
    return _labels(run, last.get("position"), made)


def _policy(size: int, policy: Policy | None, drift: Any, on_drift: Any, how: Mapping[str, Any]) -> Policy:
    if policy is not None:
        require_policy(policy)
    else:
        policy = Constant(require_count("size", size), resolve_micro(size, None))
    if drift is None:
        return policy
    actions = (on_drift,) if isinstance(on_drift, str) else tuple(on_drift)
    detector = drift if isinstance(drift, Detector) else Detector(drift)
    return DriftPolicy(policy, detector, actions, **how)


def _task(task: Any, reading: Mapping[str, Any], going: Path | None, idle: float | None) -> tuple[Task, bool]:
    """The task, and whether its stream ends by itself, so that it is waited for."""
    if isinstance(task, Task):
        if reading:
            name = next(iter(reading))
            why, remedy = "the task says what is learnt from what", "leaving it out"
            raise ArgumentError(must(name, "be left out with a task", reading[name], why, remedy))
        return task, False
    known = [name for name in OnlineSource.__dataclass_fields__ if name != "source"]
    for name in reading:
        if name not in known:
            why = "there is no such one"
            raise ArgumentError(must(name, "be an argument of online", reading[name], why, ", ".join(known)))
    lists = {name: require_words(name, reading[name]) for name in ("classes", "drop") if name in reading}
    source = OnlineSource(task, **{**reading, **lists})
    return source.task(going, idle or 0.0), source.waits


def _waiting(age: float | None, idle: float | None, bad: str | None, waits: bool) -> dict[str, Any]:
    """What of a feed's waiting is said here."""
    for name, seconds in (("age", age), ("idle", idle)):
        if seconds is not None and not (isinstance(seconds, int | float) and seconds >= 0):
            raise ArgumentError(must(name, "be at least 0", seconds, "it is a time in seconds", f"{name}=1.0"))
    said: dict[str, Any] = {} if bad is None else {"bad": bad}
    if waits:  # A pipe says itself when it is over.
        idle = math.inf if idle is None else idle
        age = idle if age is None else age
    if age is not None or idle is not None:
        said["wait_seconds"] = age if age is not None else min(idle or 0.0, 1.0)
        said["idle_seconds"] = idle if idle is not None else age
    return said


def _patient(task: Task, said: Mapping[str, Any], last: dict[str, Any]) -> Callable[[int], StreamFeed]:
    """The task's feed with what is said of its waiting, which ends where the run is asked to."""

    def feed(seed: int) -> StreamFeed:
        own = None if task.feed is None else task.feed(seed)
        if not isinstance(own, StreamFeed):
            why, remedy = "events come from a stream", "Task(feed=lambda seed: ladle.feed.StreamFeed(stream))"
            got = type(own).__name__ if own is not None else None
            raise ArgumentError(must("task", "have a StreamFeed for its feed", got, why, remedy))
        stream = own.stream
        if isinstance(stream, Labelled):
            stream = Followed(replace(stream, stream=Patient(stream.stream, asked)), last)
        else:
            stream = Patient(stream, asked)
        return replace(own, stream=stream, **said)

    return feed


def _labels(run: Run, position: Any, task: Task) -> Online:
    """With what became of labels that came late or never, by where the stream has come to."""
    if position is None or task.feed is None:
        return Online(run)
    stream: Any = task.feed(0).stream
    waiting = tuple(event[stream.stream.id] for _, event in position["waiting"])
    return Online(run, waiting, position["expired"], position["unknown"])
