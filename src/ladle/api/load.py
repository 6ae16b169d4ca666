"""`load`: a model from its folder, saved or left by a run, in any process, without the data that it was trained on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ladle.api import weights
from ladle.api.backend import backend_named
from ladle.api.folder import BEST
from ladle.api.form import Form
from ladle.api.model import Model
from ladle.api.model_files import MODEL_FILE, WEIGHTS_FILE, digest_of, opened
from ladle.api.task import Task
from ladle.api.task_file import is_task_file, task_from
from ladle.core import record
from ladle.core.beside import folders_beside
from ladle.core.errors import ArgumentError, CheckpointError, LadleError, must
from ladle.loop.checkpoint import Checkpoints

TOLD = ("status", "why", "final", "seed", "size")
"""What of run.json goes with a model."""


def load(folder: str | os.PathLike[str], *, model: Any = None) -> Model:
    """The model that `run.save` wrote into `folder`, or that the run in `folder` left: in any process, without data.

    - `model`: of a model that is not of `ladle.models`: its module, its factory, its `Task.functions`, a task, or
      "file.py:task". Nothing in the folder is ever run.

    A run's folder is read at its best evaluation's checkpoint, where that is kept, else at the newest.

    Raises `ArgumentError` where the folder is not there or `model` is missing, `CheckpointError` for a damaged or
    hostile one, named; nothing is allocated for it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        remedy = folders_beside(folder, "a folder that run.save or ladle train wrote", (MODEL_FILE, record.RUN_FILE))
        raise ArgumentError(must("folder", "be that of a model", str(folder), "there is no such folder", remedy))
    if not (folder / WEIGHTS_FILE).exists() and (folder / record.RUN_FILE).is_file():
        return _of_run(folder, model)
    facts = opened(folder)
    made = _rebuilt(folder, facts, model)
    path = folder / WEIGHTS_FILE
    wanted = made.engine.weight_types()
    weights.require_fit(path, wanted)
    if digest_of(path) != facts["weights"]:
        raise weights.refused(path, "it has changed since it was written (its digest differs)")
    return replace(made, state=made.engine.with_weights(weights.read(path, wanted)))


def _rebuilt(folder: Path, facts: Mapping[str, Any], model: Any) -> Model:
    """The model that model.json tells of, without its weights. Raises `CheckpointError` for what makes no sense."""
    given = _given(model)
    try:
        form = Form.from_json(facts["form"])
        described = {key: facts[key] for key in ("model", "loss", "metrics", "backend")}
        described |= {key: facts[key] for key in ("precision",) if key in facts}
        backend = backend_named(described["backend"])
        objective = backend.rebuilt(described, given, form.kind)
        if frozen := tuple(facts.get("frozen", ())):
            described["frozen"] = list(frozen)
            objective = backend.frozen(objective, frozen)
        engine = backend.engine(objective, backend.optimizer("sgd"))
        engine.weight_types()
    except LadleError as error:
        raise _hinted(error, facts) from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        why = f"its content makes no model: {type(error).__name__} {error}"
        raise weights.refused(folder / MODEL_FILE, why) from None
    return Model(form, described, engine, None, dict(facts["facts"]), described["loss"] is not None)


def _given(model: Any) -> Any:
    """The model that a user gives: itself, that of a task, or that of a task in a file."""
    if isinstance(model, str):
        if not is_task_file(model):
            why = "a text names a task in a file of yours"
            raise ArgumentError(
                must("model", "be file.py:task, a module or a task", model, why, "model='mine.py:task'")
            )
        model = task_from(model)
    return model.model if isinstance(model, Task) else model


def _hinted(error: LadleError, facts: Mapping[str, Any]) -> LadleError:
    task = facts.get("facts", {}).get("task")
    hint = (
        f" (it was made by {str(task)[:200]})" if isinstance(task, str) and "model must be given" in str(error) else ""
    )
    return type(error)(str(error) + hint)


def _of_run(folder: Path, model: Any) -> Model:
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
    made = _rebuilt(folder, described, asked if model is None and own and asked else model)
    told: dict[str, Any] = {key: facts.get(key) for key in TOLD}
    named = {"task": asked} if own and asked else {}
    found, told["refused"] = _newest(folder, facts, made)
    state = made.engine.with_weights(found)
    return replace(made, state=state, facts={**made.facts, **told, **named})


def _newest(folder: Path, facts: Mapping[str, Any], model: Model) -> tuple[dict[str, Any], list[str]]:
    """Weights by name, of the best checkpoint where that is good, else of the newest; and why not of the best."""
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
            raise weights.refused(folder / place, f"{missing} of the model is not in it")
        return {name: found[one.path] for name, one in types.items()}, reasons
    raise CheckpointError(reasons[-1])
