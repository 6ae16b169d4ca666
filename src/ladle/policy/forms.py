"""The texts that each kind of policy has: its form, a right one, and the policy that is made of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ladle.core.spec import rung_for
from ladle.policy.adadagrad import AdAdaGrad
from ladle.policy.adascale import AdaScale
from ladle.policy.amounts import COUNT, NUMBER, POSITION, POSITIONS, RANGE, TABLE, Setting, amount, size_of, whole
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

FORMS: dict[str, tuple[str, str, Callable[[re.Match[str], Setting], Policy]]] = {
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

EXAMPLES = ("0:64 10ep:128", *(example for example, _, _ in FORMS.values()), "noise 32..1024, retreat 0.9")
"""One right text of each kind."""
