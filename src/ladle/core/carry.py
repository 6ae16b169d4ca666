"""`Carry`: everything a run is between two windows. A checkpoint holds exactly this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ladle.core.cursor import Cursor
from ladle.core.decision import Progress
from ladle.core.memory import plain


@dataclass(frozen=True)
class Carry:
    """What the next window needs, and nothing else.

    - `state`: the step's tree of arrays (parameters, optimiser state, model state, base random key).
    - `cursor`: where the feed stands.
    - `memory`: what the policy remembers: JSON, or a value with `to_json`.
    - `progress`: counts, seconds and the last reading, as the policy will see them.
    """

    state: Any
    cursor: Cursor = field(default_factory=Cursor)
    memory: Any = None
    progress: Progress = field(default_factory=Progress)

    def read(self, reading: Mapping[str, float]) -> Carry:
        """The carry with newer readings (an evaluation) for the policy to see."""
        progress = replace(self.progress, reading={**self.progress.reading, **reading})
        return replace(self, progress=progress)

    def evaluated(self, reading: Mapping[str, float]) -> Carry:
        """The carry with the readings of an evaluation made at its position."""
        after = self.read(reading)
        return replace(after, progress=replace(after.progress, evaluated=self.progress.examples))

    def facts(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON."""
        progress = self.progress
        return {
            "cursor": self.cursor.to_json(),
            "memory": plain(self.memory),
            "progress": {
                "examples": progress.examples,
                "updates": progress.updates,
                "epoch": progress.epoch,
                "seconds": progress.seconds,
                "reading": dict(progress.reading),
                "size": progress.size,
                "evaluated": progress.evaluated,
            },
        }

    @classmethod
    def from_facts(cls, state: Any, facts: dict[str, Any]) -> Carry:
        """The inverse of `facts`, given the arrays."""
        progress = dict(facts["progress"])
        for name in ("size", "evaluated"):  # Older checkpoints have these among the readings.
            was = progress["reading"].get(name)
            progress.setdefault(name, None if was is None else int(was))
        return cls(state, Cursor.from_json(facts["cursor"]), facts["memory"], Progress(**progress))
