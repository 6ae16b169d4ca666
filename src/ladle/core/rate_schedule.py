"""`RateSchedule`: how the learning rate goes through a run, in examples; read from text. Backends compute it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must

_FORMS = "'constant', 'cosine', 'linear' or 'x0.1 at 10 epochs, 20 epochs', each with an optional ', warmup 1 epoch'"


@dataclass(frozen=True)
class RateSchedule:
    """A factor of the learning rate, as a function of the examples drawn.

    - `warmup`: examples over which the factor rises linearly from zero to one; the `form` begins after them.
    - `form`: "constant"; "cosine" and "linear" fall to zero over `length` examples; "drops" multiplies by `drop` at
      each of `places`, ascending. Both are counted from the end of the warmup.

    A schedule in examples keeps its shape when the batch size changes.
    """

    form: Literal["constant", "cosine", "linear", "drops"] = "constant"
    warmup: int = 0
    length: int = 1
    drop: float = 1.0
    places: tuple[int, ...] = ()

    @classmethod
    def read(cls, text: str, *, total: int, epoch_size: int) -> RateSchedule:
        """The schedule that `text` names; `total` examples is the whole run.

        - `constant`; `cosine` and `linear` fall to zero at `total`.
        - `x0.1 at 10 epochs, 20 epochs` multiplies by 0.1 at each of those places.
        - `, warmup 1 epoch` rises linearly from zero; the rest then begins after it.

        Raises `ArgumentError` for any other text, and for a drop within the warmup.

        >>> RateSchedule.read("x0.5 at 5 epochs, warmup 1 epoch", total=1000, epoch_size=100)
        RateSchedule(form='drops', warmup=100, length=900, drop=0.5, places=(400,))
        """
        body, found, told = text.partition("warmup")
        warmup = _examples(told, epoch_size, text) if found else 0
        body, length = body.strip().rstrip(",").strip() or "constant", max(total - warmup, 1)
        if body in ("constant", "cosine", "linear"):
            return cls(body, warmup, length)
        match = re.fullmatch(r"x([0-9.e-]+)\s+at\s+(.+)", body)
        if match is None:
            raise ArgumentError(must("lr schedule", "be a known form", text, "it is none", _FORMS))
        places = tuple(sorted({_examples(part, epoch_size, text) - warmup for part in match[2].split(",")}))
        if places[0] < 0:
            why = "the rate still rises there"
            raise ArgumentError(must("lr schedule", "drop after its warmup", text, why, "a shorter warmup"))
        return cls("drops", warmup, length, _factor(match[1], text), places)


def _factor(text: str, whole: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if factor <= 0:
        raise ArgumentError(must("lr schedule", "multiply by a positive number", whole, f"{text!r} is none", _FORMS))
    return factor


def _examples(text: str, epoch_size: int, whole: str) -> int:
    try:
        stop = Until.parse(text.strip()).stop(epoch_size)
    except ArgumentError:
        stop = None
    if stop is None:
        why = f"{text.strip()!r} is neither"
        raise ArgumentError(must("lr schedule", "count in epochs or examples", whole, why, _FORMS))
    return stop
