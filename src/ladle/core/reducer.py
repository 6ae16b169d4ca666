"""`Reducer`: what times sums over the devices that are there."""

from __future__ import annotations

from typing import Protocol


class Reducer(Protocol):
    """Times sums over devices of this process that can share a batch. `devices`: how many there are, at least 2."""

    @property
    def devices(self) -> int: ...

    def seconds(self, size_bytes: int, devices: int, repeats: int) -> float:
        """Of a sum of `size_bytes` on each of `devices`, as it is within a program: the least of so many timings."""
        ...
