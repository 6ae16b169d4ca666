"""The runs and searches in a folder: found by looking up to three folders deep, read again where a file has changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ladle.board.lines import number, record
from ladle.core.record import COMPARE_FILE, CRITICAL_FILE, METRICS_FILE, RUN_FILE, SEARCH_FILE

DEEP = 3
"""Folders below the board's in which runs are looked for: a comparison's runs lie two deep."""

MOST_BYTES = 2**25
"""A run.json larger than that is not one."""

TAIL_BYTES = 2**15

QUIET_SECONDS = 120
"""A run that says it is running, is held by no process and wrote nothing for so long has most likely been killed."""

Signature = tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """A folder in the index.

    - `name`: its path below the board's folder. `kind`: "run", "search", or "nothing" where it is neither.
    - `status`: of a run or search, as it says itself; "silent", "broken" or "empty" where it cannot. `why`: in words.
    - `info`: run.json or search.json; `last`: the newest value of each number in the record.
    - `changed`: seconds since 1970 of the last write.
    """

    name: str
    folder: Path
    kind: str
    status: str
    why: str = ""
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)
    last: Mapping[str, float] = field(default_factory=dict, repr=False)
    changed: float = 0.0


class Index:
    """The entries below `root`, as of the last `refresh`. Files that did not change are not read again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: dict[str, Entry] = {}
        self.trouble = ""
        self._signatures: dict[str, Signature] = {}

    def refresh(self, now: float | None = None) -> set[str]:
        """Look again. Returns the names of entries that are new, gone or others than before."""
        now = time.time() if now is None else now
        try:
            found = dict(_folders(self.root))
            self.trouble = ""
        except OSError as error:
            found, self.trouble = {}, f"{self.root}: {error.strerror or error}"
        held = _held()
        entries, signatures = {}, {}
        for name, files in found.items():
            signature = _signature(files)
            before = self.entries.get(name)
            if before is None or signature != self._signatures[name]:
                before = _entry(name, self.root / name, files)
            entries[name] = _alive(before, held, now) if _unsure(before) else before
            signatures[name] = signature
        others = {name for name in entries.keys() | self.entries.keys() if entries.get(name) != self.entries.get(name)}
        self.entries, self._signatures = entries, signatures
        return others


Files = dict[str, os.stat_result]


def _folders(root: Path) -> Iterator[tuple[str, Files]]:
    """`(name, files)` of every folder below `root` that is a run or a search, or holds nothing of the kind."""
    here = _files(root)
    if RUN_FILE in here or SEARCH_FILE in here:
        yield ".", here
    for one in sorted(_directories(root)):
        yield from _below(root / one, one, DEEP - 1)


def _below(folder: Path, name: str, deep: int) -> Iterator[tuple[str, Files]]:
    try:
        files, directories = _files(folder), _directories(folder)
    except OSError:
        yield name, {}
        return
    if RUN_FILE in files or SEARCH_FILE in files or METRICS_FILE in files:
        yield name, files
        return
    inside = [found for one in sorted(directories) if deep for found in _below(folder / one, f"{name}/{one}", deep - 1)]
    if any(files for _, files in inside) or COMPARE_FILE in files or CRITICAL_FILE in files:
        yield from ((name, files) for name, files in inside if files)
    elif not files and not os.listdir(folder):
        yield name, {}


def _files(folder: Path) -> Files:
    found = {}
    for name in (RUN_FILE, METRICS_FILE, SEARCH_FILE, COMPARE_FILE, CRITICAL_FILE):
        try:
            found[name] = os.stat(folder / name)
        except FileNotFoundError:
            continue
    return found


def _directories(folder: Path) -> list[str]:
    with os.scandir(folder) as found:
        return [one.name for one in found if not one.name.startswith(".") and one.is_dir()]


def _signature(files: Files) -> Signature:
    return tuple(part for one in files.values() for part in (one.st_ino, one.st_size, one.st_mtime_ns))


def _entry(name: str, folder: Path, files: Files) -> Entry:
    changed = max((one.st_mtime for one in files.values()), default=0.0)
    if not files:
        return Entry(name, folder, "nothing", "empty", "there is nothing in it, or it may not be read", changed=changed)
    kind, file = ("search", SEARCH_FILE) if SEARCH_FILE in files else ("run", RUN_FILE)
    if file not in files:
        why = f"it has a {METRICS_FILE} and no {RUN_FILE}"
        return Entry(name, folder, kind, "broken", why, last=_tail(folder / METRICS_FILE), changed=changed)
    info, why = _read(folder / file)
    final = info.get("final")
    last = {str(k): v for k, v in final.items() if number(v)} if isinstance(final, Mapping) else {}
    if kind == "run" and (why or not last or info.get("status") == "running"):
        last |= _tail(folder / METRICS_FILE)
    if why:
        return Entry(name, folder, kind, "broken", why, last=last, changed=changed)
    said = info.get("why")
    return Entry(
        name, folder, kind, _word(info.get("status")) or "unknown", said if isinstance(said, str) else "", info, last,
        changed,
    )  # fmt: skip


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """The mapping in a JSON file, or an empty one with the reason why there is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return {}, f"{path.name} is larger than {MOST_BYTES >> 20} MB"
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return {}, f"{path.name} is no JSON: {' '.join(str(error).split())}"
    except OSError as error:
        return {}, f"{path.name}: {error.strerror or error}"
    return (value, "") if isinstance(value, dict) else ({}, f"{path.name} is no JSON object")


def _tail(path: Path) -> dict[str, float]:
    """The newest value of each number in the last lines of a record; nothing where there are none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL_BYTES, 0))
            data = file.read(TAIL_BYTES)
    except OSError:
        return {}
    newest: dict[str, float] = {}
    texts = data.split(b"\n")[1 if size > TAIL_BYTES else 0 : -1]
    for text in texts:
        line, _ = record(text)
        newest |= {name: value for name, value in (line or {}).items() if number(value)}
    return newest


def _unsure(entry: Entry) -> bool:
    return entry.kind == "run" and entry.status in ("running", "silent")


def _alive(entry: Entry, held: frozenset[int] | None, now: float) -> Entry:
    """The entry of a run that says it is running: "silent" where nothing writes there any more."""
    quiet = now - entry.changed > QUIET_SECONDS
    try:
        working = held is not None and os.stat(entry.folder).st_ino in held
    except OSError:
        working = False
    status = "silent" if quiet and not working else "running"
    why = "it says it is running, and nothing has written there lately: it may have been killed" if quiet else ""
    if status == entry.status:
        return entry
    why = why if status == "silent" else ""
    return Entry(entry.name, entry.folder, entry.kind, status, why, entry.info, entry.last, entry.changed)


def _held() -> frozenset[int] | None:
    """Inodes that some process holds a lock on; None where the system does not tell. A run holds its folder's."""
    try:
        text = Path("/proc/locks").read_text()
    except OSError:
        return None
    found = (part.rpartition(":")[2] for line in text.splitlines() for part in line.split() if part.count(":") == 2)
    return frozenset(int(one) for one in found if one.isdigit())
