"""A model on the disk: a folder of two files, and nothing in it that runs.

model/
  model.json             format, model, form of rows and outputs, notes, versions, metrics, digests of both files
  weights.safetensors    every weight by name

`model.json` has a digest of its own content, and one of the weights. Names of files are never read from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladle.api import weights
from ladle.api.backend import backend_named
from ladle.api.form import Form
from ladle.api.model import Model
from ladle.api.task import Task
from ladle.api.task_file import is_task_file, task_from
from ladle.core import record
from ladle.core.beside import folders_beside
from ladle.core.errors import ArgumentError, LadleError, must

MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
FORMAT = 1
LARGEST_BYTES = 256 << 20
"""Of model.json: names of levels and words of texts can be many."""


def save(model: Model, folder: Path, *, overwrite: bool = False) -> Path:
    """Write `model` into `folder`, whole or not at all: it is made beside it and then gets its name.

    Raises `ArgumentError` where something else is there, or a model unless `overwrite`.
    """
    folder = require_free(folder, overwrite, (MODEL_FILE, WEIGHTS_FILE))
    made = folder.with_name(f".{folder.name}.{os.getpid()}.saving")
    made.mkdir(parents=True)
    try:
        weights.write(made / WEIGHTS_FILE, model.engine.weights(model.state))
        facts = {**content(model.description, model.form, model.facts), "weights": _digest(made / WEIGHTS_FILE)}
        record.write_json(made / MODEL_FILE, sealed(facts))
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def load(folder: str | os.PathLike[str], *, model: Any = None) -> Model:
    """The model that `run.save` wrote into `folder`, or that the run in `folder` left: in any process, without data.

    - `model`: of a model that is not of `ladle.models`: its module, its factory, its `Task.functions`, a task, or
      "file.py:task". Nothing in the folder is ever run.

    A run's folder is read at its best evaluation's checkpoint, where that is kept, else at the newest.

    Raises `ArgumentError` where the folder is not there or `model` is missing, `CheckpointError` for a damaged or hostile
    one, named; nothing is allocated for it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        remedy = folders_beside(folder, "a folder that run.save or ladle train wrote", (MODEL_FILE, record.RUN_FILE))
        raise ArgumentError(must("folder", "be that of a model", str(folder), "there is no such folder", remedy))
    if not (folder / WEIGHTS_FILE).exists() and (folder / record.RUN_FILE).is_file():
        from ladle.api.run_model import model_of_run  # A saved model needs none of it.

        return model_of_run(folder, model)
    facts = opened(folder)
    made = rebuilt(folder, facts, model)
    path = folder / WEIGHTS_FILE
    wanted = made.engine.weight_types()
    weights.require_fit(path, wanted)
    if _digest(path) != facts["weights"]:
        raise weights.refused(path, "it has changed since it was written (its digest differs)")
    return with_state(made, made.engine.with_weights(weights.read(path, wanted)))


def content(description: Mapping[str, Any], form: Form, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What model.json says but for the weights."""
    own = {"format": FORMAT, "versions": record.versions(), **description, "form": form.to_json()}
    return {**own, "facts": {key: value for key, value in facts.items() if key != "versions"}}


def sealed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """`facts` with a digest of them."""
    plain = record.plain(facts)
    return {**plain, "digest": _seal(plain)}


def opened(folder: Path) -> dict[str, Any]:
    """model.json of `folder`, whole and of this format. Raises `CheckpointError`."""
    path = folder / MODEL_FILE
    if not path.is_file():
        raise weights.refused(path, "it is missing")
    if path.stat().st_size > LARGEST_BYTES:
        raise weights.refused(path, f"it has {path.stat().st_size:,} bytes, more than a description needs")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        digest = facts.pop("digest")
        whole = digest == _seal(facts)
    except (ValueError, KeyError, AttributeError, OSError, RecursionError) as error:
        raise weights.refused(path, f"it cannot be read: {type(error).__name__} {error}") from None
    if not whole:
        raise weights.refused(path, "it has changed since it was written (its digest differs)")
    if facts.get("format") != FORMAT:
        raise weights.refused(path, f"it has format {facts.get('format')}, this ladle reads {FORMAT}")
    return facts


def rebuilt(folder: Path, facts: Mapping[str, Any], model: Any) -> Model:
    """The model that model.json tells of, without its weights. Raises `CheckpointError` for what makes no sense."""
    given = _given(model)
    try:
        form = Form.from_json(facts["form"])
        described = {key: facts[key] for key in ("model", "loss", "metrics", "backend")}
        backend = backend_named(described["backend"])
        objective = backend.rebuilt(described, given, form.kind)
        engine = backend.engine(objective, backend.optimizer("sgd"))
        engine.weight_types()
    except LadleError as error:
        raise _hinted(error, facts) from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        why = f"its content makes no model: {type(error).__name__} {error}"
        raise weights.refused(folder / MODEL_FILE, why) from None
    return Model(form, described, engine, None, dict(facts["facts"]), described["loss"] is not None)


def with_state(model: Model, state: Any) -> Model:
    return Model(model.form, model.description, model.engine, state, model.facts, model.judges)


def require_free(folder: Path, overwrite: bool, own: tuple[str, ...]) -> Path:
    """The absolute path of a folder that may be written: new, empty, or with `overwrite` holding `own` files alone."""
    folder = folder.absolute()
    held = {path.name for path in folder.iterdir()} if folder.is_dir() and not folder.is_symlink() else set()
    if not (overwrite and held and held <= set(own)):
        record.require_new(folder, "another folder" + (", or overwrite=True" if held and held <= set(own) else ""))
        if folder.exists() and not folder.is_dir():
            raise ArgumentError(must("folder", "be a new folder", str(folder), "a file is there", "another name"))
    return folder


def _given(model: Any) -> Any:
    """The model that a user gives: itself, that of a task, or that of a task in a file."""
    if isinstance(model, str):
        if not is_task_file(model):
            why = "a text names a task in a file of yours"
            raise ArgumentError(must("model", "be file.py:task, a module or a task", model, why, "model='mine.py:task'"))
        model = task_from(model)
    return model.model if isinstance(model, Task) else model


def _hinted(error: LadleError, facts: Mapping[str, Any]) -> LadleError:
    task = facts.get("facts", {}).get("task")
    hint = f" (it was made by {str(task)[:200]})" if isinstance(task, str) and "model must be given" in str(error) else ""
    return type(error)(str(error) + hint)


def _digest(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size_bytes": path.stat().st_size}


def _seal(facts: Any) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
