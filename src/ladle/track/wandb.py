"""`WandB`: runs in Weights & Biases, offline unless something else is said. The only file that imports it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladle.core.protocols import Onward
from ladle.track.library import require
from ladle.track.words import ending, parameters, words_of


@dataclass(frozen=True)
class WandB:
    """Writes runs for Weights & Biases: `wandb sync FOLDER/wandb/offline-run-*` sends them to its server.

    Numbers and decisions are history, run.json with the plan is the config, the last numbers are the summary.

    - `mode`: "offline" or "online"; WANDB_MODE where left out, and offline where that is not set either.
    - `folder`: where runs are written; WANDB_DIR or the working directory where left out.
    - `name`: of the run; that of its folder where left out.

    Raises `ArgumentError` where wandb is not installed.
    """

    project: str = "ladle"
    folder: str | None = None
    mode: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        require("wandb", "wandb")

    def open(self, name: str, facts: Mapping[str, Any], onward: Onward | None = None) -> WandBRun:
        return WandBRun(self, self.name or name, facts, onward)


class WandBRun:
    """One run. Weights & Biases takes steps in rising order alone, so what comes late goes with the last step."""

    def __init__(self, tracker: WandB, name: str, facts: Mapping[str, Any], onward: Onward | None) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        mode: Any = tracker.mode or os.environ.get("WANDB_MODE", "offline")
        if tracker.folder is not None:
            Path(tracker.folder).mkdir(parents=True, exist_ok=True)  # Where it is missing wandb writes elsewhere.
        # What it would find out about machine, code and console by itself is in run.json, or nobody's business.
        quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        going: dict[str, Any] = {} if onward is None else {"id": onward.identity}
        if onward is not None and mode == "online":
            going["resume"] = "allow"
        self._run = wandb.init(
            project=tracker.project,
            dir=tracker.folder,
            name=name,
            mode=mode,
            config=parameters(facts),
            settings=quiet,
            **going,
        )
        self.identity, self._step = str(self._run.id), 0 if onward is None else onward.updates

    def numbers(self, values: Mapping[str, float], step: int, when: float) -> None:
        self._log(dict(values), step)

    def text(self, kind: str, words: str, step: int) -> None:
        self._log({kind: words}, step)

    def picture(self, name: str, path: Path, step: int) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self._log({name: wandb.Image(str(path))}, step)

    def flush(self) -> None:
        """Nothing waits: wandb has a process of its own that writes."""

    def close(self, facts: Mapping[str, Any]) -> None:
        self._run.summary.update({**ending(facts), **words_of(facts)})
        self._run.finish(exit_code=int(facts.get("status") in ("failed", "diverged")))

    def _log(self, values: dict[str, Any], step: int) -> None:
        self._step = max(self._step, step)
        self._run.log(values, step=self._step)
