"""`DeviceStage`: rows changed at random inside a compiled program. `Augmenting`: a backend that can do that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from ladle.core.backend import Engine


class DeviceStage(Protocol):
    """What changes rows at random, by keys of their places. A value, compared as models are."""

    table: ClassVar[str]
    """The name under which the words of its seed (`u32[2]`) come with the tables of an order."""

    def traced(self, rows: Any, seed: Any, epoch: Any, places: Any, vmap: Callable[..., Any]) -> Any:
        """`rows` (a tree, leading axis `k`) as they are at `places` (`u32[k]`) of pass `epoch` (`u32[]`)."""
        ...


class Augmenting(Protocol):
    """A `ladle.core.backend.Backend` whose updates change rows that live on the devices. Others have rows travel."""

    def cannot_augment(self, augment: DeviceStage, data: Any) -> str | None:
        """Why updates cannot change rows of `data` by `augment`; None where they can."""
        ...

    def engine(self, objective: Any, optimizer: Any, *, augment: DeviceStage | None = None, **how: Any) -> Engine:
        """As a backend's, with rows changed by what `cannot_augment` had nothing against."""
        ...
