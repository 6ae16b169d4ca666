"""`LoaderBase`: what loaders by number and over streams share: where they stand, copies, names that loops read."""

from __future__ import annotations

from typing import Any

from ladle.core.cursor import Cursor
from ladle.feed.loader_names import Names

READ = (
    "collate_fn", "pin_memory", "timeout", "worker_init_fn", "persistent_workers", "generator", "prefetch_factor",
    "multiprocessing_context", "in_order",
)  # fmt: skip
"""What loops and libraries read of a `DataLoader`, as it was given."""

REPLACED = ("shuffle", "sampler", "batch_sampler", "num_workers", "generator", "prefetch_factor")
"""Arguments that have become others by the time a loader is made."""


class LoaderBase:
    """A loader with names, readers, and a place where it stands."""

    _names: Names
    _how: dict[str, Any]
    _given: tuple[Any, dict[str, Any]]
    _at: tuple[int, int]
    """Position after the last batch handed out, and its pass."""

    def __getattr__(self, name: str) -> Any:
        if name in READ and "_names" in vars(self):
            return getattr(self._names, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def num_workers(self) -> int:
        """Processes that read."""
        return self._how["workers"] if self._how["processes"] else 0

    @property
    def epoch(self) -> int:
        """The pass that the loop is in: that of the last batch handed out, and the next one once it has ended."""
        return self._at[1]

    @property
    def cursor(self) -> Cursor:
        """Where the loader stands: after the last batch handed out."""
        return Cursor(self._at[0])


def made_again(kind: Any, data: Any, given: dict[str, Any], state: dict[str, Any]) -> Any:
    """A loader that was copied, or came from another process: it stands where the first one stood."""
    loader = kind(data, **given)
    loader.load_state_dict(state)
    return loader
