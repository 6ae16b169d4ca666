"""`Checkpoints`: the newest few `Carry`s of a run on disk, each complete and verified, or refused by name.

    checkpoints/
      000000001437/            position in examples
        state/                 the saver's files
        facts.json             cursor, policy memory, progress, and what the state looks like
        manifest.json          size and digest of every other file
      .saving-000000002874/    a save in flight, or what a kill left of one: never read

Order of a save, and what a kill after each step leaves:

1. State and facts go into `.saving-P`.                                a name that nobody reads
2. Each file is read back, its digest taken, flushed to the disk.      the same
3. The manifest is written last, flushed, then the folders.            the same, though complete
4. One rename makes `.saving-P` into `P`.                              `P`, whole: the rename is atomic
5. Older checkpoints get a dot in front of their name, then vanish.    `P` and perhaps a name nobody reads

So a numbered folder is complete from its first instant, and nothing old goes before something new is durable. Where
`P` exists already (the run came back to it), it steps aside as `.old-P` between 3 and 4; until `P` is there again
`.old-P` is read in its place.

No storage format checks what it reads: a flipped bit in an array loads silently. The manifest is what notices.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ladle.core.backend import Saver
from ladle.core.carry import Carry
from ladle.core.errors import CheckpointError, RunError, must
from ladle.core.spec import require_count

MANIFEST = "manifest.json"
FACTS = "facts.json"
STATE = "state"
FORMAT = 1

_SAVING, _OLD, _GONE = ".saving-", ".old-", ".gone-"


@dataclass(frozen=True)
class Restored:
    """A checkpoint that passed every test.

    - `carry`: what to go on with. `position`: examples drawn when it was saved.
    - `refused`: newer checkpoints that were passed over, newest first, as (folder name, reason).
    """

    carry: Carry
    position: int
    refused: tuple[tuple[str, str], ...] = ()


class Checkpoints:
    """The checkpoints of one run in `folder`; at least the newest `keep` good ones stay.

    One save is in flight at most, in a background thread: `save` returns once the state is copied, and first waits for
    the save before it. What goes wrong in the background is raised by the next `save`, `wait` or `restore`. As a
    context manager it waits at the end; a program that ends without waiting may lose the save in flight.

    One process writes to a folder; any number may `restore` from it meanwhile.

    >>> with Checkpoints(folder, OrbaxSaver()) as checkpoints:  # doctest: +SKIP
    ...     checkpoints.save(carry)
    >>> Checkpoints(folder, OrbaxSaver()).restore(step.init(0)).position  # doctest: +SKIP
    1437
    """

    def __init__(self, folder: str | os.PathLike[str], saver: Saver, keep: int = 3) -> None:
        self.folder = Path(folder)
        self.saver = saver
        self.keep = require_count("keep", keep)
        self._worker: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._refused: set[str] = set()  # found broken here, though their sizes may be right

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def save(self, carry: Carry) -> None:
        """Begin to save `carry` as the checkpoint of its position, `carry.cursor.drawn`.

        Raises `RunError` when this or the previous save cannot be written.
        """
        self.wait()
        name = _name(carry.cursor.drawn)
        temporary = self.folder / (_SAVING + name)
        try:
            facts = {"format": FORMAT, "tree": self.saver.describe(carry.state), "carry": carry.facts()}
            # Not strict JSON: a NaN reading must come back as NaN, not as null.
            text = json.dumps(facts, default=_plain)
            self._sweep()
            temporary.mkdir()
            (temporary / FACTS).write_text(text, encoding="utf-8")
            finish = self.saver.save(temporary / STATE, carry.state)
        except Exception as error:
            raise self._unwritten(error) from error
        self._worker = threading.Thread(target=self._finish, args=(name, finish), name="ladle-checkpoint")
        self._worker.start()

    def wait(self) -> None:
        """Until no save is in flight. Raises `RunError` when the last one could not be written."""
        if self._worker is not None:
            self._worker.join()
            self._worker = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise self._unwritten(failure) from failure

    def steps(self) -> list[int]:
        """Positions of the checkpoints that look whole (every file there, of its size), ascending.

        Digests are not compared; `restore` does that.
        """
        return [position for position, folder in self._candidates() if not _fault(folder, digests=False)]

    def begun(self) -> bool:
        """Whether a checkpoint was ever completed here, be it whole today or not."""
        return bool(self._candidates())

    def interrupted(self) -> bool:
        """Whether a save was begun here and cut off: what it left is still there."""
        return self.folder.is_dir() and any(path.name.startswith(_SAVING) for path in self.folder.iterdir())

    def restore(self, like_state: Any) -> Restored:
        """The newest checkpoint that is whole and fits `like_state` (arrays or shapes: what the saver's `load` takes).

        Raises `CheckpointError` where there is none; it names each refused one and why.
        """
        self.wait()
        tree = json.loads(json.dumps(self.saver.describe(like_state)))
        refused: list[tuple[str, str]] = []
        for position, folder in reversed(self._candidates()):
            try:
                return Restored(self._read(folder, position, like_state, tree), position, tuple(refused))
            except Exception as error:
                refused.append((folder.name, _first_line(error)))
                self._refused.add(folder.name)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused) or "there is none"
        raise CheckpointError(
            must("checkpoints", "hold one that is whole and fits", str(self.folder), reasons, "a fresh run folder")
        )

    def arrays(self) -> dict[str, Any]:
        """The leaves of the newest whole checkpoint by path, on the host; for whoever has no state to read them into.

        Raises `CheckpointError` where there is none.
        """
        refused: list[str] = []
        for _, folder in reversed(self._candidates()):
            try:
                if fault := _fault(folder):
                    raise CheckpointError(fault)
                tree = json.loads((folder / FACTS).read_text(encoding="utf-8"))["tree"]
                found = self.saver.arrays(folder / STATE, tree)
                return {path: array for (path, _), array in zip(tree, found, strict=True)}
            except Exception as error:
                refused.append(f"{folder.name}: {_first_line(error)}")
        why = "; ".join(refused) or "there is none"
        raise CheckpointError(
            must("checkpoints", "hold one that is whole", str(self.folder), why, "another run folder")
        )

    def _read(self, folder: Path, position: int, like_state: Any, tree: list[list[str]]) -> Carry:
        if fault := _fault(folder):
            raise CheckpointError(fault)
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise CheckpointError(f"{FACTS} has format {facts['format']}, this ladle reads {FORMAT}")
        if difference := _difference(facts["tree"], tree):
            raise CheckpointError(difference)
        carry = Carry.from_facts(self.saver.load(folder / STATE, like_state), facts["carry"])
        if carry.cursor.drawn != position:
            raise CheckpointError(f"it was saved at position {carry.cursor.drawn}; the folder has been renamed")
        return carry

    def _finish(self, name: str, finish: Callable[[], None]) -> None:
        try:
            finish()
            _write_manifest(self.folder / (_SAVING + name))
            self._publish(name)
            self._retire(int(name))
        except BaseException as error:  # raised again by whoever asks next
            self._failure = error

    def _publish(self, name: str) -> None:
        target, aside = self.folder / name, self.folder / (_OLD + name)
        if target.exists():
            os.rename(target, aside)
        os.rename(self.folder / (_SAVING + name), target)
        _flush(self.folder)
        self._refused.discard(name)
        if aside.exists():
            shutil.rmtree(aside)

    def _retire(self, newest: int) -> None:
        """Remove what is older than the newest `keep` good ones, and never the one just written."""
        candidates = self._candidates()
        good = [p for p, folder in candidates if folder.name not in self._refused and not _fault(folder, digests=False)]
        oldest = min([newest, *good[-self.keep :]])
        for position, folder in candidates:
            if position < oldest:
                gone = self.folder / (_GONE + folder.name)
                os.rename(folder, gone)  # a kill in the middle of the removal must not leave half a numbered folder
                shutil.rmtree(gone)

    def _sweep(self) -> None:
        """Before a save: make the folder, remove what killed or failed saves left behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in self.folder.glob(".*"):
            target = self.folder / folder.name.removeprefix(_OLD)
            if folder.name.startswith(_OLD) and not target.exists():
                os.rename(folder, target)
            elif folder.name.startswith((_SAVING, _OLD, _GONE)):
                shutil.rmtree(folder)

    def _candidates(self) -> list[tuple[int, Path]]:
        """Every numbered folder, ascending, and `.old-P` where `P` is not there."""
        found: dict[int, Path] = {}
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            name = path.name.removeprefix(_OLD)
            if name.isascii() and name.isdigit():
                found[int(name)] = path  # names with a dot sort first, so `P` wins over `.old-P`
        return sorted(found.items())

    def _unwritten(self, error: BaseException) -> RunError:
        why = _first_line(error)
        return RunError(
            must(
                "checkpoints", "be written", str(self.folder), why, "a folder on a disk with room that you may write to"
            )
        )


def _name(position: int) -> str:
    return f"{position:012d}"


def _files(folder: Path) -> list[str]:
    """Every file below `folder` but the manifest, by relative name. A link counts as a file, whatever it leads to."""
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(name for path in files if (name := path.relative_to(folder).as_posix()) != MANIFEST)


def _digest(path: Path, flush: bool = False) -> str:
    with open(path, "rb") as file:
        if flush:
            os.fsync(file.fileno())
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def _write_manifest(folder: Path) -> None:
    """Sizes and digests of all files as they are on the disk, then everything flushed, folders last."""
    files = {
        name: {"size_bytes": (folder / name).stat().st_size, "blake2b": _digest(folder / name, flush=True)}
        for name in _files(folder)
    }
    with open(folder / MANIFEST, "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, "files": files}, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        _flush(path)


def _flush(folder: Path) -> None:
    """Make the names in `folder` durable, not only the bytes behind them."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fault(folder: Path, digests: bool = True) -> str:
    """What is wrong with a checkpoint folder, or "". Opens only files found in it, none that the manifest names."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        listed = {str(name): (int(entry["size_bytes"]), entry["blake2b"]) for name, entry in manifest["files"].items()}
        if manifest["format"] != FORMAT:
            return f"{MANIFEST} has format {manifest['format']}, this ladle reads {FORMAT}"
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be read: {_first_line(error)}"
    found = _files(folder)
    for name in sorted(listed.keys() ^ set(found)):
        return f"{name} is " + ("missing" if name in listed else "not in the manifest")
    for name in found:
        size_bytes, digest = listed[name]
        if (folder / name).stat().st_size != size_bytes:
            return f"{name} has {(folder / name).stat().st_size} bytes instead of {size_bytes}"
        if digests and _digest(folder / name) != digest:
            return f"{name} has changed since it was written (its digest differs)"
    return ""


def _difference(saved: list[list[str]], wanted: list[list[str]]) -> str:
    """The first leaf in which two descriptions differ, in words, or ""."""
    for there, here in zip_longest(saved, wanted, fillvalue=None):
        if there == here:
            continue
        if there is None or here is None:
            path, kind = there or here or ("", "")
            return f"another model or optimiser: {path} {kind} is only {'in the checkpoint' if there else 'here'}"
        return f"another model or optimiser: {' '.join(there)} in the checkpoint, {' '.join(here)} here"
    return ""


def _plain(value: Any) -> Any:
    """NumPy numbers and small arrays for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"policy memory and readings must be plain JSON values; {type(value).__name__} is none")


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0]
    return line if isinstance(error, CheckpointError | OSError) else f"{type(error).__name__}: {line}"
