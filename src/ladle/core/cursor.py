"""`Cursor`: where a feed stands. A number, not an iterator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cursor:
    """The whole state of a feed.

    - `drawn`: examples consumed since the start of the run, all shards together.
    - `carry`: whatever else a feed must remember, small and JSON-serialisable; empty for all feeds over arrays.

    >>> Cursor(128).to_json()
    {'drawn': 128, 'carry': {}}
    """

    drawn: int = 0
    carry: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"drawn": self.drawn, "carry": dict(self.carry)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cursor:
        return cls(drawn=int(value["drawn"]), carry=dict(value.get("carry", {})))


@dataclass(frozen=True)
class Shard:
    """Which part of each global batch a host reads: positions `index, index + count, ...` of it."""

    index: int = 0
    count: int = 1
