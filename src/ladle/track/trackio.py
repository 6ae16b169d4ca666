"""`Trackio`: runs in Trackio's own database on this machine. The only file that imports it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladle.core.protocols import Onward
from ladle.track.library import require
from ladle.track.words import ending, parameters, words_of


@dataclass(frozen=True)
class Trackio:
    """Writes runs into Trackio's database: `trackio show --project PROJECT` shows them.

    Numbers are metrics, run.json with the plan is the config, decisions are alerts of the lowest level.

    - `folder`: of the database; TRACKIO_DIR or Trackio's usual one where left out.
    - `name`: of the run; that of its folder where left out.

    Raises `ArgumentError` where trackio is not installed.
    """

    project: str = "ladle"
    folder: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        require("trackio", "trackio")

    def open(self, name: str, facts: Mapping[str, Any], onward: Onward | None = None) -> TrackioRun:
        return TrackioRun(self, self.name or name, facts, onward)


class TrackioRun:
    """One run. Trackio only warns of what it could not write; here that is an error."""

    def __init__(self, tracker: Trackio, name: str, facts: Mapping[str, Any], onward: Onward | None) -> None:
        if tracker.folder is not None:  # It is read once, when the library is loaded.
            os.environ["TRACKIO_DIR"] = str(Path(tracker.folder).absolute())
        import trackio  # pyright: ignore[reportMissingImports]

        resume: Any = {} if onward is None else {"resume": "allow"}
        self._run: Any = trackio.init(
            project=tracker.project,
            name=onward.identity if onward is not None else name,
            config={**parameters(facts)},
            auto_log_cpu=False,
            auto_log_gpu=False,
            embed=False,
            **resume,
        )
        self.identity, self._step = str(self._run.name), 0
        self._watch = warnings.catch_warnings(record=True)
        self._warned = self._watch.__enter__()

    def numbers(self, values: Mapping[str, float], step: int, when: float) -> None:
        self._step = max(self._step, step)
        self._run.log(dict(values), step=step)
        self._require_well()

    def text(self, kind: str, words: str, step: int) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        self._run.alert(kind, words, level=trackio.AlertLevel.INFO, step=step)

    def picture(self, name: str, path: Path, step: int) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        self._run.log({name: trackio.Image(str(path))}, step=step)

    def flush(self) -> None:
        """Nothing waits: trackio has a thread of its own that writes."""

    def close(self, facts: Mapping[str, Any]) -> None:
        self._run.log({**ending(facts), **words_of(facts)}, step=self._step)
        self._run.finish()
        self._watch.__exit__(None, None, None)
        self._require_well()

    def _require_well(self) -> None:
        """Raise what Trackio warned of, be it in its own thread."""
        told = [str(one.message) for one in self._warned or () if Path(one.filename).match("trackio/utils.py")]
        if told:
            raise RuntimeError(told[0])
