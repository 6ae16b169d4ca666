"""Policies from one line of text, as the command line's `--schedule` takes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from ladle.errors import ArgumentError, must
from ladle.policy.constant import Constant
from ladle.policy.schedule import Geometric, GrowInsteadOfDecay, Steps, Warmup
from ladle.scaling import Rule, lr_factor
from ladle.spec import require_count, rung_for

if TYPE_CHECKING:
    from ladle.protocols import Policy

EXAMPLES = (
    "constant",
    "0:64 10ep:128",
    "geometric 32..1024 x2 every 2 epochs",
    "grow 64 x5 at 10ep 20ep max 2048",
    "warmup 8->64 over 1ep",
)
"""One right text of each kind."""

_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e\+?[0-9]{1,3})?"
_COUNT = rf"{_NUMBER}[kmb]?"
_POSITION = rf"{_COUNT}(?:\s*(?:epochs?|ep|examples?|samples?|ex))?"

_ONE_STEP = rf"{_POSITION}\s*:\s*{_COUNT}"

_STEP = re.compile(rf"(?P<start>{_POSITION})\s*:\s*(?P<size>{_COUNT})", re.IGNORECASE)
_GEOMETRIC = re.compile(
    rf"geometric\s+(?P<first>{_COUNT})\s*\.\.\s*(?P<last>{_COUNT})\s+x(?P<growth>{_NUMBER})\s+every\s+(?P<every>{_POSITION})",
    re.IGNORECASE,
)
_GROW = re.compile(
    rf"grow\s+(?P<first>{_COUNT})\s+x(?P<decay>{_NUMBER})\s+at\s+(?P<at>{_POSITION}(?:[\s,]+{_POSITION})*)\s+max\s+(?P<largest>{_COUNT})",
    re.IGNORECASE,
)
_WARMUP = re.compile(
    rf"warmup\s+(?P<first>{_COUNT})\s*->\s*(?P<target>{_COUNT})\s+over\s+(?P<over>{_POSITION})", re.IGNORECASE
)
_STEPS = re.compile(rf"{_ONE_STEP}(?:[\s,]+{_ONE_STEP})*", re.IGNORECASE)
_AMOUNT = re.compile(rf"(?P<number>{_NUMBER})(?P<suffix>[kmb]?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)

_SUFFIX = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_MOST = 10**18


def policy_from_text(
    text: str, *, size: int, micro_size: int, epoch_size: int | None, coupling: Rule = "none"
) -> Policy:
    """The policy that `text` describes; the right texts are in `EXAMPLES`.

    - `size`: batch size of "constant". `micro_size`: most rows that fit at once.
    - `epoch_size`: examples per epoch, for positions such as `10ep`; None where there is none.
    - `coupling`: how the learning rate follows the size; not for "grow", which says that itself.

    Positions count examples (`500000`, `1e6`, `1.5M`, `2B`) or epochs (`10ep`, `2 epochs`). Raises `ArgumentError`.

    >>> policy_from_text("0:64 10ep:128", size=64, micro_size=64, epoch_size=1000)
    Steps(segments=((0, 64), (10000, 128)), micro_size=64, coupling='none')
    """
    require_count("size", size)
    require_count("micro_size", micro_size)
    lr_factor(coupling, 1.0)  # an unknown rule is not the text's fault
    line = str(text).strip()
    with _explained(line):
        if line.lower() == "constant":
            return Constant(size, rung_for(size, micro_size))
        if match := _GEOMETRIC.fullmatch(line):
            first, last = _size(match["first"]), _size(match["last"])
            growth, every = float(match["growth"]), _position(match["every"], epoch_size)
            return Geometric(first, last, growth, every, micro_size=micro_size, coupling=coupling)
        if match := _GROW.fullmatch(line):
            positions = re.findall(_POSITION, match["at"], re.IGNORECASE)
            boundaries = tuple(_position(position, epoch_size) for position in positions)
            first, largest = _size(match["first"]), _size(match["largest"])
            return GrowInsteadOfDecay(first, float(match["decay"]), boundaries, largest, micro_size=micro_size)
        if match := _WARMUP.fullmatch(line):
            first, target = _size(match["first"]), _size(match["target"])
            over = _position(match["over"], epoch_size)
            return Warmup(first, target, over, micro_size=micro_size, coupling=coupling)
        return Steps(_steps(line, epoch_size), micro_size=micro_size, coupling=coupling)


def parse_steps(text: str, epoch_size: int | None = None) -> tuple[tuple[int, int], ...]:
    """`((start, size), ...)` from `"start:size start:size ..."`, separated by blanks or commas.

    Raises `ArgumentError` for text of another form, and for `ep` where `epoch_size` is None.

    >>> parse_steps("0:64 1e6:128, 2.5M:1K")
    ((0, 64), (1000000, 128), (2500000, 1000))
    >>> parse_steps("0:64 1.5ep:128", epoch_size=1000)
    ((0, 64), (1500, 128))
    """
    line = str(text).strip()
    with _explained(line):
        return _steps(line, epoch_size)


@contextmanager
def _explained(line: str) -> Iterator[None]:
    """Any `ValueError` (an `ArgumentError` is one) as the one error that shows the text and a right one."""
    try:
        yield
    except ValueError as error:
        kind = line.split(maxsplit=1)[:1]
        forms = [example for example in EXAMPLES if example.split()[:1] == kind] or EXAMPLES
        why = str(error).split("; because")[0].replace("; got", ", not")
        right = " or ".join(repr(form) for form in forms)
        raise ArgumentError(must("schedule", "say how the batch size goes", line, why, right)) from None


def _steps(line: str, epoch_size: int | None) -> tuple[tuple[int, int], ...]:
    if not _STEPS.fullmatch(line):
        raise ValueError("it has none of the known forms")
    pairs = [(match["start"], match["size"]) for match in _STEP.finditer(line)]
    steps = tuple((_position(start, epoch_size), _size(size)) for start, size in pairs)
    if steps[0][0] != 0:
        raise ValueError("the first example has no size: the table begins at 0")
    for (before, _), (start, _) in pairwise(steps):
        if start == before:
            raise ValueError(f"position {start:,} is given twice")
        if start < before:
            raise ValueError(f"position {start:,} comes after {before:,}, and positions ascend")
    return steps


def _position(text: str, epoch_size: int | None) -> int:
    """Examples, from a count of examples or of epochs."""
    value, unit = _amount(text)
    if not unit.startswith("ep"):
        return _whole(text, value)
    if epoch_size is None:
        raise ValueError(f"{text!r} counts epochs and these data have none")
    return round(value * epoch_size)


def _size(text: str) -> int:
    size = _whole(text, _amount(text)[0])
    if size < 1:
        raise ValueError(f"a batch of {size} makes no update")
    return size


def _amount(text: str) -> tuple[Decimal, str]:
    match = _AMOUNT.fullmatch(text)
    assert match  # the forms above let nothing else through
    value = Decimal(match["number"]) * _SUFFIX[match["suffix"].lower()]  # not a float: 1.1M is 1,100,000
    if value > _MOST:
        raise ValueError(f"{text!r} is more examples than can be counted")
    return value, match["unit"].lower()


def _whole(text: str, value: Decimal) -> int:
    if value != int(value):
        raise ValueError(f"{text!r} is no whole number of examples")
    return int(value)
