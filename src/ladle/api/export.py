"""A model's outputs as a program of its library's, for programs that have no ladle: a folder of two or three files.

out/
  program.bin            of JAX: StableHLO that `jax.export` serialised, (weights..., inputs...) -> outputs
  weights.safetensors    of JAX: the weights, in the order in which the program takes them
  program.pt2            of torch: what `torch.export` saved, inputs -> outputs; its weights are in it
  export.json            what the arguments are, how rows become inputs, what outputs mean, digests

    program = jax.export.deserialize(bytearray(open("out/program.bin", "rb").read()))
    outputs = program.call(*weights, x)

    outputs = torch.export.load("out/program.pt2").module()(x)
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
from ladle.core.backend import Program
from ladle.core.errors import ArgumentError, RunError, must

if TYPE_CHECKING:
    from ladle.api.model import Model

PROGRAM_FILES = ("program.bin", "program.pt2")
EXPORT_FILE = "export.json"
TRIED = (1, 3, 64)
"""Numbers of rows at which the written program is held against the model."""


def export(model: Model, folder: Path, *, overwrite: bool = False) -> Path:
    """Write the program of `model` into `folder`, read it again and hold its outputs against the model's, bit for bit.

    Raises `ArgumentError` where the model's inputs are not known or its library cannot export it; `RunError` where
    the program that was read again answers otherwise, and then nothing is left in `folder`.
    """
    if model.form.inputs is None:
        why = "a program is made for inputs of one type and shape"
        raise ArgumentError(must("model", "know what its inputs look like", None, why, "a task on arrays or a table"))
    folder = require_free(folder, overwrite, (*PROGRAM_FILES, WEIGHTS_FILE, EXPORT_FILE))
    program = model.engine.exported(model.state, _tried(model, TRIED[-1]))
    with made_whole(folder) as made:
        (made / program.file).write_bytes(program.content)
        held = {} if program.whole else model.engine.weights(model.state)
        if not program.whole:
            weights.write(made / WEIGHTS_FILE, held)
        read = (made / program.file).read_bytes()
        for rows in TRIED if program.any_rows else TRIED[-1:]:
            _require_same(model, read, _tried(model, rows))
        record.write_json(made / EXPORT_FILE, _facts(model, program, held))
    return folder


def _facts(model: Model, program: Program, held: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """`held`: the weights that the program takes."""
    known = [{"name": name, "dtype": str(one.dtype), "shape": list(one.shape)} for name, one in held.items()]
    digest = hashlib.sha256(program.content).hexdigest()
    return {
        "format": FORMAT,
        "program": {"file": program.file, "sha256": digest, "size_bytes": len(program.content)},
        "rows": "any" if program.any_rows else TRIED[-1],
        "checked_rows": list(TRIED if program.any_rows else TRIED[-1:]),
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
