"""A model on the disk: a folder of two files, and nothing in it that runs. `load.py` reads it.

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ladle.api import weights
from ladle.api.form import Form
from ladle.core import record
from ladle.core.errors import ArgumentError, must

if TYPE_CHECKING:
    from ladle.api.model import Model

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
    with made_whole(folder) as made:
        weights.write(made / WEIGHTS_FILE, model.engine.weights(model.state))
        facts = {**content(model.description, model.form, model.facts), "weights": digest_of(made / WEIGHTS_FILE)}
        record.write_json(made / MODEL_FILE, sealed(facts))
    return folder


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its place once all is written; nothing is left otherwise."""
    made = folder.with_name(f".{folder.name}.{os.getpid()}.saving")
    made.mkdir(parents=True)
    try:
        yield made
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


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


def require_free(folder: Path, overwrite: bool, own: tuple[str, ...]) -> Path:
    """The absolute path of a folder that may be written: new, empty, or with `overwrite` holding `own` files alone."""
    folder = folder.absolute()
    held = {path.name for path in folder.iterdir()} if folder.is_dir() and not folder.is_symlink() else set()
    if not (overwrite and held and held <= set(own)):
        record.require_new(folder, "another folder" + (", or overwrite=True" if held and held <= set(own) else ""))
        if folder.exists() and not folder.is_dir():
            raise ArgumentError(must("folder", "be a new folder", str(folder), "a file is there", "another name"))
    return folder


def digest_of(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size_bytes": path.stat().st_size}


def _seal(facts: Any) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
