"""`open_source`: the source for a path or URL, by how its name ends."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ladle.core.errors import ArgumentError, DataError, must, nearest
from ladle.core.protocols import Source
from ladle.feed.source.blob import open_blob
from ladle.feed.source.convert import converted
from ladle.feed.source.images import ImageFolder
from ladle.feed.source.memmap import Mapped
from ladle.feed.source.parquet import Parquet
from ladle.feed.source.readers import ENDINGS
from ladle.feed.source.remote import is_url, kept_folder, localise
from ladle.feed.source.shards import TarShards
from ladle.feed.source.tokens import Tokens

_BY_ENDING: dict[str, Callable[..., Any]] = {
    ".npy": Mapped,
    **dict.fromkeys(ENDINGS, Parquet),
    **dict.fromkeys((".csv", ".tsv"), converted),
    **dict.fromkeys((".bin", ".tokens"), Tokens),
    ".npz": open_blob,
    ".tar": TarShards,
}


def open_source(path: Any, *, cache: str | Path | None = None, **options: Any) -> Source:
    """The source for a file, a folder, a pattern with `*`, a list of these, or a URL.

        .npy, a folder of them, a tree of paths     Mapped          a one-dimensional .npy with `length=`: Tokens
        .parquet .pq .arrow .feather .ipc           Parquet         also folders, patterns and URLs of them
        .csv .tsv                                   converted       written once as Parquet
        .bin .tokens                                Tokens          `length=` and `dtype=`
        .tar                                        TarShards       also several; members that share a name
        .npz with NAME_bytes and NAME_offsets       open_blob       encoded examples end to end
        a folder of folders                         ImageFolder     images, a folder for each class

    - `options`: those of the source. `cache`: the folder for copies of what cannot be read in place (tables of text,
      and `.npy` and token files behind a URL); the user's cache of ladle by default.

    Raises `DataError` for a path of another ending or a folder of several kinds, `ArgumentError` for an option that
    the source does not have, and as the source does.

    >>> import tempfile, numpy as np
    >>> path = tempfile.mkdtemp() + "/x.npy"
    >>> np.save(path, np.arange(3))
    >>> len(open_source(path))
    3
    """
    if _is_image_folder(path):
        _require_options(ImageFolder, options)
        return ImageFolder(path, **options)
    ending = _ending(path)
    make = _BY_ENDING[ending]
    if ending == ".npy" and "length" in options:
        make = Tokens
    if make is not Parquet and is_url(path):
        path = localise(path, kept_folder("cache", "copies") if cache is None else cache)
    if make is converted and cache is not None:
        options = {"folder": cache, **options}
    _require_options(make, options)
    return make(path, **options)


def _is_image_folder(path: Any) -> bool:
    """A folder that holds folders, and no file of its own that says what it is."""
    if not isinstance(path, str | Path) or is_url(path) or not Path(path).is_dir():
        return False
    entries = list(Path(path).iterdir())
    return any(one.is_dir() for one in entries) and not any(one.suffix.lower() in _BY_ENDING for one in entries)


def _ending(path: Any) -> str:
    """The ending that says which source it is."""
    if isinstance(path, dict | tuple):
        return ".npy"
    if isinstance(path, list):
        if not path:
            raise DataError(must("data", "be at least one file", path, "there is nothing to read", '["a.parquet"]'))
        return _ending(path[0])
    if not is_url(path) and Path(path).is_dir():
        return _ending_in(Path(path))
    name = str(path).rstrip("/").rpartition("/")[2].lower()
    ending = f".{name.rpartition('.')[2]}" if "." in name else ""
    if ending in _BY_ENDING:
        return ending
    if is_url(path) and not ending:  # A folder of a store: only formats of many files come in those.
        return ".parquet"
    why = "the ending says how a file is read"
    raise DataError(must("data", "end in a known way", str(path), why, nearest(ending or name, _BY_ENDING)))


def _ending_in(folder: Path) -> str:
    found = {file.suffix.lower() for file in folder.iterdir() if file.is_file()} & _BY_ENDING.keys()
    kinds = {_BY_ENDING[ending] for ending in found}
    if len(kinds) > 1:
        why, remedy = "a folder is one source", f'"{folder}/*{min(found)}", or a folder for each kind'
        raise DataError(must("data", "be a folder of one kind of files", ", ".join(sorted(found)), why, remedy))
    if kinds and not kinds <= {Mapped, Parquet}:
        why, remedy = (
            "files of this kind are opened one by one",
            f"the path of one, or Joined for all {min(found)} files",
        )
        raise DataError(must("data", "be a folder of .npy or .parquet files", min(found), why, remedy))
    if not found:
        why, remedy = "no file in it ends in a known way", f"a folder of {', '.join(sorted(_BY_ENDING))} files"
        raise DataError(must("data", "hold data", str(folder), why, remedy))
    return min(found)


def _require_options(make: Callable[..., Any], options: dict[str, Any]) -> None:
    known = list(inspect.signature(make).parameters)[1:]
    if make is converted:
        known = [*known, "dtype", "fill", "cache_blocks"]
    for name in options:
        if name not in known or name == "options":
            why = f"{make.__name__} has others"
            raise ArgumentError(
                must(name, f"be an option of {make.__name__}", options[name], why, nearest(name, known))
            )
    if make is Tokens and "length" not in options:
        why, remedy = "a file of tokens is cut into windows", "length=1024"
        raise ArgumentError(must("length", "be given", None, why, remedy))
