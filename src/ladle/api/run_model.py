"""The model of a run: of one in memory, and of a folder that `ladle train` or `fit(out=)` wrote.

A run folder has a `model.json` from its beginning: all of a saved model but the weights, which are in its checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly
from ladle.api.backend import backend_named
from ladle.api.folder import BEST
from ladle.api.form import Form
from ladle.api.model import Model
from ladle.api.model_folder import MODEL_FILE, content, opened, rebuilt, sealed, with_state
from ladle.api.weights import refused
from ladle.core import record
from ladle.core.errors import ArgumentError, CheckpointError, must
from ladle.loop.checkpoint import Checkpoints

TOLD = ("status", "why", "final", "seed", "size")
"""What of run.json goes with a model."""


def model_of(assembly: Assembly, state: Any, facts: Mapping[str, Any]) -> Model:
    """The model that `assembly` was trained to, with the weights of `state`."""
    task = assembly.task
    described = assembly.backend.described(task.model, task.loss, task.metrics, task.data.kind)
    described = {**described, "backend": assembly.backend.name}
    notes = list(getattr(task.data, "notes", ()))
    return Model(Form.of(task.data, described["loss"]), described, assembly.engine, state, {**facts, "notes": notes})


def describe_model(assembly: Assembly, folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the model.json of a run that begins."""
    made = model_of(assembly, None, facts)
    record.write_json(folder / MODEL_FILE, sealed(content(made.description, made.form, made.facts)))


def model_of_run(folder: Path, model: Any = None) -> Model:
    """The model in a run's folder, at its best evaluation where that is kept, else at its newest good checkpoint.

    A task of the user's own file is loaded from where the run had it, as a resumed run does. Raises `CheckpointError`
    where no checkpoint can be read.
    """
    facts = record.read_json(folder / record.RUN_FILE)
    if not (folder / MODEL_FILE).is_file():
        why = "its run began with an earlier ladle, which wrote no model.json"
        raise ArgumentError(must("folder", "hold a model", str(folder), why, "run.save in Python"))
    described = opened(folder)
    own = described.get("model", {}).get("kind") == "own"
    asked = (facts.get("request") or {}).get("task", {}).get("data")
    made = rebuilt(folder, described, asked if model is None and own and asked else model)
    told = {key: facts.get(key) for key in TOLD}
    named = {"task": asked} if own and asked else {}
    state = made.engine.with_weights(_newest(folder, facts, made))
    return with_state(
        Model(made.form, made.description, made.engine, None, {**made.facts, **told, **named}, made.judges), state
    )


def _newest(folder: Path, facts: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """Weights by name, of the best checkpoint where there is a good one, else of the newest."""
    types = model.engine.weight_types()
    saver = backend_named(model.description["backend"]).saver()
    best, reasons = (facts.get("best") or {}).get("checkpoint"), []
    for place in (BEST, record.CHECKPOINTS) if best else (record.CHECKPOINTS,):
        try:
            found = Checkpoints(folder / place, saver).arrays()
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        missing = next((one.path for one in types.values() if one.path not in found), None)
        if missing is not None:
            raise refused(folder / place, f"{missing} of the model is not in it")
        return {name: found[one.path] for name, one in types.items()}
    raise CheckpointError(reasons[-1])
