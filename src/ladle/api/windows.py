"""`windows`: a run that its user goes through window by window, to do something of their own between two of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly
from ladle.api.fit import plan_or_size
from ladle.api.folder import RunFolder
from ladle.api.run import Run
from ladle.api.setup import Terms
from ladle.api.sitting import Sitting, Told, Window, begin, warn_if_diverged
from ladle.api.task import Task
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, RunError, must
from ladle.core.moments import Gauge
from ladle.core.plan import Plan
from ladle.core.protocols import Policy, Sink, Tracker


class Windows:
    """Hands over a run at every window: an iterator of `Window`, and in the end the `Run`.

    >>> import ladle
    >>> task = ladle.Task(ladle.models.mlp(64, 32, 10), ladle.losses.cross_entropy, ladle.data.load("digits"))
    >>> going = ladle.windows(task, size=64, window=640, until="2000 examples")
    >>> for window in going:
    ...     going.note(seen=window.line["examples"])
    >>> [line["seen"] for line in going.end().metrics if "seen" in line]
    [0.0, 640.0, 1280.0, 1438.0]
    """

    def __init__(self, going: Sitting) -> None:
        self._going, self._readings = going, dict[str, float]()
        self._run: Run | None = None
        self._next: Window | None = None
        self._resume(None)

    def __iter__(self) -> Windows:
        return self

    def __next__(self) -> Window:
        if self._next is None and self._run is None:
            told, self._readings = Told(self._readings), {}
            self._resume(told)
            if self._run is not None:
                warn_if_diverged(self._run)
        window, self._next = self._next, None
        if window is None:
            raise StopIteration
        return window

    def note(self, **readings: float) -> None:
        """Add readings to the record line of the coming window, beside those that ladle takes.

        Raises `ArgumentError` for what is no number. A name that the record has already is refused as the line is made.
        """
        for name, value in readings.items():
            try:
                self._readings[name] = float(value)
            except (TypeError, ValueError):
                why, remedy = "the record draws it as a curve", f"{name}=float(...)"
                raise ArgumentError(must(f"note({name})", "be a number", value, why, remedy)) from None

    def end(self, why: str = "left by the loop around it") -> Run:
        """The run. One that has not ended yet ends here, with status "stopped" and this reason."""
        if self._run is None:
            self._resume(Told(stop=why))
        assert self._run is not None
        self._next = None
        return self._run

    def _resume(self, told: Told | None) -> None:
        try:
            self._next = self._going.send(told)
        except StopIteration as ended:
            if ended.value is None:
                got, why = "an error in the middle", "it raised what ended it where it was"
                raise RunError(must("run", "have come to an end", got, why, "a new one, or resume=True")) from None
            self._run = ended.value


def windows(
    task: Task | Assembly,
    plan: Plan | int | str | None = None,
    *,
    size: int | str | None = None,
    micro_size: int | None = None,
    until: str | Until = "30 epochs",
    policy: Policy | str | None = None,
    gauge: Gauge | None = None,
    lr: float | None = None,
    hyper: Mapping[str, float] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    checkpoints: bool = True,
    window: int | None = None,
    evaluate_every: int | None = None,
    show: Sink | bool = False,
    sinks: Sequence[Sink | Tracker] = (),
    facts: Mapping[str, Any] | None = None,
) -> Windows:
    """A run of `task` that waits before each window, for who needs the parameters on the way: to act with them in an
    environment and add what was seen to a `ladle.feed.Replay`, to look, to decide.

    The words are those of `ladle.fit`, and so are steps, record, checkpoints and refusals; what happens between two
    windows is no training time. The run is begun when this returns. `break` where you like, and ask `end()` for the
    run. What lies outside of ladle (an environment, a replay) is not in its checkpoints: `resume` goes on with the
    parameters and the position, and finds what you give it.

    A loop that is left without `end()` leaves an interrupted run, whose newest checkpoint is what `resume` finds.

    Raises `ArgumentError` before any work for what cannot be right.
    """
    plan, size = plan_or_size(plan, size)
    terms = Terms(
        until=Until.parse(until),
        plan=plan,
        size=size,
        micro_size=micro_size,
        policy=policy,
        gauge=gauge,
        lr=lr,
        hyper=dict(hyper or {}),
        seed=seed,
        window=window,
        evaluate_every=evaluate_every,
    )
    place = RunFolder(Path(out) if out is not None else None, resume=resume, overwrite=overwrite, keep=checkpoints)
    return Windows(begin(task, terms, place, show=show, sinks=sinks, facts=facts))
