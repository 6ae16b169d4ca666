"""`ImageFolder`: a folder for each class, a file for each example."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.feed.source.codec import Kind, decoded, kind_of
from ladle.feed.source.decode import EXTENSIONS, MAX_PIXELS, Mode, Pixels
from ladle.feed.source.request import require_ids
from ladle.feed.source.threads import Threads


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images in `root/class/name.jpg`; implements `ladle.core.protocols.Source`.

    Rows are `{"x": u8[k, height, width, channels], "y": i32[k]}`; `y` numbers the classes. Classes and files are in
    order of name, so the same files have the same ids everywhere. Folders inside a class belong to it; hidden files
    and files that are no images by name (`decoding.EXTENSIONS`) are left out.

    - `size`: `(height, width)` to resize to; None where all images have one size. `mode`, `max_pixels`: see
      `ladle.feed.source.decode.decode`.
    - `threads`: that many decode at a time, where examples are large; None: one for each core.
    - `classes`: their names. `files`: every file, relative to `root`.

    Raises `DataError` for a folder without classes, a class without images, links that lead out of `root`, images of
    different sizes where `size` is None; `ExampleError` with ids and files of all images that cannot be read.
    """

    root: Path | str
    size: tuple[int, int] | None = None
    mode: Mode = "RGB"
    max_pixels: int = MAX_PIXELS
    threads: int | None = None
    classes: tuple[str, ...] = field(init=False, repr=False)
    files: list[str] = field(init=False, repr=False)
    labels: np.ndarray = field(init=False, repr=False)
    _pixels: Pixels = field(init=False, repr=False)
    _kind: Kind = field(init=False, repr=False)
    _pool: Threads = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pixels, pool = Pixels(self.mode, self.size, self.max_pixels), Threads(self.threads)
        root = Path(self.root)
        found = {name: list(_images(root, name)) for name in _classes(root)}
        for name, of_class in found.items():
            if not of_class:
                got, remedy = f"none in {str(root / name)!r}", "removing the folder"
                raise DataError(must("class", "have images", got, "it could never be learned", remedy))
        labels = np.repeat(np.arange(len(found), dtype=np.int32), [len(files) for files in found.values()])
        files = [file for of_class in found.values() for file in of_class]
        made = {"root": root, "classes": tuple(found), "files": files, "labels": labels}
        for name, value in {**made, "_pixels": pixels, "_pool": pool}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_kind", kind_of(self._read, pixels, len(self), self.files.__getitem__))

    def __len__(self) -> int:
        return len(self.files)

    def take(self, ids: np.ndarray) -> dict[str, Any]:
        """Images and class numbers of `ids` (`i64[k]`), in that order."""
        ids = require_ids(ids, len(self))
        x = decoded(ids, self._read, self._pixels, self._kind, self.files.__getitem__, self._pool)
        return {"x": x, "y": self.labels[ids]}

    def fetch(self, ids: np.ndarray) -> list[bytes]:
        """The files of `ids` as they are: `take` without the decoding."""
        return [self._read(id) for id in ids.tolist()]

    def _read(self, id: int) -> bytes:
        with open(os.path.join(self.root, self.files[id]), "rb", buffering=0) as file:
            length_bytes = os.fstat(file.fileno()).st_size
            if length_bytes > self._longest_bytes:
                why = "its pixels as they are would take less"
                raise DataError(
                    must("file", f"have at most {self._longest_bytes:,} bytes", length_bytes, why, "a copy")
                )
            return file.read()

    @property
    def _longest_bytes(self) -> int:
        return 8 * self.max_pixels + 2**20  # Sixteen bits in four channels, and what stands around them.


def _classes(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(must("root", "be a folder", str(root), "it holds a folder for each class", "its path"))
    names = [entry.name for entry in _entries(root, "") if entry.is_dir()]
    if not names:
        why, remedy = "a folder for each class is what names the classes", "root/class/name.jpg"
        raise DataError(must("root", "have a folder for each class", str(root), why, remedy))
    return names


def _images(root: Path, folder: str) -> Iterator[str]:
    """Files of a class, relative to `root`, in order of name, folders inside it included."""
    for entry in _entries(root, folder):
        name = f"{folder}/{entry.name}"
        if entry.is_dir():
            yield from _images(root, name)
        elif entry.is_file() and entry.name.rpartition(".")[2].lower() in EXTENSIONS:
            yield name


def _entries(root: Path, folder: str) -> list[os.DirEntry[str]]:
    """What lies in a folder, in order of name, hidden entries left out.

    Raises `DataError` for a link to a folder (it may lead in a ring) or out of `root`.
    """
    with os.scandir(root / folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_symlink():
            target = Path(os.path.realpath(entry.path))
            if target.is_dir() or not target.is_relative_to(os.path.realpath(root)):
                got, why = f"{entry.path!r} -> {str(target)!r}", "a link may name any file of this machine"
                raise DataError(must("root", "hold its own files", got, why, "the files themselves in its place"))
    return entries
