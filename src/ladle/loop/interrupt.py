"""`interrupts`: Ctrl-C and SIGTERM as a question that the loop asks between two windows."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interrupts:
    """`requested`: name of the first signal that asked the run to end, "SIGINT" or "SIGTERM"; None while none did.

    `found`: the handlers that come back at its end.
    """

    requested: str | None = None
    found: dict[int, Any] = field(default_factory=dict, repr=False)


_NOW: list[Interrupts] = []
"""Those of the runs that are on their way in this process, the one begun last at the end."""


def asked() -> bool:
    """Whether the run begun last has been asked to end: for what waits long within a window, such as a stream.

    >>> asked()
    False
    """
    return bool(_NOW) and _NOW[-1].requested is not None


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Turn the first SIGINT or SIGTERM into a flag, so that the window ends and a checkpoint is written.

    A SIGINT after the first signal raises `KeyboardInterrupt` at once; a further SIGTERM changes nothing. Of several
    runs on their way the one begun last is asked, in whatever order they end; the handlers found at the start come back
    at the end, of the last of them. Signals that are ignored (as in a shell's background job) stay ignored, and outside
    the main thread, where Python allows no handlers, nothing is done.

    >>> with interrupts() as interrupt:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     interrupt.requested
    'SIGTERM'
    """
    interrupt = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    _NOW.append(interrupt)
    # `None` is a handler that was not installed from Python: it could not be put back.
    taken = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None, _handle)]
    interrupt.found = {number: signal.signal(number, _handle) for number in taken}
    try:
        yield interrupt
    finally:
        _leave(interrupt)


def _leave(interrupt: Interrupts) -> None:
    """Put back what the run found, or leave that to the run begun next where this is not over."""
    place = next(place for place, one in enumerate(_NOW) if one is interrupt)  # Equal ones are not the same.
    if place + 1 < len(_NOW):
        _NOW[place + 1].found = {**interrupt.found, **_NOW[place + 1].found}
    else:
        for number, handler in interrupt.found.items():
            signal.signal(number, handler)
    del _NOW[place]


def _handle(number: int, _: FrameType | None) -> None:
    interrupt = _NOW[-1]
    if interrupt.requested is None:
        interrupt.requested = signal.Signals(number).name
    elif number == signal.SIGINT:
        raise KeyboardInterrupt
