"""Policies from one line of text, as the command line's `--schedule` takes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count
from ladle.core.traits import AnyCoupling
from ladle.policy.amounts import MOVES, NUMBER, RANGE, Context
from ladle.policy.coupling import require_coupling
from ladle.policy.forms import EXAMPLES, FORMS
from ladle.policy.retreat import Retreating
from ladle.policy.steps import Steps

if TYPE_CHECKING:
    from ladle.core.protocols import Policy


_RETREAT = re.compile(rf"(?P<inner>.+?)[\s,]+retreat(?:\s+(?P<share>{NUMBER}))?", re.IGNORECASE)


def policy_from_text(
    text: str,
    *,
    size: int,
    micro_size: int,
    epoch_size: int | None,
    coupling: AnyCoupling | None = None,
    length: int | None = None,
    lr: float | None = None,
    cores: int | None = None,
) -> Policy:
    """The policy that `text` describes; the right texts are in `EXAMPLES`.

    - `size`: batch size of "constant". `micro_size`: most rows that fit at once.
    - `epoch_size`: examples per epoch, for positions such as `10ep`; None where there is none. `length`: tokens per
      example, for positions such as `250B tokens`.
    - `coupling`: how the learning rate follows the size; each policy's own default where left out. Not for those that
      say it themselves: grow, seesaw, late, plateau, cabs, adascale, adadagrad.
    - `lr`: the run's rate, for "cabs". `cores`: of the processor where that is what trains, for "utilisation".

    Positions count examples (`500000`, `1e6`, `1.5M`, `2B`), epochs (`10ep`, `2 epochs`) or tokens (`5e9 tokens`).
    ", retreat" behind any of them halves micro-batches before memory runs out. Raises `ArgumentError`.

    >>> policy_from_text("0:64 10ep:128", size=64, micro_size=64, epoch_size=1000)
    Steps(segments=((0, 64), (10000, 128)), micro_size=64, coupling='none')
    """
    require_count("size", size)
    require_count("micro_size", micro_size)
    if coupling is not None:
        require_coupling(coupling)  # an unknown rule is not the text's fault
    line = str(text).strip()
    of_rate = {} if coupling is None else {"coupling": coupling}
    context = Context(size, micro_size, epoch_size, length, lr, of_rate, cores)
    with _explained(line):
        if match := _RETREAT.fullmatch(line):
            return Retreating(_policy(match["inner"], context), float(match["share"] or 0.9))
        return _policy(line, context)


def parse_steps(text: str, epoch_size: int | None = None, length: int | None = None) -> tuple[tuple[int, int], ...]:
    """`((start, size), ...)` from `"start:size start:size ..."`, separated by blanks or commas.

    A last word "tokens" makes all positions count tokens, `length` of them an example. Raises `ArgumentError` for text
    of another form, for `ep` where `epoch_size` is None, and for tokens where `length` is.

    >>> parse_steps("0:64 1e6:128, 2.5M:1K")
    ((0, 64), (1000000, 128), (2500000, 1000))
    >>> parse_steps("0:64 1.5ep:128", epoch_size=1000)
    ((0, 64), (1500, 128))
    >>> parse_steps("0:768 250B:1536, tokens", length=4096)
    ((0, 768), (61035156, 1536))
    """
    line = str(text).strip()
    with _explained(line):
        return Context(1, 1, epoch_size, length, None, {}).steps(line)


def _policy(line: str, context: Context) -> Policy:
    kind = _kind(line)
    if kind is None:
        return Steps(context.steps(line), micro_size=context.micro_size, **context.coupling)
    form = FORMS[kind]
    match = re.fullmatch(kind.replace(" ", r"\s+") + form.pattern, line, re.IGNORECASE)
    if not match:
        behind = f"; behind the range may stand {MOVES}" if RANGE in form.pattern else ""
        raise ValueError(f"it has none of the known forms{behind}")
    return form.make(match, context)


def _kind(line: str) -> str | None:
    """The kind whose first word the line begins with; None for a table."""
    word = re.match(r"[a-z]*", line, re.IGNORECASE)
    first = word[0].lower() if word else ""
    if not first:
        return None
    kinds = {kind.split()[0]: kind for kind in FORMS}
    if first not in kinds:
        raise ValueError(f"{first!r} is none of the known kinds: {', '.join(FORMS)}")
    return kinds[first]


@contextmanager
def _explained(line: str) -> Iterator[None]:
    """Any `ValueError` (an `ArgumentError` is one) as the one error that shows the text and a right one."""
    try:
        yield
    except ValueError as error:
        why = str(error).split("; because")[0].replace("; got", ", not")
        raise ArgumentError(must("schedule", "say how the batch size goes", line, why, _right(line))) from None


def _right(line: str) -> str:
    """A right text of the kind that was meant; several, where that cannot be told."""
    words = {name: form.example for kind, form in FORMS.items() for name in (kind.split()[0], kind.replace(" ", ""))}
    first = line.split(maxsplit=1)[0].lower() if line else ""
    close = [first] if first in words else get_close_matches(first, words, n=1, cutoff=0.7)
    shown = [words[word] for word in close] or [EXAMPLES[0], words["grow"], words["warmup"], words["noise"]]
    return " or ".join(repr(form) for form in shown)
