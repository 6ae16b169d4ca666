"""A model's outputs as a StableHLO program, for programs that have no ladle: a folder of three files.

out/
  program.bin            what `jax.export` serialised: (weights..., inputs...) -> outputs
  weights.safetensors    the weights, in the order in which the program takes them
  export.json            what the arguments are, how rows become inputs, what outputs mean, digests

    program = jax.export.deserialize(bytearray(open("out/program.bin", "rb").read()))
    outputs = program.call(*weights, x)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ladle.api import weights
from ladle.api.model_files import FORMAT, WEIGHTS_FILE, made_whole, require_free
from ladle.core import record
from ladle.core.errors import ArgumentError, RunError, must

if TYPE_CHECKING:
    from ladle.api.model import Model

PROGRAM_FILE = "program.bin"
EXPORT_FILE = "export.json"
TRIED = (1, 3, 64)
"""Numbers of rows at which the written program is held against the model."""


def export(model: Model, folder: Path, *, overwrite: bool = False) -> Path:
    """Write the program of `model` into `folder`, read it again and hold its outputs against the model's, bit for bit.

    Raises `ArgumentError` where the model's inputs are not known or JAX cannot export it; `RunError` where the program
    that was read again answers otherwise, and then nothing is left in `folder`.
    """
    if model.form.inputs is None:
        why = "a program is made for inputs of one type and shape"
        raise ArgumentError(must("model", "know what its inputs look like", None, why, "a task on arrays or a table"))
    folder = require_free(folder, overwrite, (PROGRAM_FILE, WEIGHTS_FILE, EXPORT_FILE))
    program, any_rows = model.engine.exported(model.state, _tried(model, TRIED[-1]))
    with made_whole(folder) as made:
        (made / PROGRAM_FILE).write_bytes(program)
        held = model.engine.weights(model.state)
        weights.write(made / WEIGHTS_FILE, held)
        read = (made / PROGRAM_FILE).read_bytes()
        for rows in TRIED if any_rows else TRIED[-1:]:
            _require_same(model, read, _tried(model, rows))
        record.write_json(made / EXPORT_FILE, _facts(model, program, any_rows, held))
    return folder


def _facts(model: Model, program: bytes, any_rows: bool, held: Mapping[str, np.ndarray]) -> dict[str, Any]:
    known = [{"name": name, "dtype": str(one.dtype), "shape": list(one.shape)} for name, one in held.items()]
    return {
        "format": FORMAT,
        "program": {"sha256": hashlib.sha256(program).hexdigest(), "size_bytes": len(program)},
        "rows": "any" if any_rows else TRIED[-1],
        "checked_rows": list(TRIED if any_rows else TRIED[-1:]),
        "weights": known,
        "inputs": model.form.inputs,
        "form": model.form.to_json(),
        "model": model.description["model"],
        "versions": record.versions(),
    }


def _tried(model: Model, rows: int) -> Any:
    """Inputs to try: small whole numbers, which every type and any vocabulary has."""
    return _filled(model.form.inputs or {}, np.random.default_rng(0), rows)


def _filled(inputs: Mapping[str, Any], rng: np.random.Generator, rows: int) -> Any:
    if "of" in inputs:
        return {key: _filled(leaf, rng, rows) for key, leaf in inputs["of"].items()}
    made = (
        rng.normal(size=(rows, *inputs["shape"])) if "float" in inputs["dtype"] else np.zeros((rows, *inputs["shape"]))
    )
    return made.astype(np.dtype(inputs["dtype"]))


def _require_same(model: Model, program: bytes, x: Any) -> None:
    mine = model.engine.predict(model.state, x)
    its = model.engine.run_exported(program, model.state, x)
    if mine.dtype != its.dtype or mine.shape != its.shape or mine.tobytes() != its.tobytes():
        got = f"{its.dtype}{its.shape} that differ from the model's {mine.dtype}{mine.shape}"
        why = "what was written would not be this model"
        raise RunError(must("program", "answer as the model does", got, why, "ladle predict, and a report of this"))
