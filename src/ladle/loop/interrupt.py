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


@dataclass(eq=False)
class Interrupts:
    """`requested`: name of the first signal that asked the run to end, "SIGINT" or "SIGTERM"; None while none did."""

    requested: str | None = None
    found: dict[int, Any] = field(default_factory=dict, repr=False)
    """Handlers to put back at the end, by signal."""


_NOW: list[Interrupts] = []
"""Those of the runs that are on their way in this process, the latest last."""


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

    Of several runs on their way, one within the other or in turns, a signal asks all to end; they may end in any order.

    >>> with interrupts() as interrupt:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     interrupt.requested
    'SIGTERM'
    """
    interrupt = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    # `None` is a handler that was not installed from Python: it could not be put back.
    taken = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None, _handle)]
    _NOW.append(interrupt)
    interrupt.found = {number: signal.signal(number, _handle) for number in taken}
    try:
        yield interrupt
    finally:
        later = _NOW[_NOW.index(interrupt) + 1 :]
        _NOW.remove(interrupt)
        if later:  # They still need the handler, and put back what was before it.
            later[0].found = {**interrupt.found, **later[0].found}
        else:
            for number, handler in interrupt.found.items():
                signal.signal(number, handler)


def _handle(number: int, _: FrameType | None) -> None:
    unasked = [one for one in _NOW if one.requested is None]
    for one in unasked:
        one.requested = signal.Signals(number).name
    if not unasked and number == signal.SIGINT:
        raise KeyboardInterrupt
