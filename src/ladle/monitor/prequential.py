"""`PrequentialLines`: what a person sees of a stream that is learnt: how good the model was on what it did not know."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TextIO

from ladle.core.record import PREQUENTIAL


@dataclass
class PrequentialLines:
    """Prints a line for every `every` events, and one for each decision with its cause; implements `Sink`.

    - `stream`: standard error where left out.
    """

    every: int = 5000
    stream: TextIO | None = None
    _printed: int = field(default=0, repr=False)
    _last: Mapping[str, Any] | None = field(default=None, repr=False)

    def append(self, line: Mapping[str, Any]) -> None:
        if line.get("reason"):
            self.message(str(line["reason"]))
        self._last = line
        if line["examples"] // self.every > self._printed // self.every:
            self._print(line)

    def message(self, text: str) -> None:
        with suppress(BrokenPipeError):  # Whoever read this has left; the run goes on.
            print(text, file=sys.stderr if self.stream is None else self.stream, flush=True)

    def close(self) -> None:
        if self._last is not None and self._last["examples"] > self._printed:
            self._print(self._last)

    def _print(self, line: Mapping[str, Any]) -> None:
        self._printed = line["examples"]
        self.message(prequential_line(line))


def prequential_line(line: Mapping[str, Any]) -> str:
    """A record line of an online run in words.

    >>> line = {"examples": 5000, "seconds": 0.5, "size": 64, "prequential_loss": 0.25}
    >>> prequential_line(line | {"prequential_loss_faded": 0.2, "prequential_loss_window": 0.125})
    '5,000 events: prequential loss 0.25, faded 0.2, window 0.125; size 64, 10,000 events/s'
    """
    words = [f"{line['examples']:,} events"]
    name = next((one for one in line if one.startswith(PREQUENTIAL)), None)
    if name is not None:
        metric = name.removeprefix(PREQUENTIAL)
        shown = [_shown(metric, line[one]) for one in (name, f"{name}_faded", f"{name}_window")]
        words.append(f": prequential {metric} {shown[0]}, faded {shown[1]}, window {shown[2]}")
    if line.get("size"):
        words.append(f"; size {line['size']:,}")
    if line.get("seconds"):
        words.append(f", {line['examples'] / line['seconds']:,.0f} events/s")
    return "".join(words)


def _shown(metric: str, value: float) -> str:
    return f"{value:.2%}".replace("%", " %") if metric == "accuracy" else f"{value:.4g}"
