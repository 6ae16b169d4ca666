"""`Slots`: which decoded block lies in which slot of memory that was set aside once. Threads share it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import Any, Literal

import numpy as np


@dataclass(eq=False)
class Entry:
    """A block that has a slot. `note`: what decoding it had to say. `users`: threads that read it now."""

    block: int
    slot: int
    state: Literal["empty", "decoding", "ready"] = "empty"
    users: int = 0
    note: Any = None


class Slots:
    """Blocks in `count` slots, the least recently used one given up for a new one.

    - `decode(block, slot)`: fills a slot, and may return a note. Called by the threads that need the block, outside of
      any lock: threads that need the same blocks share the work, and no block is decoded twice at once.

    A thread gets all its slots at once or waits for none, so threads cannot wait for each other in a ring; a slot
    in use is never given to another block. A block whose decoding fails is tried again by whoever needs it next.
    """

    def __init__(self, count: int, blocks: int, decode: Callable[[int, int], Any]) -> None:
        self.count = count
        self.slot = np.full(blocks, -1, np.int64)
        """`i64[blocks]`: where each block lies; to be trusted for blocks that are held."""
        self._decode = decode
        self._free = list(range(count))
        self._entries: dict[int, Entry] = {}  # The least recently used one first.
        self._changed = Condition()

    @contextmanager
    def hold(self, blocks: Sequence[int]) -> Iterator[list[Entry]]:
        """Have `blocks` (at most `count`, each once) decoded and kept for as long as the context lasts."""
        held = self._acquire(blocks)
        try:
            while entry := self._next_to_decode(held):
                self._fill(entry)
            yield held
        finally:
            self._release(held)

    def _acquire(self, blocks: Sequence[int]) -> list[Entry]:
        with self._changed:
            self._changed.wait_for(lambda: self._room_for(blocks))
            present = [self._entries.pop(block) for block in blocks if block in self._entries]
            idle = [entry for entry in self._entries.values() if not entry.users]
            missing = [block for block in blocks if block not in {entry.block for entry in present}]
            for entry in idle[: max(0, len(missing) - len(self._free))]:
                self._give_up(entry)
            held = present + [Entry(block, self._free.pop()) for block in missing]
            for entry in held:
                entry.users += 1
                self._entries[entry.block] = entry
                self.slot[entry.block] = entry.slot
            return held

    def _room_for(self, blocks: Sequence[int]) -> bool:
        asked = set(blocks)
        kept = sum(1 for entry in self._entries.values() if entry.users or entry.block in asked)
        return kept + len(asked - self._entries.keys()) <= self.count

    def _next_to_decode(self, held: list[Entry]) -> Entry | None:
        """A block that nobody decodes yet, once there is one; None when all are ready."""
        with self._changed:
            while any(entry.state != "ready" for entry in held):
                for entry in held:
                    if entry.state == "empty":
                        entry.state = "decoding"
                        return entry
                self._changed.wait()
        return None

    def _fill(self, entry: Entry) -> None:
        done = False
        try:
            entry.note = self._decode(entry.block, entry.slot)
            done = True
        finally:
            with self._changed:
                entry.state = "ready" if done else "empty"
                self._changed.notify_all()

    def _release(self, held: list[Entry]) -> None:
        with self._changed:
            for entry in held:
                entry.users -= 1
                if not entry.users and entry.state != "ready":
                    self._give_up(entry)
            self._changed.notify_all()

    def _give_up(self, entry: Entry) -> None:
        del self._entries[entry.block]
        self.slot[entry.block] = -1
        self._free.append(entry.slot)
