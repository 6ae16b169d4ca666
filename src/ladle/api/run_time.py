"""`run_time`: how long a run will take by the clock, before it begins: updates, evaluations, checkpoints and all."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly, assemble, resolve_size
from ladle.api.fit import fit
from ladle.api.setup import RunSetup, Terms, set_up
from ladle.api.task import Task
from ladle.core.batch import window_end
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, DivergedWarning, must
from ladle.core.explain import seconds_text

TURNS = 3
"""Times that each piece is timed; the least counts, because a busy machine only ever adds time."""

TIMED_SECONDS = 0.3
"""What the longer of two short runs takes at least, where windows are short."""

MOST_WINDOWS = 64
STILL = 1e-30
"""The rate of runs that are only timed: nothing moves, so nothing diverges."""

EVERY_SECONDS = 30.0
"""Between two checkpoints, as in `fit`."""


@dataclass(frozen=True)
class RunTime:
    """What a run takes by the clock, compiling apart, and how often each part of it comes.

    - `windows`, `window_seconds`: pieces between two record lines, as a number of whole ones; one with its updates,
      the reading and transfer of their rows included. `evaluation_seconds`: one pass over the validation part; the
      first is before any update.
    - `saving_seconds`: the first and the last checkpoint; 0 where nothing is saved.
    """

    windows: float
    window_seconds: float
    evaluations: int
    evaluation_seconds: float
    saving_seconds: float = 0.0

    @property
    def training_seconds(self) -> float:
        return self.windows * self.window_seconds

    @property
    def evaluating_seconds(self) -> float:
        return self.evaluations * self.evaluation_seconds

    @property
    def saves_seconds(self) -> float:
        """All checkpoints: the first, the last, and one every 30 seconds between."""
        between = (self.training_seconds + self.evaluating_seconds) // EVERY_SECONDS
        return self.saving_seconds * (1 + between / 2)

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.training_seconds + self.evaluating_seconds + self.saves_seconds

    def __str__(self) -> str:
        saved = f", checkpoints {seconds_text(self.saves_seconds)}" if self.saving_seconds else ""
        parts = f"training {seconds_text(self.training_seconds)}, evaluations {seconds_text(self.evaluating_seconds)}"
        return f"{seconds_text(self.seconds)} ({parts}{saved}), compiling apart"


def run_time(
    task: Task | Assembly,
    size: int | str,
    *,
    until: str | Until = "30 epochs",
    micro_size: int | None = None,
    saved: bool = False,
) -> RunTime:
    """How long `ladle.fit(task, size=size, until=until)` will take by the clock, compiling apart.

    seconds = windows * window_seconds + evaluations * evaluation_seconds + checkpoints

    Short runs of the same task are timed, at a rate of nothing, and none is kept. A run that its loss may end is told
    up to its bound. `saved`: the run is written to a folder.

    Raises `ArgumentError` where only seconds bound the run.

    >>> import ladle
    >>> data = ladle.data.load("digits")
    >>> task = ladle.Task(ladle.models.mlp(64, 32, 10), ladle.losses.cross_entropy, data)
    >>> ladle.run_time(task, 64, until="2 epochs").evaluations
    3
    """
    assembly = task if isinstance(task, Assembly) else assemble(task)
    setup = set_up(assembly, Terms(Until.parse(until), size=resolve_size(size, assembly.rows), micro_size=micro_size))
    examples = _examples(setup)
    piece = min(setup.window, examples)
    first, seconds = _least(lambda: _seconds(setup, piece)), 0.0
    more = 1
    while seconds < TIMED_SECONDS and more < MOST_WINDOWS:
        more *= 4
        seconds = _least(lambda: _seconds(setup, (1 + more) * piece))  # noqa: B023
    return RunTime(
        windows=examples / piece,
        window_seconds=max(seconds - first, 0.0) / more,
        evaluations=len({end for length in setup.evaluate_every for end in range(length, examples, length)}) + 2,
        evaluation_seconds=_evaluation(assembly),
        saving_seconds=max(_least(lambda: _seconds(setup, piece, saved=True)) - first, 0.0) if saved else 0.0,
    )


def _examples(setup: RunSetup) -> int:
    """Examples of the whole run."""
    rows, until = setup.assembly.rows, setup.until
    bounds = [] if until.updates is None else [window_end(0, setup.size, until.updates, rows)]
    if (stop := until.stop(rows)) is not None:
        bounds.append(stop)
    if not bounds:
        why = "how far a run gets in a time is what would be told"
        raise ArgumentError(must("until", "be epochs, examples or steps", until, why, "until='30 epochs'"))
    return min(bounds)


def _seconds(setup: RunSetup, examples: int, *, saved: bool = False) -> float:
    """Of a run of so many examples by the clock."""
    constant: Any = setup.policy
    with tempfile.TemporaryDirectory(prefix="ladle-time-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergedWarning)
        began = time.perf_counter()
        fit(
            setup.assembly,
            size=setup.size,
            micro_size=constant.micro_size,
            until=f"{examples} examples",
            lr=None if setup.lr is None else STILL,
            window=setup.window,
            evaluate_every=max(examples, 1),
            out=Path(folder) / "run" if saved else None,
        )
        return time.perf_counter() - began


def _evaluation(assembly: Assembly) -> float:
    """One pass over the validation part; 0 where there is none."""
    if assembly.valid is None:
        return 0.0
    state = assembly.engine.step.init(0)

    def judged() -> float:
        began = time.perf_counter()
        assembly.engine.evaluate(state, assembly.valid)
        return time.perf_counter() - began

    judged()  # Compiles it.
    return _least(judged)


def _least(timed: Callable[[], float]) -> float:
    return min(timed() for _ in range(TURNS))
