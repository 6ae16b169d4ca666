"""`Room`: how many rows are judged at once, so that what this takes beside what is there stays within a limit."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.jax.memory import device_free_bytes
from ladle.jax.programs import Program

MOST = 1024
"""Rows at once where nothing asks for fewer."""

FREE = 0.9
"""Share of the free memory that is taken where no limit was given; the rest is for the allocator."""

SURE = 2
"""A program holds less than so many times all that it computes, the library's own scratch memory included."""


@dataclass(frozen=True)
class Room:
    """`limit` bytes for what a judging program takes beside its operands; None for what is free when it first runs.

    `found`: rows at once for what was asked before.
    """

    limit: int | None = None
    found: dict[Hashable, int] = field(default_factory=dict, compare=False, repr=False)

    def rows(self, key: Hashable, most: int, sure: Callable[[int], int], predict: Callable[[int], int]) -> int:
        """`most`, where that many rows stay within the limit, else the largest power of two below that does.

        - `key`: what the answer is for; it is worked out once.
        - `sure(rows)`: bytes that are surely enough, at little cost. `predict(rows)`: as the compiler counts them.

        Raises `ArgumentError` where one row is above a limit that was given; where none was, one row is tried.

        >>> Room(1000).rows("losses", 1024, lambda rows: 40 * rows, lambda rows: 200 + 10 * rows)
        64
        """
        if key not in self.found:
            limit = int(FREE * device_free_bytes()) if self.limit is None else self.limit
            self.found[key] = most if sure(most) <= limit else self._largest(limit, most, predict)
        return self.found[key]

    def _largest(self, limit: int, most: int, predict: Callable[[int], int]) -> int:
        rows, bytes_ = most, predict(most)
        while bytes_ > limit:
            if rows == 1:
                if self.limit is None:
                    return 1
                why = f"judging one row at a time is predicted to take {bytes_:,} bytes, and {limit:,} are left"
                remedy = f"at least {bytes_ - limit:,} bytes more, or a smaller model"
                raise ArgumentError(must("memory", "leave room for an evaluation", f"{limit:,} bytes", why, remedy))
            # In proportion, so that few programs are compiled; what does not grow with the rows makes it err low.
            top = 1 << ((rows - 1).bit_length() - 1)
            wanted = max(int(rows * limit / bytes_), 1) if limit > 0 else 1
            rows = min(top, 1 << (wanted.bit_length() - 1))
            bytes_ = predict(rows)
        while 2 * rows < most and predict(2 * rows) <= limit:
            rows *= 2
        return rows


def beside_bytes(program: Program, *shapes: Any, **static: Any) -> int:
    """Bytes that a program takes beside its operands, as the compiler counts them: temporaries and results."""
    analysis = program.ahead(*shapes, **static).memory_analysis()
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)


def surely_enough(program: Program, *operands: Any, **static: Any) -> int:
    """More bytes than a program takes, from its trace alone: `SURE` times all that it computes."""
    return SURE * program.computed_bytes(*operands, **static)
