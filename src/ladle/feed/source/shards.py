"""`TarShards`: examples in tar files, several members each, read by number."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ladle.core.errors import ArgumentError, DataError, ExampleError, must
from ladle.core.npz import npy_array
from ladle.feed.source.codec import Decoder, Kind, decoded, kind_of
from ladle.feed.source.decode import EXTENSIONS, Pixels
from ladle.feed.source.request import all_bad, require_ids
from ladle.feed.source.stack import stacked
from ladle.feed.source.tar import Member
from ladle.feed.source.tar_index import kept_members
from ladle.feed.source.threads import Threads


@dataclass(frozen=True, eq=False)
class TarShards:
    """Tar files in the layout of WebDataset; implements `ladle.core.protocols.Source`.

    Members whose paths agree up to the first dot of the name are one example: `a/007.jpg` and `a/007.cls` are its
    fields `jpg` and `cls`. They must stand next to each other. Rows are dicts with an entry for each field.

    - `paths`: the tar files, in this order; never compressed. Only their headers are read to find the examples.
    - `fields`: entry -> extension, `{"x": "jpg", "y": "cls"}`, or several as `"jpg;png"`, whichever an example has.
      None takes the extensions of the first example under their own names.
    - `decode`: extension -> a function of bytes, before what is known: images (see `images`), `cls` and `index` (a
      whole number, `i64`), `npy` (never a pickle), `json` (numbers, perhaps nested), `txt` (strings).
    - `images`: mode and size of images. `threads`: that many decode at a time, where they are large; None: one for each
      core.
    - `index`: a folder to keep what the headers said, for the next time; None keeps nothing.
    - `blocks`: `i64[shards]`, examples in each tar. `keys`: what the members of each example are called.

    Raises `DataError` for a tar that is damaged, compressed, empty, or has unsafe members (links, devices, pickles,
    names that lead out of a folder), and for examples that lack a field or have one twice; `ExampleError` with the ids
    of all that cannot be decoded. Layout: https://github.com/webdataset/webdataset, "The WebDataset Format".
    """

    paths: Sequence[Path | str]
    fields: Mapping[str, str] | None = None
    decode: Mapping[str, Decoder] = field(default_factory=dict)
    images: Pixels = field(default_factory=Pixels)
    threads: int | None = None
    index: Path | str | None = None
    keys: list[str] = field(init=False, repr=False)
    blocks: np.ndarray = field(init=False, repr=False)
    _columns: dict[str, _Column] = field(init=False, repr=False)
    _pool: Threads = field(init=False, repr=False)

    def __post_init__(self) -> None:
        paths = [self.paths] if isinstance(self.paths, str | Path) else list(self.paths)
        if not paths:
            raise ArgumentError(must("paths", "name a tar file", paths, "examples lie in them", '["train-0000.tar"]'))
        fields, shards = self.fields, []
        for path in paths:
            examples = _examples(path, kept_members(path, self.index))
            fields = {name: name for name in examples[0]} if fields is None else fields
            shards.append([_chosen(example, fields, path) for example in examples])
        assert fields is not None
        blocks = np.array([len(examples) for examples in shards], np.int64)
        every = [example for examples in shards for example in examples]
        where = _Where(
            [str(path) for path in paths], [one[0].key for one in every], np.repeat(np.arange(len(paths)), blocks)
        )
        columns = {
            name: _column(where, [one[at] for one in every], self._decoder(name, extensions.split(";")))
            for at, (name, extensions) in enumerate(fields.items())
        }
        made = {"paths": where.paths, "fields": dict(fields), "keys": where.keys, "blocks": blocks}
        for name, value in {**made, "_columns": columns, "_pool": Threads(self.threads)}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, ids: np.ndarray) -> dict[str, Any]:
        """Every field of the examples `ids` (`i64[k]`), in that order."""
        ids = require_ids(ids, len(self))
        rows, errors = {}, []
        for name, column in self._columns.items():
            try:
                rows[name] = column.take(ids, self._pool)
            except ExampleError as error:
                errors.append(error)
        if errors:
            raise all_bad(errors)
        return rows

    def fetch(self, ids: np.ndarray) -> list[bytes]:
        """The members of `ids` as they are: `take` without the decoding."""
        return [column.read(id) for column in self._columns.values() for id in ids.tolist()]

    def _decoder(self, name: str, extensions: list[str]) -> Decoder:
        known = {"cls": _number, "index": _number, "npy": npy_array, "json": _json, "txt": _text}
        known |= dict.fromkeys(EXTENSIONS, self.images) | dict(self.decode)
        # "seg.png" may have a decoder of its own, else it is a PNG.
        found = [known.get(one, known.get(one.rpartition(".")[2])) for one in extensions]
        if found[0] is None or any(one != found[0] for one in found):
            why = f"known are {', '.join(sorted(known))}, and one field has one way to decode it"
            remedy = f'decode={{"{extensions[0]}": function}}, or fields={{...}} without {name!r}'
            raise ArgumentError(must("fields", "be of extensions that can be decoded", extensions, why, remedy))
        return found[0]


class _Where(NamedTuple):
    """Of every example: its key, and the number of its tar among `paths`."""

    paths: list[str]
    keys: list[str]
    shard: np.ndarray

    def told(self, id: int) -> str:
        return f"{self.keys[id]!r} in {self.paths[self.shard[id]]}"


@dataclass(frozen=True, eq=False)
class _Column:
    """One field of every example: where its bytes are, and what to make of them. `kind`: None for trees and texts."""

    where: _Where
    offset: np.ndarray
    length_bytes: np.ndarray
    decoder: Decoder
    kind: Kind | None = None

    def take(self, ids: np.ndarray, threads: Threads) -> Any:
        if self.kind is not None:
            return decoded(ids, self.read, self.decoder, self.kind, self.where.told, threads)
        items, errors = [], []
        for id in ids.tolist():
            try:
                items.append(self.decoder(self.read(id)))
            except (DataError, OSError) as error:
                errors.append(ExampleError(f"example {id} ({self.where.told(id)}): {error}", [id]))
        if errors:
            raise all_bad(errors)
        return stacked(items, ids.tolist()) if items else stacked([self.decoder(self.read(0))], [0], count=0)

    def read(self, id: int) -> bytes:
        """The bytes of an example, from the tar as it lies: no place in it is remembered, any thread may ask."""
        file = os.open(self.where.paths[self.where.shard[id]], os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.pread(file, self.length_bytes[id], self.offset[id])
        finally:
            os.close(file)
        if len(found) != self.length_bytes[id]:
            got, why = len(found), "the tar became shorter after it was indexed"
            raise DataError(must("member", f"have {self.length_bytes[id]} bytes", got, why, "opening it again"))
        return found


def _column(where: _Where, members: list[Member], decoder: Decoder) -> _Column:
    offset, length = (np.array([member[at] for member in members], np.int64) for at in (2, 3))
    column = _Column(where, offset, length, decoder)
    if decoder in (_json, _text):
        return column
    return replace(column, kind=kind_of(column.read, decoder, len(members), where.told))


def _examples(path: Path | str, members: list[Member]) -> list[dict[str, Member]]:
    """The members of each example of a tar by extension. Raises `DataError` where there is none, or one twice."""
    found: list[dict[str, Member]] = []
    seen = set()
    for key, group in groupby(members, lambda member: member.key):
        example: dict[str, Member] = {}
        for member in group:
            if member.extension in example:
                raise _twice(path, f"{key}.{member.extension}")
            example[member.extension] = member
        if key in seen:
            raise _twice(path, key)
        seen.add(key)
        found.append(example)
    if not found:
        raise DataError(must("shard", "have an example", str(path), "it holds no files", "leaving it out"))
    return found


def _twice(path: Path | str, name: str) -> DataError:
    why, remedy = "the members of an example stand next to each other, each once", "writing the tar in order of name"
    return DataError(must("member", "have a name of its own", f"{name!r} twice in {str(path)!r}", why, remedy))


def _chosen(example: dict[str, Member], fields: Mapping[str, str], path: Path | str) -> list[Member]:
    """The member of each field, in order."""
    chosen = []
    for name, extensions in fields.items():
        having = [example[one] for one in extensions.split(";") if one in example]
        if len(having) != 1:
            key, has = next(iter(example.values())).key, ", ".join(example)
            why, remedy = "every example needs each field once", f'fields={{"{name}": "ext;other"}} of what they have'
            got = f"{key!r} in {str(path)!r} with {has}"
            raise DataError(must("example", f"have a member .{extensions}", got, why, remedy))
        chosen.append(having[0])
    return chosen


def _number(encoded: bytes) -> np.int64:
    try:
        return np.int64(encoded.decode("ascii"))
    except (ValueError, OverflowError):
        got, remedy = encoded[:20], "decode= with a function of its bytes"
        raise DataError(must("class", "be a whole number", got, "it becomes an i64", remedy)) from None


def _json(encoded: bytes) -> Any:
    try:
        return json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise DataError(must("json", "be valid", encoded[:20], str(error), "decode= with a function")) from None


def _text(encoded: bytes) -> str:
    try:
        return encoded.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(must("text", "be UTF-8", encoded[:20], str(error), "decode= with a function")) from None
