"""`Run`: what a training run leaves behind, and what its trained model can be asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ladle.api.assembly import Assembly
from ladle.api.best import Best
from ladle.api.model import Model
from ladle.api.rows import as_rows
from ladle.api.run_model import model_of
from ladle.api.training_rows import training_rows
from ladle.core.consumption import Consumption
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Moments
from ladle.core.noise import NoiseScale, estimate
from ladle.core.shown import shown

if TYPE_CHECKING:
    from ladle.api.baselines import Baselines


@dataclass(frozen=True)
class Run:
    """A finished (or stopped) training run.

    - `status`: "finished", "stopped" (a target or patience), "interrupted" or "diverged"; `why` in words.
    - `final`: the last record line and the last evaluation as one mapping; of a diverged run the last line alone.
    - `metrics`: every record line, oldest first. `params`: the trained parameters.
    - `folder`: the run folder, or None for a run in memory. `checkpoint`: the newest in it.
    - `used`: time, processor time and, where a counter was found, energy of this sitting, compilation included.
    - `refused`: checkpoints passed over on resume, as (name, reason).
    - `best`: the best evaluation, by the validation loss or by what the run was to end by; None where none was made.
      `state`, and with it `params` and all that is asked of the model, is that one's or the last one's: see `restore`.
    """

    status: str
    why: str
    final: Mapping[str, Any]
    metrics: list[dict[str, Any]]
    state: Any = field(repr=False)
    assembly: Assembly = field(repr=False)
    folder: Path | None = None
    checkpoint: Path | None = None
    used: Consumption | None = None
    refused: tuple[tuple[str, str], ...] = ()
    best: Best | None = None

    @property
    def params(self) -> Any:
        """The parameters, as the model's own `init` makes them.

        For a model of ladle's own `model.apply(params, ...)` takes them; `ladle.models.from_equinox(m).module(params)`
        and `ladle.from_nnx(m).module(params)` give the module back.
        """
        return self.assembly.engine.params(self.state)

    @cached_property
    def model(self) -> Model:
        """The trained model by itself, as `ladle.load` gives it: see `ladle.api.model.Model`."""
        facts = {"status": self.status, "why": self.why, "final": dict(self.final)}
        return model_of(self.assembly, self.state, facts)

    def outputs(self, x: Any) -> np.ndarray:
        """The model's own outputs, logits or standardised amounts, for encoded inputs `x`: `f32[examples, outputs]`.

        - `x`: arrays of whatever library, lists too, in the form of the task's own data. Bytes are divided by 255 where
          those of the data were. Raises `DataError` for what cannot be read so, and for a frame of a table's raw cells.
        """
        self._require_outputs()
        return self.model.outputs(x)

    def predict(self, rows: Any) -> np.ndarray:
        """What the model says of each of `rows`, as the user has them: names of classes, or amounts in their own unit.

        Of a table: a frame, a path, a mapping of columns, a list of rows. Of arrays: arrays of whatever library. See
        `ladle.api.model.Model.predict`.
        """
        self._require_outputs()
        return self.model.predict(rows)

    def predict_proba(self, rows: Any) -> np.ndarray:
        """The chance of each class, `f64[rows, classes]`, in the order of `run.model.classes`. See `predict`."""
        self._require_outputs()
        return self.model.predict_proba(rows)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the trained model into the new folder `folder`: safetensors and JSON, for `ladle.load(folder)`.

        Raises `ArgumentError` for a run that diverged, and where something is in the folder already.
        """
        self._require_outputs()
        if self.status == "diverged":
            why = "what it left is no model"
            raise ArgumentError(must("run", "have a model to save", self.status, why, "a run at a smaller lr"))
        return self.model.save(folder, overwrite=overwrite)

    def baselines(self) -> Baselines:
        """Hold the model against scikit-learn's linear model and gradient boosting, on the same split: `print` it.

        They are fitted to the same training rows and judged on the same validation rows; see `ladle.api.baselines`. A
        run's folder keeps the answer, and its report shows it. Raises `ArgumentError` without scikit-learn, for rows
        that no plain model can be fitted to, and for a run that diverged.
        """
        from ladle.api.baselines import baselines, keep

        self._require_outputs()
        found = baselines([self], f"the {self.assembly.objective.name}")
        if self.folder is not None:
            keep(found, self.folder)
        return found

    def _require_outputs(self) -> None:
        if not self.assembly.objective.predicts:
            raise ArgumentError(
                must("task", "have a predict function", None, "outputs are asked for", "Task.functions(predict=...)")
            )

    def averaged(self) -> Run:
        """The same run with the moving average of its weights in their place: to predict, judge, save.

        Raises `ArgumentError` where the task keeps none (`Task(ema=0.999)`).
        """
        state = self.assembly.engine.averaged(self.state)
        if state is None:
            why, remedy = "no average of the weights was kept", "ladle.Task(..., ema=0.999)"
            raise ArgumentError(must("run", "have an average", None, why, remedy))
        return replace(self, state=state)

    def reestimated(self, sample: int | None = None) -> Run:
        """The same run with the statistics of batch norm counted anew over its training rows: to predict, judge, save.

        The parameters stand still and every row counts once, where running averages are of batches that older
        parameters saw: see `ladle.jax.reestimate.Reestimator`. All training rows that are in memory, the first 8,192 of
        a feed, or `sample` of them.

        Raises `ArgumentError` for a model without ladle's batch norm, and with PyTorch.
        """
        engine = self.assembly.engine
        return replace(self, state=engine.reestimated(self.state, *training_rows(self.assembly, sample)))

    def evaluate(self, rows: Any, *, reestimate: bool | int = False) -> dict[str, float]:
        """Mean loss and metrics of the trained model on `rows`, each counted once: `{"loss": ..., "accuracy": ...}`.

        - `rows`: such as `data.test`, in the form of the task's own data (targets of a regression standardised); arrays
          of whatever library, all of one length. Raises `DataError` as `predict` does.
        - `reestimate`: True for the statistics of batch norm as `reestimated` counts them; a number for so many rows.
        """
        if reestimate is not False:
            return self.reestimated(None if reestimate is True else reestimate).evaluate(rows)
        return self.assembly.engine.evaluate(self.state, as_rows(rows, self.assembly.task.data), prefix="")

    def noise(self, since: int = 0, until: int | None = None) -> NoiseScale:
        """The gradient noise scale in the course of the run, in examples: tr(Sigma) / |G|^2 with interval and verdict.

        From all record lines together that end at `since <= updates < until`. It mostly grows, so the second half of a
        run says more of what is to come: `run.noise(since=run.final["updates"] // 2)`. "unresolved" where nothing was
        measured: see `gauge` of `fit`.
        """
        return estimate(self._moments(since, until))

    def _moments(self, since: int, until: int | None) -> Moments:
        total = Moments()
        for line in self.metrics:
            if since <= line["updates"] and (until is None or line["updates"] < until):
                total = total.merge(Moments.from_sums(line))
        return total

    def _repr_html_(self) -> str:
        cells = {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in self.final.items()}
        wide = max(map(len, cells), default=0)
        lines = [f"{self.status}: {self.why}", *(f"{name:<{wide}}  {value}" for name, value in cells.items())]
        return shown(self, "\n".join(lines))
