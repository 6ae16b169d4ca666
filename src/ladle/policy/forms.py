"""The texts that each kind of policy has: its form, a right one, and the policy that is made of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ladle.core.spec import rung_for
from ladle.policy.adadagrad import AdAdaGrad
from ladle.policy.adascale import AdaScale
from ladle.policy.amounts import COUNT, NUMBER, POSITION, POSITIONS, RANGE, TABLE, Context, amount, size_of, whole
from ladle.policy.cabs import CABS
from ladle.policy.constant import Constant
from ladle.policy.divebatch import DiveBatch
from ladle.policy.geometric import Geometric
from ladle.policy.goodput import Goodput
from ladle.policy.grow_instead_of_decay import GrowInsteadOfDecay
from ladle.policy.inner_product import InnerProduct
from ladle.policy.late_switch import LateSwitch
from ladle.policy.measured_warmup import MeasuredWarmup
from ladle.policy.noise_follow import NoiseFollow
from ladle.policy.normtest import NormTest
from ladle.policy.plateau import Plateau
from ladle.policy.seesaw import Seesaw
from ladle.policy.utilisation import Utilisation
from ladle.policy.warmup import Warmup

if TYPE_CHECKING:
    from ladle.core.protocols import Policy


def _constant(match: re.Match[str], context: Context) -> Policy:
    return Constant(context.size, rung_for(context.size, context.micro_size))


def _geometric(match: re.Match[str], context: Context) -> Policy:
    first, last, every = size_of(match["smallest"]), size_of(match["largest"]), context.position(match["every"])
    return Geometric(first, last, float(match["growth"]), every, micro_size=context.micro_size, **context.coupling)


def _grow(match: re.Match[str], context: Context) -> Policy:
    first, largest, at = size_of(match["first"]), size_of(match["largest"]), context.positions(match["at"])
    return GrowInsteadOfDecay(first, float(match["decay"]), at, largest, micro_size=context.micro_size)


def _seesaw(match: re.Match[str], context: Context) -> Policy:
    first, largest, at = size_of(match["first"]), size_of(match["largest"]), context.positions(match["at"])
    return Seesaw(first, float(match["decay"]), at, largest, micro_size=context.micro_size)


def _warmup(match: re.Match[str], context: Context) -> Policy:
    first, target, over = size_of(match["first"]), size_of(match["last"]), context.position(match["over"])
    return Warmup(first, target, over, micro_size=context.micro_size, **context.coupling)


def _late(match: re.Match[str], context: Context) -> Policy:
    first, last, at = size_of(match["first"]), size_of(match["last"]), context.positions(match["at"])
    return LateSwitch(first, last, at, micro_size=context.micro_size)


def _measured(match: re.Match[str], context: Context) -> Policy:
    first, largest, table = size_of(match["smallest"]), size_of(match["largest"]), context.steps(match["table"])
    return MeasuredWarmup(first, largest, table, micro_size=context.micro_size, **context.coupling)


def _noise(match: re.Match[str], context: Context) -> Policy:
    return NoiseFollow(context.range(match), float(match["scale"] or 1), **context.coupling)


def _norm_test(match: re.Match[str], context: Context) -> Policy:
    estimator = "unbiased" if match["unbiased"] or match["first_unbiased"] else "biased"
    return NormTest(context.range(match), float(match["theta"] or 0.5), estimator, **context.coupling)


def _inner_product(match: re.Match[str], context: Context) -> Policy:
    return InnerProduct(context.range(match), float(match["theta"] or 0.9), **context.coupling)


def _cabs(match: re.Match[str], context: Context) -> Policy:
    lr = float(match["lr"]) if match["lr"] else context.lr
    if lr is None:
        raise ValueError("its size is proportional to the learning rate, which has to be given as a number")
    return CABS(context.range(match), lr)


def _adascale(match: re.Match[str], context: Context) -> Policy:
    base, size = size_of(match["first"]), size_of(match["last"])
    if size < base:
        raise ValueError(f"the rate of a batch of {base} is scaled up, and {size} is smaller")
    return AdaScale(Constant(size, rung_for(size, context.micro_size)), base)


def _goodput(match: re.Match[str], context: Context) -> Policy:
    return Goodput(context.range(match), **context.coupling)


def _divebatch(match: re.Match[str], context: Context) -> Policy:
    return DiveBatch(context.range(match), float(match["delta"] or 0.5), **context.coupling)


def _adadagrad(match: re.Match[str], context: Context) -> Policy:
    return AdAdaGrad(context.range(match), float(match["eta"] or 0.25))


def _utilisation(match: re.Match[str], context: Context) -> Policy:
    return Utilisation(context.range(match), cores=context.cores, **context.coupling)


def _plateau(match: re.Match[str], context: Context) -> Policy:
    first, largest = size_of(match["first"]), size_of(match["largest"])
    patience = whole(match["patience"], amount(match["patience"])[0])
    metric = (match["metric"] or "valid_loss").lower()
    return Plateau(first, largest, context.micro_size, float(match["growth"]), patience, metric)


_UP_TO = rf"(?P<first>{COUNT})\s*->\s*(?P<last>{COUNT})"
_DECAYS = rf"\s+(?P<first>{COUNT})\s+x(?P<decay>{NUMBER})\s+at\s+(?P<at>{POSITIONS})\s+max\s+(?P<largest>{COUNT})"
_SPAN = rf"\s+(?P<smallest>{COUNT})\s*\.\.\s*(?P<largest>{COUNT})\s+"


@dataclass(frozen=True)
class Form:
    """One kind of text.

    - `example`: a right one. `pattern`: of what follows the kind. `make`: the policy of what was matched.
    """

    example: str
    pattern: str
    make: Callable[[re.Match[str], Context], Policy]


FORMS: dict[str, Form] = {
    "constant": Form("constant", "", _constant),
    "geometric": Form(
        "geometric 32..1024 x2 every 2 epochs",
        rf"{_SPAN}x(?P<growth>{NUMBER})\s+every\s+(?P<every>{POSITION})",
        _geometric,
    ),
    "grow": Form("grow 64 x5 at 10ep 20ep max 2048", _DECAYS, _grow),
    "warmup": Form("warmup 8->64 over 1ep", rf"\s+{_UP_TO}\s+over\s+(?P<over>{POSITION})", _warmup),
    "seesaw": Form("seesaw 64 x2 at 10ep 20ep max 2048", _DECAYS, _seesaw),
    "late": Form("late 64->1024 at 80ep", rf"\s+{_UP_TO}\s+at\s+(?P<at>{POSITIONS})", _late),
    "measured": Form("measured 64..1024 0:100 1e6:400", rf"{_SPAN}(?P<table>{TABLE})", _measured),
    "noise": Form("noise 32..1024", rf"(?:\s+x(?P<scale>{NUMBER}))?{RANGE}", _noise),
    "norm test": Form(
        "norm test 0.5 32..1024",
        rf"(?P<first_unbiased>\s+unbiased)?(?:\s+(?P<theta>{NUMBER}))?(?P<unbiased>\s+unbiased)?{RANGE}",
        _norm_test,
    ),
    "inner product": Form("inner product 0.9 32..1024", rf"(?:\s+(?P<theta>{NUMBER}))?{RANGE}", _inner_product),
    "cabs": Form("cabs 16..2048 lr 0.1", rf"{RANGE}(?:\s+lr\s+(?P<lr>{NUMBER}|[0-9.]+e-[0-9]+))?", _cabs),
    "adascale": Form("adascale 32->256", rf"\s+{_UP_TO}", _adascale),
    "goodput": Form("goodput 32..1024", RANGE, _goodput),
    "divebatch": Form("divebatch 0.5 32..1024", rf"(?:\s+(?P<delta>{NUMBER}))?{RANGE}", _divebatch),
    "adadagrad": Form("adadagrad 0.25 32..1024", rf"(?:\s+(?P<eta>{NUMBER}))?{RANGE}", _adadagrad),
    "plateau": Form(
        "plateau 64 x2 patience 3 max 1024",
        rf"\s+(?P<first>{COUNT})\s+x(?P<growth>{NUMBER})\s+patience\s+(?P<patience>{COUNT})\s+max\s+"
        rf"(?P<largest>{COUNT})(?:\s+on\s+(?P<metric>[a-z0-9_/]+))?",
        _plateau,
    ),
    "utilisation": Form("utilisation 32..1024", RANGE, _utilisation),
}
"""By kind: the words that a text of it begins with."""

EXAMPLES = ("0:64 10ep:128", *(form.example for form in FORMS.values()), "noise 32..1024, retreat 0.9")
"""One right text of each kind."""
