"""The model of a run: of one in memory, and what a run's folder says of it from its beginning.

A run folder's `model.json` is all of a saved model but the weights, which are in its checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly
from ladle.api.form import Form
from ladle.api.model import Model
from ladle.api.model_files import MODEL_FILE, content, sealed
from ladle.core import record


def model_of(assembly: Assembly, state: Any, facts: Mapping[str, Any]) -> Model:
    """The model that `assembly` was trained to, with the weights of `state`."""
    task = assembly.task
    described = assembly.backend.described(task.model, task.loss, task.metrics, task.data.kind)
    described = {**described, "backend": assembly.backend.name}
    if task.frozen:
        described["frozen"] = list(task.frozen)
    if task.precision != "f32":  # Its outputs are those of this arithmetic.
        described["precision"] = task.precision
    notes = list(getattr(task.data, "notes", ()))
    return Model(Form.of(task.data, described["loss"]), described, assembly.engine, state, {**facts, "notes": notes})


def describe_model(assembly: Assembly, folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the model.json of a run that begins."""
    made = model_of(assembly, None, facts)
    record.write_json(folder / MODEL_FILE, sealed(content(made.description, made.form, made.facts)))
