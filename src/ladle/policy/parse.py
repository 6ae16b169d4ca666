"""Policies from one line of text, as the command line's `--schedule` takes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count, rung_for
from ladle.policy.amounts import (
    COUNT,
    MOVES,
    NUMBER,
    POSITION,
    POSITIONS,
    RANGE,
    TABLE,
    Setting,
    amount,
    size_of,
    whole,
)
from ladle.policy.change import AnyCoupling, require_coupling
from ladle.policy.constant import Constant
from ladle.policy.convergence import Plateau
from ladle.policy.gains import AdaScale, Goodput
from ladle.policy.gradient_error import AdAdaGrad, InnerProduct, NormTest
from ladle.policy.phases import LateSwitch, MeasuredWarmup, Seesaw
from ladle.policy.resources import Retreating, Utilisation
from ladle.policy.schedule import Geometric, GrowInsteadOfDecay, Steps, Warmup
from ladle.policy.statistics import CABS, DiveBatch, NoiseFollow

if TYPE_CHECKING:
    from ladle.core.protocols import Policy

_RETREAT = re.compile(rf"(?P<inner>.+?)[\s,]+retreat(?:\s+(?P<share>{NUMBER}))?", re.IGNORECASE)


def _constant(m: re.Match[str], to: Setting) -> Policy:
    return Constant(to.size, rung_for(to.size, to.micro_size))


def _geometric(m: re.Match[str], to: Setting) -> Policy:
    first, last, every = size_of(m["smallest"]), size_of(m["largest"]), to.position(m["every"])
    return Geometric(first, last, float(m["growth"]), every, micro_size=to.micro_size, **to.coupling)


def _grow(m: re.Match[str], to: Setting) -> Policy:
    first, decay, at, largest = size_of(m["first"]), float(m["decay"]), to.positions(m["at"]), size_of(m["largest"])
    return GrowInsteadOfDecay(first, decay, at, largest, micro_size=to.micro_size)


def _seesaw(m: re.Match[str], to: Setting) -> Policy:
    first, decay, at, largest = size_of(m["first"]), float(m["decay"]), to.positions(m["at"]), size_of(m["largest"])
    return Seesaw(first, decay, at, largest, micro_size=to.micro_size)


def _warmup(m: re.Match[str], to: Setting) -> Policy:
    first, target, over = size_of(m["first"]), size_of(m["last"]), to.position(m["over"])
    return Warmup(first, target, over, micro_size=to.micro_size, **to.coupling)


def _late(m: re.Match[str], to: Setting) -> Policy:
    return LateSwitch(size_of(m["first"]), size_of(m["last"]), to.positions(m["at"]), micro_size=to.micro_size)


def _measured(m: re.Match[str], to: Setting) -> Policy:
    first, largest, table = size_of(m["smallest"]), size_of(m["largest"]), to.steps(m["table"])
    return MeasuredWarmup(first, largest, table, micro_size=to.micro_size, **to.coupling)


def _noise(m: re.Match[str], to: Setting) -> Policy:
    return NoiseFollow(to.range(m), float(m["scale"] or 1), **to.coupling)


def _norm_test(m: re.Match[str], to: Setting) -> Policy:
    estimator = "unbiased" if m["unbiased"] or m["first_unbiased"] else "biased"
    return NormTest(to.range(m), float(m["theta"] or 0.5), estimator, **to.coupling)


def _inner_product(m: re.Match[str], to: Setting) -> Policy:
    return InnerProduct(to.range(m), float(m["theta"] or 0.9), **to.coupling)


def _cabs(m: re.Match[str], to: Setting) -> Policy:
    lr = float(m["lr"]) if m["lr"] else to.lr
    if lr is None:
        raise ValueError("its size is proportional to the learning rate, which has to be given as a number")
    return CABS(to.range(m), lr)


def _adascale(m: re.Match[str], to: Setting) -> Policy:
    base, size = size_of(m["first"]), size_of(m["last"])
    if size < base:
        raise ValueError(f"the rate of a batch of {base} is scaled up, and {size} is smaller")
    return AdaScale(Constant(size, rung_for(size, to.micro_size)), base)


def _goodput(m: re.Match[str], to: Setting) -> Policy:
    return Goodput(to.range(m), **to.coupling)


def _divebatch(m: re.Match[str], to: Setting) -> Policy:
    return DiveBatch(to.range(m), float(m["delta"] or 0.5), **to.coupling)


def _adadagrad(m: re.Match[str], to: Setting) -> Policy:
    return AdAdaGrad(to.range(m), float(m["eta"] or 0.25))


def _utilisation(m: re.Match[str], to: Setting) -> Policy:
    return Utilisation(to.range(m), cores=to.cores, **to.coupling)


def _plateau(m: re.Match[str], to: Setting) -> Policy:
    first, largest, patience = (
        size_of(m["first"]),
        size_of(m["largest"]),
        whole(m["patience"], amount(m["patience"])[0]),
    )
    metric = (m["metric"] or "valid_loss").lower()
    return Plateau(first, largest, to.micro_size, float(m["growth"]), patience, metric)


_UP_TO = rf"(?P<first>{COUNT})\s*->\s*(?P<last>{COUNT})"
_DECAYS = rf"\s+(?P<first>{COUNT})\s+x(?P<decay>{NUMBER})\s+at\s+(?P<at>{POSITIONS})\s+max\s+(?P<largest>{COUNT})"
_SPAN = rf"\s+(?P<smallest>{COUNT})\s*\.\.\s*(?P<largest>{COUNT})\s+"

_FORMS: dict[str, tuple[str, str, Callable[[re.Match[str], Setting], Policy]]] = {
    "constant": ("constant", "", _constant),
    "geometric": (
        "geometric 32..1024 x2 every 2 epochs",
        rf"{_SPAN}x(?P<growth>{NUMBER})\s+every\s+(?P<every>{POSITION})",
        _geometric,
    ),
    "grow": ("grow 64 x5 at 10ep 20ep max 2048", _DECAYS, _grow),
    "warmup": ("warmup 8->64 over 1ep", rf"\s+{_UP_TO}\s+over\s+(?P<over>{POSITION})", _warmup),
    "seesaw": ("seesaw 64 x2 at 10ep 20ep max 2048", _DECAYS, _seesaw),
    "late": ("late 64->1024 at 80ep", rf"\s+{_UP_TO}\s+at\s+(?P<at>{POSITIONS})", _late),
    "measured": ("measured 64..1024 0:100 1e6:400", rf"{_SPAN}(?P<table>{TABLE})", _measured),
    "noise": ("noise 32..1024", rf"(?:\s+x(?P<scale>{NUMBER}))?{RANGE}", _noise),
    "norm test": (
        "norm test 0.5 32..1024",
        rf"(?P<first_unbiased>\s+unbiased)?(?:\s+(?P<theta>{NUMBER}))?(?P<unbiased>\s+unbiased)?{RANGE}",
        _norm_test,
    ),
    "inner product": ("inner product 0.9 32..1024", rf"(?:\s+(?P<theta>{NUMBER}))?{RANGE}", _inner_product),
    "cabs": ("cabs 16..2048 lr 0.1", rf"{RANGE}(?:\s+lr\s+(?P<lr>{NUMBER}|[0-9.]+e-[0-9]+))?", _cabs),
    "adascale": ("adascale 32->256", rf"\s+{_UP_TO}", _adascale),
    "goodput": ("goodput 32..1024", RANGE, _goodput),
    "divebatch": ("divebatch 0.5 32..1024", rf"(?:\s+(?P<delta>{NUMBER}))?{RANGE}", _divebatch),
    "adadagrad": ("adadagrad 0.25 32..1024", rf"(?:\s+(?P<eta>{NUMBER}))?{RANGE}", _adadagrad),
    "plateau": (
        "plateau 64 x2 patience 3 max 1024",
        rf"\s+(?P<first>{COUNT})\s+x(?P<growth>{NUMBER})\s+patience\s+(?P<patience>{COUNT})\s+max\s+"
        rf"(?P<largest>{COUNT})(?:\s+on\s+(?P<metric>[a-z0-9_/]+))?",
        _plateau,
    ),
    "utilisation": ("utilisation 32..1024", RANGE, _utilisation),
}
"""Kind -> a right text, the form of what follows the kind, and what is made of it."""

EXAMPLES = ("0:64 10ep:128", *(example for example, _, _ in _FORMS.values()), "noise 32..1024, retreat 0.9")
"""One right text of each kind."""


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
    to = Setting(size, micro_size, epoch_size, length, lr, {} if coupling is None else {"coupling": coupling}, cores)
    with _explained(line):
        if match := _RETREAT.fullmatch(line):
            return Retreating(_policy(match["inner"], to), float(match["share"] or 0.9))
        return _policy(line, to)


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
        return Setting(1, 1, epoch_size, length, None, {}).steps(line)


def _policy(line: str, to: Setting) -> Policy:
    kind = _kind(line)
    if kind is None:
        return Steps(to.steps(line), micro_size=to.micro_size, **to.coupling)
    _, form, made = _FORMS[kind]
    match = re.fullmatch(kind.replace(" ", r"\s+") + form, line, re.IGNORECASE)
    if not match:
        behind = f"; behind the range may stand {MOVES}" if RANGE in form else ""
        raise ValueError(f"it has none of the known forms{behind}")
    return made(match, to)


def _kind(line: str) -> str | None:
    """The kind whose first word the line begins with; None for a table."""
    word = re.match(r"[a-z]*", line, re.IGNORECASE)
    first = word[0].lower() if word else ""
    if not first:
        return None
    kinds = {kind.split()[0]: kind for kind in _FORMS}
    if first not in kinds:
        raise ValueError(f"{first!r} is none of the known kinds: {', '.join(_FORMS)}")
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
    words = {name: form[0] for kind, form in _FORMS.items() for name in (kind.split()[0], kind.replace(" ", ""))}
    first = line.split(maxsplit=1)[0].lower() if line else ""
    close = [first] if first in words else get_close_matches(first, words, n=1, cutoff=0.7)
    shown = [words[word] for word in close] or [EXAMPLES[0], words["grow"], words["warmup"], words["noise"]]
    return " or ".join(repr(form) for form in shown)
