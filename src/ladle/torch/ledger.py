"""`Ledger`: the bytes of every tensor that a piece of work makes, from its birth to its death, on paper or for real."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ladle.torch.workspace import workspace_bytes

BLOCK = 512
"""Bytes that an accelerator's allocator rounds up to. The processor's memory is counted as it is asked for."""


@dataclass(frozen=True)
class Bytes:
    """What is in memory at the peak of an update, by what it is for. `peak` is the sum.

    - `parameters`: with the module's buffers. `optimizer`: its running averages. `batch`: the rows themselves.
    - `activations`: what a forward pass keeps for the backward pass.
    - `temporaries`: all that neither outlives its pass.
    """

    parameters: int = 0
    gradients: int = 0
    optimizer: int = 0
    batch: int = 0
    activations: int = 0
    temporaries: int = 0

    @property
    def peak(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


class Ledger(TorchDispatchMode):
    """Writes down, while it is entered, when each storage is made and when it goes; read by `at_peak`.

    Works alike for fake tensors, which have sizes and no memory, and for real ones. What a kernel takes for itself
    while it runs is seen by neither.

    >>> with Ledger() as ledger:
    ...     kept = torch.zeros(256)
    ...     _ = kept + 1
    >>> ledger.at_peak().temporaries
    2048
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[int, int] = {}
        self._events: list[tuple[int, int]] = []
        self._labels: dict[int, str] = {}
        self._made_in_pass: set[int] = set()
        self._passing = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        if made and not made[-1].numel() and (unknown := workspace_bytes(func, args)) is not None:
            self._seen(made[-1], unknown)
        for leaf in made:
            self._seen(leaf)
        return out

    def call(self, name: str, tensors: Iterable[Any]) -> None:
        """From now on and in hindsight, what holds these tensors is of that name in `Bytes`."""
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor):
                self._labels[self._seen(tensor)] = name

    @contextmanager
    def forward(self) -> Iterator[None]:
        """What is made within and is alive at its end was kept for the backward pass: activations."""
        self._passing = True
        try:
            yield
        finally:
            self._passing = False
            alive = set(self._numbers.values())
            self._labels |= {number: "activations" for number in self._made_in_pass & alive}
            self._made_in_pass.clear()

    def at_peak(self) -> Bytes:
        """What was in memory when most was."""
        held, highest, at = 0, 0, 0
        for place, (_, change) in enumerate(self._events):
            held += change
            if held > highest:
                highest, at = held, place + 1
        sums = dict.fromkeys((field.name for field in fields(Bytes)), 0)
        for number, change in self._events[:at]:
            sums[self._labels.get(number, "temporaries")] += change
        return Bytes(**sums)

    def _seen(self, tensor: torch.Tensor, known: int | None = None) -> int:
        """The number of a tensor's storage, entered where it is new; `known`: its bytes, where it does not say."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._numbers:
            size = storage.nbytes() if known is None else known
            if tensor.device.type not in ("cpu", "meta"):
                size = -(-size // BLOCK) * BLOCK
            number = self._numbers[key] = len(self._events)
            self._events.append((number, size))
            if self._passing:
                self._made_in_pass.add(number)
            # At the interpreter's end nobody asks any more.
            weakref.finalize(storage, self._gone, key, number, size).atexit = False
        return self._numbers[key]

    def _gone(self, key: int, number: int, size: int) -> None:
        self._numbers.pop(key, None)
        self._events.append((number, -size))
