"""`Followed`: a metrics file read while it grows, by byte offset: each byte once, whatever is written meanwhile."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ladle.board.columns import Grown
from ladle.board.lines import Block, parse

CHUNK_BYTES = 2**23
"""Read and parsed between two looks at the clock."""

LONG_BYTES = 3 * 2**24
"""What is unread beyond it is first sampled, so that the whole curve is seen at once."""

SAMPLES, SAMPLE_BYTES = 200, 2**14

MARK_BYTES = 2**22
"""Places this far apart are remembered: a record that was cut, to go on from a checkpoint, is read on from the last."""

PRINT_BYTES = 96


@dataclass(frozen=True)
class _Mark:
    """A place up to which the file was read. `text`: the bytes right before it, by which it is known again."""

    offset: int = 0
    count: int = 0
    broken: int = 0
    text: bytes = b""


class Followed:
    """What the metrics file at `path` holds, as far as it was read.

    `step` reads on; it raises nothing: what cannot be read is said in `trouble`. A half-written last line waits for its
    end. A file that was cut or written anew is read again from the last place that is still the same.

    - `rows`: the exact columns, from the first line on. `sample`: some later lines, while those are not read yet.
    - `share`: how much of the file is read. `broken`, `why`: lines that were no record; the first one's fault.
    - `version`: another number whenever the rows are others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.version = 0
        self.trouble = ""
        self._reset()

    def _reset(self) -> None:
        self.rows, self.sample = Grown(), Grown()
        self.broken, self.why = 0, ""
        self._marks = [_Mark()]
        self._seen = (0, 0, 0)
        self._size = 0
        self.version += 1

    @property
    def share(self) -> float:
        """Of the file's bytes, those that are read: 1.0 where all are, a half-written line aside."""
        return 1.0 if self.done else self._marks[-1].offset / max(self._size, 1)

    @property
    def done(self) -> bool:
        """Whether every whole line is read."""
        return self.sample.count == 0 and not self._pending

    _pending = False

    def step(self, budget_seconds: float = 0.15) -> bool:
        """Read on for about so long. Returns whether the rows are others than before."""
        until, before = time.perf_counter() + budget_seconds, self.version
        try:
            with open(self.path, "rb") as file:
                self._read(file, until)
            self.trouble = ""
        except FileNotFoundError:
            self._gone("")
        except OSError as error:
            self._gone(f"{self.path.name}: {error.strerror or error}")
        return self.version != before

    def _gone(self, trouble: str) -> None:
        if self.rows.count or self.sample.count:
            self._reset()
        self._pending, self.trouble = False, trouble

    def _read(self, file: BinaryIO, until: float) -> None:
        facts = os.fstat(file.fileno())
        seen = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if seen == self._seen and not self._pending:
            return
        if self._seen[0] not in (0, facts.st_ino):
            self._reset()
        self._rewind(file, facts.st_size)
        self._seen, self._size = seen, facts.st_size
        if facts.st_size - self._marks[-1].offset > LONG_BYTES and not self.sample.count:
            self._look_ahead(file)
        self._pending = True
        while self._pending:
            self._pending = self._chunk(file)
            if self._pending and time.perf_counter() > until:
                return
        if self.sample.count:
            self.sample = Grown()
            self.version += 1

    def _rewind(self, file: BinaryIO, size: int) -> None:
        """Back to the last place before which the file is as it was."""
        marks = len(self._marks)
        while self._marks[-1].offset > size or not self._same(file, self._marks[-1]):
            self._marks.pop()
        if len(self._marks) == marks:
            return
        last = self._marks[-1]
        self.rows.cut(last.count)
        self.sample, self.broken = Grown(), last.broken
        self.why = self.why if last.broken else ""
        self.version += 1

    def _same(self, file: BinaryIO, mark: _Mark) -> bool:
        file.seek(mark.offset - len(mark.text))
        return file.read(len(mark.text)) == mark.text

    def _chunk(self, file: BinaryIO) -> bool:
        """Read some whole lines. Returns whether there is more."""
        last, wanted = self._marks[-1], CHUNK_BYTES
        while True:
            file.seek(last.offset)
            data = file.read(wanted)
            end = data.rfind(b"\n") + 1
            if end or len(data) < wanted:
                break
            wanted *= 2  # A line longer than that is read whole, too.
        if not end:
            return False
        self._add(parse(data[:end] if end < len(data) else data))
        mark = _Mark(last.offset + end, self.rows.count, self.broken, data[max(end - PRINT_BYTES, 0) : end])
        if len(self._marks) > 1 and mark.offset - self._marks[-2].offset < MARK_BYTES:
            self._marks.pop()
        self._marks.append(mark)
        return len(data) == wanted

    def _add(self, block: Block) -> None:
        self.rows.append(block)
        self.why = self.why or block.why
        self.broken += block.broken
        self.version += 1
        if self.sample.count and self.rows.count:  # What was read exactly is sampled no longer.
            later = self.sample["examples"] > self.rows["examples"][-1]
            kept = Block(int(later.sum()), {name: self.sample[name][later] for name in self.sample})
            self.sample = Grown()
            self.sample.append(kept)

    def _look_ahead(self, file: BinaryIO) -> None:
        """Lines from places all over what is unread. Sums and reasons of lines between them are not known yet."""
        start = self._marks[-1].offset
        for place in np.linspace(start, self._size - SAMPLE_BYTES, SAMPLES).astype(int).tolist():
            file.seek(place)
            data = file.read(SAMPLE_BYTES)
            begin = 0 if place == start else data.find(b"\n") + 1
            block = parse(data[begin : data.rfind(b"\n") + 1])
            self.sample.append(Block(block.count, block.columns))
        self.version += 1

    def __getitem__(self, name: str) -> np.ndarray:
        """The column: exact rows, then sampled ones."""
        if not self.sample.count:
            return self.rows[name]
        return np.concatenate([self.rows[name], self.sample[name]])

    def __contains__(self, name: str) -> bool:
        return name in self.rows or name in self.sample

    def names(self) -> set[str]:
        """Every column."""
        return {*self.rows, *self.sample}
