"""`pass_on`: what a source that wraps others says of itself on their behalf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


def pass_on(wrapper: Any, sources: Sequence[Any], take_at: Callable[..., Any]) -> None:
    """Set on a frozen `wrapper` what its sources say of how they are read: by whom, and how many rows at a time.

    `take_at`: of the wrapper, set where a source has one. Who asks for optional attributes asks whether they are there.
    """
    found: dict[str, Any] = {}
    readers = [source.readers for source in sources if hasattr(source, "readers")]
    if readers:
        known = [count for count in readers if count is not None]
        found["readers"] = 0 if 0 in known else max(known, default=None)
    found["gathers"] = all(getattr(source, "gathers", False) for source in sources)
    found["changes"] = any(getattr(source, "changes", False) for source in sources)
    if any(hasattr(source, "take_at") for source in sources):
        found["take_at"] = take_at
    if any(hasattr(source, "require_threads") for source in sources):
        found["require_threads"] = _RequireThreads(tuple(sources))
    for name, value in found.items():
        object.__setattr__(wrapper, name, value)


@dataclass(frozen=True)
class _RequireThreads:
    sources: tuple[Any, ...]

    def __call__(self) -> None:
        for source in self.sources:
            if hasattr(source, "require_threads"):
                source.require_threads()
