"""`on_disk`: what `--stream` reads: a table where it lies, under the contract of `ladle.data.load`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.dialect import Spelling
from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.npy import require_file
from ladle.data.loader import TABLES, TEXT_TABLES

ARROW = (".arrow", ".feather", ".ipc")
"""Endings of files that hold tables beside those that `ladle.data.load` reads."""


def on_disk(
    data: str | os.PathLike[str],
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
) -> Any:
    """`Data` whose training rows are read as they are needed: of a table, a folder or a pattern of them, or any source.

    The arguments are those of `ladle.data.load`, and so are columns, kinds, classes, split and values. A text table is
    written once as Parquet, in the user's cache. Raises `DataError` as `load` does, `ArgumentError` without a target
    where the source is no table.
    """
    text = os.fspath(data)
    paths = tables_of(text)
    said = Spelling(delimiter, quote, encoding, header, decimal, tuple(na))
    if paths is None:
        given = {"drop": drop, "na": na, "categories": categories, "as_": as_, "decimal": decimal, "kind": kind}
        return _other(text, target, valid, given)
    from ladle.data.kinds import asked_kinds
    from ladle.data.lane import table_on_disk
    from ladle.data.stored import names_of, stored
    from ladle.feed.source.parquet import Parquet
    from ladle.feed.source.remote import kept_folder

    notes: tuple[str, ...] = ()
    if _is_text(paths[0]):
        how: Any = {"said": said, "as_": as_, "categories": categories, "drop": drop}
        made = stored(paths, kept_folder("folder", "converted"), **how)
        paths, notes, asked, drop = list(made.files), made.notes, made.asked, ()
    else:
        if said != Spelling():
            got = next(value for value in (*vars(said).values(),) if value not in (None, ()))
            why = "Parquet says itself what its cells are"
            raise ArgumentError(must("options of text tables", "be left out here", got, why, "leaving them out"))
        asked = asked_kinds(as_, categories, names_of(paths[0]))
    open_ = partial(Parquet, [str(path) for path in paths])
    how = {"target": target, "kind": kind, "valid": valid, "seed": seed, "embed": embed, "drop": drop}
    return table_on_disk(paths, open_, name=Path(text).name, asked=asked, notes=notes, **how)


def _is_text(path: Path) -> bool:
    name = path.name.lower()
    return not name.endswith((".parquet", ".pq", *ARROW)) and any(ending in name for ending in TEXT_TABLES)


def tables_of(text: str) -> list[Path] | None:
    """The files of tables that a path, a folder or a pattern stands for; None where these are none."""
    if "://" in text:
        return None
    path, endings = Path(text), (*TABLES, *ARROW)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.name.lower().endswith(endings) and file.is_file())
        if not found:
            return None
    elif any(mark in text for mark in "*?["):
        found = [Path(one) for one in sorted(glob(text, recursive=True))]
        if not found:
            why, remedy = "no file has a name like that", "a pattern in quotes, such as 'parts/*.csv'"
            raise DataError(must("data", "be a pattern of files", text, why, remedy))
    else:
        found = [path]
    if not all(file.name.lower().endswith(endings) for file in found):
        return None
    if len({_is_text(file) for file in found}) > 1:
        got, why = f"{found[0].name} to {found[-1].name}", "a folder is one table"
        raise DataError(must("data", "be files of one kind", got, why, f"{text}/*.csv, or a folder for each kind"))
    for file in found:
        require_file(file)
    return found


def _other(text: str, target: str | None, valid: float, given: Mapping[str, Any]) -> Any:
    """Anything else that the feed opens, as it is."""
    if target is None:
        why = "what this source calls its target is not known"
        raise ArgumentError(must("target", "be given with stream here", None, why, "target=NAME"))
    from ladle.data import streamed
    from ladle.feed.source.open import open_source

    for name, value in given.items():
        if value not in (None, (), []):
            why, remedy = "rows of this source are used as they are stored", "leaving it out, or a .parquet file"
            raise ArgumentError(must(name, "be left out with stream here", value, why, remedy))
    source = open_source(text, y=target)
    unseen = sorted(set(source.take(np.arange(1))) - {"x", "y"})
    if unseen:
        why, remedy = "a built-in model reads x alone", "a task file (file.py:task) whose model reads them"
        raise DataError(must("data", "be rows of x and y", ", ".join(unseen), why, remedy))
    return streamed(source, valid=valid, name=Path(text).name)
