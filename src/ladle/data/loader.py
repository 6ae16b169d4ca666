"""`load`: which reader opens what. A known name, or a file by its ending."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.beside import close_name, names_beside
from ladle.core.dialect import Spelling
from ladle.core.errors import ArgumentError, DataError, must, nearest
from ladle.core.npy import require_file
from ladle.data import idx, names, npy
from ladle.data.dataset import Data, build
from ladle.data.refuse import listed
from ladle.data.target import whole

TEXT_TABLES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson")
PACKED = (".gz", ".bz2", ".xz")
TABLES = (*TEXT_TABLES, ".parquet", ".pq", *(table + pack for table in TEXT_TABLES for pack in PACKED))
ENDINGS = (*TABLES, ".npz", ".npy", ".gz", ".idx")
PAIRS = (("x", "y"), ("X", "y"), ("x_train", "y_train"), ("X_train", "y_train"))
"""Keys of inputs and targets that are looked for in a `.npz` file."""


def load(
    name_or_path: str | os.PathLike[str],
    *,
    target: str | None = None,
    valid: float = 0.2,
    seed: int = 0,
    kind: str | None = None,
    embed: int = 32,
    drop: Sequence[str] = (),
    na: Sequence[str] = (),
    decimal: str | None = None,
    delimiter: str | None = None,
    quote: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    categories: Sequence[str] = (),
    as_: Sequence[str] | Mapping[str, str] = (),
) -> Data:
    """`Data` from a known name (`ladle data` lists them) or a file.

    | ending | what is expected |
    |---|---|
    | `.csv` `.tsv` `.jsonl` (also `.gz`) `.parquet` | a table; `target` names the column to predict |
    | `.npz` | keys x and y (or X and y, x_train and y_train); `target` names another key for y |
    | `.npy` | a matrix; its last column, or column number `target`, is to be predicted |
    | `images.npy` | more axes than two, with `labels.npy` beside it |
    | `X.npy` | inputs, with `y.npy` beside it |
    | idx, idx `.gz` | a file of images, with its file of labels beside it |

    **Arguments**

    - `target`: column, key or column number to predict. By default, in tables, a column called target, label,
      class or y, else the last one.
    - `valid`, `seed`: share and choice of the rows to validate on, see `ladle.data.parts.split`.
    - `kind`: "classification" or "regression", to overrule what would be inferred.
    - `embed`: categories with more levels than this become codes for an embedding, others one 0/1 column a level.
    - `drop`: columns of a table to leave out.
    - `na`: words of a table that also mean missing, `column=word` in one column alone. `decimal`: "," or ".".
    - `categories`: columns that are categories whatever they look like. `as_`: what columns are, `["zip=category"]`:
      number, category, text, date, or id (left out).
    - `delimiter`, `quote` ("none"), `encoding`, `header` (of the first line): how a text table is written, where its
      content does not show it.

    Raises `DataError`, one line, for what cannot be used: unknown names (the nearest is offered), missing, empty,
    truncated or lying files, text columns, missing targets.

    >>> load("digits").describe()[:64]
    'digits: classification, 1,438 rows to train on, 359 to validate;'
    """
    options: dict[str, Any] = {"valid": valid, "seed": seed, "kind": kind}
    if not isinstance(name_or_path, str | os.PathLike):
        why, remedy = "a table in memory has its target beside it", "ladle.data.arrays(X, y), or the path of its file"
        raise DataError(must("data", "be a known name or a path", type(name_or_path).__name__, why, remedy))
    text = os.fspath(name_or_path)
    of_text = {"decimal": decimal, "delimiter": delimiter, "quote": quote, "encoding": encoding, "header": header}
    said = Spelling(na=require_words("na", na), **of_text)  # type: ignore[arg-type]
    of_table = {"drop": drop, "na": na, **of_text, "categories": categories, "as_": as_}
    known = names.known_name(text)
    if known is not None:
        _refuse_options(text, target=target, **of_table)
        return names.load_known(known, **options)
    path, lower = Path(text), text.lower()
    _require_there(path, text)
    if lower.endswith(TABLES):
        if lower.endswith((".parquet", ".pq")):
            _refuse_options(text, na=na, **of_text)
        reading = {
            "drop": require_words("drop", drop),
            "said": said,
            "categories": require_words("categories", categories),
            "as_": as_,
        }
        return _table(path, reading, target=target, embed=embed, **options)
    _refuse_options(text, **of_table)
    if lower.endswith(".npz"):
        return _npz(path, target, options)
    if lower.endswith(".npy"):
        return _npy(path, target, options)
    if idx.is_idx(path):
        _refuse_options(text, target=target)
        return _images(path, idx.read, options)
    because = "the reader is chosen by the ending"
    raise DataError(
        must("data", "end in .csv, .tsv, .jsonl, .parquet, .npz, .npy or idx", path.name, because, "another format")
    )


def _require_there(path: Path, text: str) -> None:
    """Refuse what is no file, with the nearest name: of the files beside it, or of the known data sets."""
    beside, known = close_name(path.name, names_beside(path, ENDINGS)), close_name(text, names.REGISTRY)
    if path.exists() or beside is not None or (known is None and _looks_like_a_path(text)):
        require_file(path)
        return
    because = "it is neither a known name nor a file"
    raise DataError(must("data", "be a known name or a file", text, because, nearest(text, names.REGISTRY)))


def _table(path: Path, reading: dict[str, Any], *, target: str | None, embed: int, **options: Any) -> Data:
    # Here, because this is what needs pyarrow.
    from ladle.data import columns, tables

    return columns.to_data(tables.read(path, **reading), target=target, embed=embed, **options)


def require_words(name: str, words: Sequence[str]) -> tuple[str, ...]:
    if isinstance(words, str):
        why = "a word alone would be taken letter by letter"
        raise ArgumentError(must(name, "be a list of words", words, why, f"{name}=[{words!r}]"))
    return tuple(words)


def _npz(path: Path, target: str | None, options: dict[str, Any]) -> Data:
    held = npy.read_npz(path)
    x_key, y_key = _keys(path, list(held), target)
    test = (x_key.replace("train", "test"), y_key.replace("train", "test"))
    has_test = "train" in y_key and set(test) <= set(held)
    note = f"Read {x_key} (inputs) and {y_key} (target) from {path.name}."
    tests = (held[test[0]], held[test[1]]) if has_test else None
    return build(held[x_key], held[y_key], name=path.name, test=tests, notes=(note,), **options)


def _keys(path: Path, held: list[str], target: str | None) -> tuple[str, str]:
    if target is None:
        found = next((pair for pair in PAIRS if set(pair) <= set(held)), None)
        if found is None:
            got = f"{path.name} with {listed(sorted(held))}"
            raise DataError(
                must("data", "hold the keys x and y", got, "inputs and target are found by key", "target=KEY")
            )
        return found
    if target not in held:
        raise DataError(must("target", "be a key of the file", target, f"{path.name} lacks it", nearest(target, held)))
    others = [key for key in held if key != target]
    x_key = next((key for key in ("x", "X", target.replace("y", "x"), target.replace("y", "X")) if key in others), None)
    if x_key is None and len(others) != 1:
        because = (
            f"the inputs could be any of {listed(sorted(others))}" if others else "no other key is left for the inputs"
        )
        raise DataError(must("data", "hold the inputs under the key x", path.name, because, "saving them as x"))
    return x_key or others[0], target


def _npy(path: Path, target: str | None, options: dict[str, Any]) -> Data:
    matrix = npy.read_npy(path)
    beside = path.with_name(path.name.replace("X", "y").replace("x", "y"))
    if path.stem.lower() in ("x", "x_train") and beside != path and beside.exists():
        _refuse_options(path.name, target=target)
        y = npy.read_npy(beside)
        note = f"Inputs from {path.name}, target from {beside.name} beside it."
        return build(matrix, _as_labels(y), name=path.name, notes=(note,), **options)
    if matrix.ndim != 2 and target is None and "images" in path.name:
        return _images(path, npy.read_npy, options)
    if matrix.ndim != 2 or matrix.shape[1] < 2:
        because = "one column is the target and the others are inputs"
        raise DataError(
            must("data", "be a matrix with two columns or more", matrix.shape, because, "an .npz with x and y")
        )
    column = _column_number(target, matrix.shape[1])
    y = _as_labels(matrix[:, column])  # All columns share one type: fractions tell amounts from classes.
    why = "the last one" if target is None else "as asked"
    note = f"Target: column {column} of {matrix.shape[1]} (counted from 0), {why}; another one is given as target."
    return build(np.delete(matrix, column, axis=1), y, name=path.name, notes=(note,), **options)


def _column_number(target: str | None, width: int) -> int:
    try:
        column = -1 if target is None else int(target)
    except ValueError:
        column = width
    if not -width <= column < width:
        because = "an .npy matrix has no column names"
        raise DataError(must("target", f"be a column number from 0 to {width - 1}", target, because, "target=-1"))
    return column % width


def _images(path: Path, read: Any, options: dict[str, Any]) -> Data:
    labels = idx.labels_beside(path)
    if not labels.exists():
        because = "an image without its label teaches nothing"
        raise DataError(must("data", "have its file of labels beside it", path.name, because, f"adding {labels.name}"))
    note = f"Images from {path.name}, labels from {labels.name} beside it."
    y = _as_labels(read(labels))
    if options["kind"] is not None or y.dtype.kind not in "iu" or 2 * len(np.unique(y)) > y.size:
        return build(read(path), y, name=path.name, notes=(note,), **options)
    # Labels are classes where each is met several times, however many there are.
    made = build(read(path), y, name=path.name, notes=(note,), **{**options, "kind": "classification"})
    notes = (one.replace("that was asked for", f"{labels.name} says so") for one in made.notes)
    return replace(made, notes=tuple(notes))


def _as_labels(y: np.ndarray) -> np.ndarray:
    """Floats that are whole throughout as whole numbers."""
    if y.dtype.kind == "f" and y.size and np.isfinite(y).all() and whole(y).all():
        return y.astype(np.int64)
    return y


def _refuse_options(text: str, **given: Any) -> None:
    for option, value in given.items():
        if value not in (None, (), []):
            because = "the data comes with its target" if option == "target" else "it is no text table"
            because = "the data has no named columns" if option == "drop" else because
            raise ArgumentError(must(option, "be left out here", value, f"{text}: {because}", f"{option}=None"))


def _looks_like_a_path(text: str) -> bool:
    return "/" in text or os.sep in text or text.lower().endswith(ENDINGS)
