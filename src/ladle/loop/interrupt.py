"""`interrupts`: Ctrl-C and SIGTERM as a question that the loop asks between two windows."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interrupts:
    """`requested`: name of the first signal that asked the run to end, "SIGINT" or "SIGTERM"; None while none did."""

    requested: str | None = None


_NOW: list[Interrupts] = []
"""Those of the runs that are on their way in this process, the one begun last at the end."""

_BEFORE: dict[int, Any] = {}
"""The handlers that the first of them found."""


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
    runs on their way the one begun last is asked, in whatever order they end; with the last of them the handlers come
    back that the first found. Signals that are ignored (as in a shell's background job) stay ignored, and outside the
    main thread, where Python allows no handlers, nothing is done.

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
    if len(_NOW) == 1:
        # `None` is a handler that was not installed from Python: it could not be put back.
        taken = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        _BEFORE.update({number: signal.signal(number, _handle) for number in taken})
    try:
        yield interrupt
    finally:
        # By identity, for equal ones are not the same; runs that are gone through by turns end in any order.
        others = [one for one in _NOW if one is not interrupt]
        while not others and _BEFORE:
            signal.signal(*_BEFORE.popitem())
        _NOW[:] = others


def _handle(number: int, _: FrameType | None) -> None:
    interrupt = _NOW[-1]
    if interrupt.requested is None:
        interrupt.requested = signal.Signals(number).name
    elif number == signal.SIGINT:
        raise KeyboardInterrupt
