"""`interrupts`: Ctrl-C and SIGTERM as a question that the loop asks between two windows."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interrupts:
    """`requested`: name of the first signal that asked the run to end, "SIGINT" or "SIGTERM"; None while none did."""

    requested: str | None = None


_NOW: list[Interrupts] = []
"""Those of the runs that are on their way in this process, the innermost last."""


def asked() -> bool:
    """Whether the run on its way has been asked to end: for what waits long within a window, such as a stream.

    >>> asked()
    False
    """
    return bool(_NOW) and _NOW[-1].requested is not None


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Turn the first SIGINT or SIGTERM into a flag, so that the window ends and a checkpoint is written.

    A SIGINT after the first signal raises `KeyboardInterrupt` at once; a further SIGTERM changes nothing. The handlers
    found at the start come back at the end. Signals that are ignored (as in a shell's background job) stay ignored, and
    outside the main thread, where Python allows no handlers, nothing is done.

    >>> with interrupts() as interrupt:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     interrupt.requested
    'SIGTERM'
    """
    interrupt = Interrupts()

    def handle(number: int, _: FrameType | None) -> None:
        if interrupt.requested is None:
            interrupt.requested = signal.Signals(number).name
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    _NOW.append(interrupt)
    # `None` is a handler that was not installed from Python: it could not be put back.
    taken = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    previous = {number: signal.signal(number, handle) for number in taken}
    try:
        yield interrupt
    finally:
        _NOW.pop()
        for number, handler in previous.items():
            signal.signal(number, handler)
