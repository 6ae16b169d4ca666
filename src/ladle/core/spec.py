"""`BatchSpec`: how large a batch is and how it is cut. The noun that everything else speaks about."""

from __future__ import annotations

from dataclasses import dataclass

from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class BatchSpec:
    """How many examples make one update, and how they are cut for the device.

    **Fields**

    - `size`: examples per update, all replicas together; any number >= 1.
    - `micro_size`: examples per forward pass, all replicas together. The only number the compiler sees.
      It may exceed `size`: the surplus rows then carry weight zero.
    - `length`: row length where rows have one (sequences), else `None`.
    - `updates`: updates per compiled call.

    Raises `ArgumentError` for a number below 1 or not an integer.

    >>> BatchSpec(size=1000, micro_size=256).micro_steps
    4
    """

    size: int
    micro_size: int
    length: int | None = None
    updates: int = 1

    def __post_init__(self) -> None:
        for name in ("size", "micro_size", "updates"):
            object.__setattr__(self, name, require_count(name, getattr(self, name)))
        if self.length is not None:
            object.__setattr__(self, "length", require_count("length", self.length))

    @property
    def micro_steps(self) -> int:
        """Forward passes per full update: ceil(size / micro_size)."""
        return -(-self.size // self.micro_size)

    @property
    def examples(self) -> int:
        """Examples per compiled call when no epoch ends inside it."""
        return self.size * self.updates


def require_count(name: str, value: object) -> int:
    """`value` as an int >= 1, or an `ArgumentError` that says which argument and why."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(must(name, "be a whole number", value, "examples are counted, not measured", f"{name}=64"))
    count = value.__index__()  # type: ignore[attr-defined]
    if count < 1:
        raise ArgumentError(must(name, "be at least 1", value, "with none nothing is done", f"{name}=1"))
    return count


def rungs(largest: int, smallest: int = 1) -> tuple[int, ...]:
    """The ladder of micro-batch sizes worth compiling: powers of two from `smallest` up to `largest`.

    `largest` itself is the last rung, also where it is no power of two.

    >>> rungs(100, 8)
    (8, 16, 32, 64, 100)
    """
    require_count("largest", largest)
    ladder, rung = [], 1
    while rung < largest:
        if rung >= smallest:
            ladder.append(rung)
        rung *= 2
    return (*ladder, largest)


def rung_for(size: int, largest: int) -> int:
    """The micro-batch size to compile for a batch of `size` where at most `largest` rows fit at once.

    The smallest power of two that holds the whole batch, or `largest` when it must be cut. Two batch sizes that
    share a rung share a compiled program.

    >>> rung_for(1000, 4096), rung_for(60_000, 4096), rung_for(1, 4096)
    (1024, 4096, 1)
    """
    whole = 1 << (int(size) - 1).bit_length()
    return min(whole, largest)
