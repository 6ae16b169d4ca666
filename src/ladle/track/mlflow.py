"""`MLflow`: runs in an MLflow store, a SQLite file or a server. The only file that imports it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladle.core.protocols import Onward
from ladle.track.library import require
from ladle.track.words import ending, parameters, words_of

NUMBERS, WORDS = 1000, 100
"""Metrics, and parameters or tags, that MLflow takes in one call."""

STATUS = {"diverged": "FAILED", "failed": "FAILED", "interrupted": "KILLED"}
"""MLflow's words for how a run ended; all other ends are FINISHED. Ours is the tag `ladle.status`."""


@dataclass(frozen=True)
class MLflow:
    """Sends runs to an MLflow store: `mlflow ui --backend-store-uri sqlite:///mlflow.db` shows them.

    Numbers are metrics, run.json with the plan is parameters, decisions are the artifact decisions.md, and pictures are
    artifacts too.

    - `uri`: "sqlite:///mlflow.db", "http://host:5000", or MLFLOW_TRACKING_URI where left out. `experiment`: by name.
    - `artifacts`: folder for the artifacts of a new experiment in a SQLite store; beside its file where left out.
    - `name`: of the run; that of its folder where left out.

    Raises `ArgumentError` where mlflow is not installed.
    """

    uri: str | None = None
    experiment: str = "ladle"
    artifacts: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        require("mlflow", "mlflow")

    def open(self, name: str, facts: Mapping[str, Any], onward: Onward | None = None) -> MLflowRun:
        return MLflowRun(self, self.name or name, facts, onward)


class MLflowRun:
    """One run of an experiment. Numbers wait until they fill a call, or `flush`."""

    def __init__(self, tracker: MLflow, name: str, facts: Mapping[str, Any], onward: Onward | None) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # Nobody is told that a run was sent.
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

        uri = tracker.uri or os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
        self._client, self._step, self._texts = MlflowClient(tracking_uri=uri), 0, {}
        self._waiting: list[Any] = []
        if onward is not None:
            self.identity = onward.identity
            self._client.update_run(self.identity, status="RUNNING")
        else:
            run = self._client.create_run(self._experiment(tracker, uri), run_name=name)
            self.identity = str(run.info.run_id)
            self._parameters(facts)
        self._client.log_dict(self.identity, dict(facts), "run.json")

    def numbers(self, values: Mapping[str, float], step: int, when: float) -> None:
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        self._step = max(self._step, step)
        self._waiting += [Metric(_key(name), float(value), int(1000 * when), step) for name, value in values.items()]
        while len(self._waiting) >= NUMBERS:
            self._send()

    def text(self, kind: str, words: str, step: int) -> None:
        self._texts.setdefault(f"{kind}s.md", []).append(f"- update {step:,}: {words}")

    def picture(self, name: str, path: Path, step: int) -> None:
        self._client.log_artifact(self.identity, str(path))

    def flush(self) -> None:
        while self._waiting:
            self._send()

    def close(self, facts: Mapping[str, Any]) -> None:
        self.numbers(ending(facts), self._step, time.time())
        self.flush()
        for name, lines in self._texts.items():
            self._client.log_text(self.identity, "\n".join(lines) + "\n", name)
        self._client.log_dict(self.identity, dict(facts), "run.json")
        for name, words in words_of(facts).items():
            self._client.set_tag(self.identity, f"ladle.{name}", words)
        self._client.set_terminated(self.identity, STATUS.get(str(facts.get("status")), "FINISHED"))

    def _experiment(self, tracker: MLflow, uri: str) -> str:
        found = self._client.get_experiment_by_name(tracker.experiment)
        if found is not None:
            return str(found.experiment_id)
        place = tracker.artifacts
        if place is None and uri.startswith("sqlite:///"):
            place = str(Path(uri.removeprefix("sqlite:///")).with_suffix("")) + "-artifacts"
        at = None if place is None else Path(place).absolute().as_uri()
        return str(self._client.create_experiment(tracker.experiment, artifact_location=at))

    def _parameters(self, facts: Mapping[str, Any]) -> None:
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        known = [Param(_key(name), str(value)[:6000]) for name, value in parameters(facts).items()]
        for some in _slices(known, WORDS):
            self._client.log_batch(self.identity, params=some)

    def _send(self) -> None:
        some, self._waiting = self._waiting[:NUMBERS], self._waiting[NUMBERS:]
        self._client.log_batch(self.identity, metrics=some)


def _slices(values: Sequence[Any], length: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), length):
        yield values[start : start + length]


def _key(name: str) -> str:
    """`name` in the signs that MLflow allows, no longer than it allows."""
    return re.sub(r"[^\w\-./ :]", "_", name)[:250]
