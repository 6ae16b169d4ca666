"""Learning rate and optimiser constants when the batch size changes by a factor kappa.

| rule | learning rate | constants | made for | source |
|---|---|---|---|---|
| none | x 1 | kept | optimisers we know nothing about | |
| linear | x kappa | kept | SGD, momentum; kappa B well below the noise scale | Goyal et al. 2017, arXiv 1706.02677 |
| square root | x sqrt(kappa) | kept | Adam and its kin, noise-dominated | Malladi et al. 2022, arXiv 2205.10287 |
| sde | x sqrt(kappa) | 1-b1, 1-b2 x kappa; eps / sqrt(kappa) | Adam, kappa (1-b) < 1 | Malladi et al. 2022 |
| half-life | x sqrt(kappa) | b2 ** kappa; b1, eps kept | Adam, any kappa | Marek et al. 2025, arXiv 2507.07101 |
| legw | x sqrt(kappa) | warmup epochs x kappa | large batches with a warmup | You et al. 2019, arXiv 1901.08256 |
| adamw timescale | x sqrt(kappa) | weight_decay x sqrt(kappa) | AdamW | Wang and Aitchison 2024, arXiv 2405.13698 |
| completed | x sqrt(kappa) | as sde; weight_decay x sqrt(kappa) | AdamW | Mlodozeniec et al. 2025, arXiv 2512.22382 |
| mccandlish | x (B0 + Bn) kappa / (kappa B0 + Bn) | kept | SGD, any kappa; needs Bn | arXiv 1812.06162, eq. 2.6 |
| surge | `surge(B, peak)` / `surge(B0, peak)` | kept | sign-like updates; needs the peak | arXiv 2405.14578 |

The SDE rule of SGD is the linear rule. The last two need a number besides kappa: `ladle.scaling.Coupling` takes it.

AdamW remembers weights for tau = B / (lr weight_decay D) passes over D examples (Wang and Aitchison; Bergsma et al.
2025, arXiv 2505.13738). "adamw timescale" keeps it: weight_decay x kappa / (factor of the rate). With a rate that is
kept, as in Bergsma et al., that is weight_decay x kappa.

"completed" is the part of that paper that concerns size and duration; it follows from the SDE of Adam. Its time is
updates times lr^2, its constants are (1-b)/lr^2, lr sigma and eps lr, with sigma ~ 1/sqrt(B). A pass over the same
examples at kappa times the size has 1/kappa as many updates: lr x sqrt(kappa) keeps time and lr sigma, hence 1-b x
kappa and eps / sqrt(kappa); decay per pass, updates times lr weight_decay, is kept by weight_decay x sqrt(kappa).
Training d times as long multiplies the updates by d: kappa / d in place of kappa keeps time, constants and decay, and
the noise lr sigma is smaller by sqrt(d). Width and depth are factors for each module, which one rate cannot express:
they are not done here.

All are starting points. On language models the best rate of Adam has been seen to grow only like kappa^0.16 (Marek
et al.): `rule_spread`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from ladle.core.errors import ArgumentError, must, nearest

Rule = Literal[
    "none",
    "linear",
    "square root",
    "sde",
    "half-life",
    "legw",
    "adamw timescale",
    "completed",
    "mccandlish",
    "surge",
]

RULES: tuple[Rule, ...] = (
    "none",
    "linear",
    "square root",
    "sde",
    "half-life",
    "legw",
    "adamw timescale",
    "completed",
)
"""Rules that need nothing but kappa."""

NEEDS: Mapping[str, str] = {"mccandlish": "noise", "surge": "peak"}
"""Rules that need a measured size besides, and the argument of `ladle.scaling.Coupling` that holds it."""

MOVES: Mapping[str, tuple[str, ...]] = {
    "sde": ("b1", "b2", "eps"),
    "half-life": ("b2",),
    "adamw timescale": ("weight_decay",),
    "completed": ("b1", "b2", "eps", "weight_decay"),
}
"""Constants that a rule moves, where the optimiser has them."""

ROUNDING = 1e-9
"""10 * (1 - 0.9) is one, whatever the last bit says."""

LINEAR = frozenset({"sgd", "momentum", "nesterov", "noisy_sgd", "lars", "lars_paper"})

SQUARE_ROOT = frozenset(
    {"adam", "adamw", "adamax", "adamaxw", "amsgrad", "nadam", "nadamw", "radam", "adabelief", "adan", "adafactor"}
    | {"adagrad", "rmsprop", "yogi", "novograd", "lamb", "lamb_paper", "lion", "sign_sgd", "signum", "muon", "sm3"}
)


def lr_factor(rule: Rule, kappa: float) -> float:
    """What to multiply the learning rate by when the batch becomes `kappa` times as large; formulas above.

    Raises `ArgumentError` for an unknown rule, one that needs more than kappa, or a `kappa` that is not positive.

    >>> lr_factor("linear", 4), lr_factor("square root", 4), lr_factor("none", 4)
    (4.0, 2.0, 1.0)
    """
    _check(rule, kappa)
    if rule == "none":
        return 1.0
    return float(kappa) if rule == "linear" else math.sqrt(kappa)


def rescale(rule: Rule, kappa: float, hyper: Mapping[str, float]) -> dict[str, float]:
    """The optimiser constants after the batch became `kappa` times as large. What the rule does not move is kept.

    Raises `ArgumentError` where the SDE rules have no answer, kappa (1 - b) >= 1 would make a decay rate negative; and
    where "adamw timescale" is asked of an optimiser without weight decay.

    >>> round(rescale("half-life", 1 / 512, {"b1": 0.9, "b2": 0.95})["b2"], 8)
    0.99989982
    """
    _check(rule, kappa)
    changed = {name: float(value) for name, value in hyper.items()}
    if rule == "half-life" and "b2" in changed:
        changed["b2"] = changed["b2"] ** kappa
    if rule in ("sde", "completed"):
        for name in ("b1", "b2"):
            if name in changed:
                changed[name] = _sde_decay(name, changed[name], kappa)
        if "eps" in changed:
            changed["eps"] /= math.sqrt(kappa)
    if rule in ("adamw timescale", "completed") and _decays(rule, changed):
        changed["weight_decay"] *= decay_factor(kappa, lr_factor(rule, kappa))
    return changed


def decay_factor(kappa: float, lr_factor: float, duration: float = 1.0) -> float:
    """What keeps tau = B / (lr weight_decay D): weight_decay x kappa / (factor of the rate x factor of the duration).

    >>> decay_factor(4, lr_factor=1.0), decay_factor(4, lr_factor=2.0), decay_factor(1, 1.0, duration=2)
    (4.0, 2.0, 0.5)
    """
    return kappa / (lr_factor * duration)


def warmup_epochs(rule: Rule, kappa: float, epochs: float) -> float:
    """Length of the warmup: LEGW multiplies its epochs by kappa, so that it keeps its updates. Other rules keep it.

    Nothing lengthens a warmup by itself: it is part of the rate's schedule, which its user writes.

    >>> warmup_epochs("legw", 8, 0.5), warmup_epochs("square root", 8, 0.5)
    (4.0, 0.5)
    """
    _check(rule, kappa)
    return epochs * kappa if rule == "legw" else epochs


def rule_for(optimizer: str) -> Rule:
    """The default rule of an optimiser, by name; "none" for one we do not know, such as the user's own.

    >>> rule_for("sgd"), rule_for("AdamW"), rule_for("mine")
    ('linear', 'square root', 'none')
    """
    name = optimizer.lower().replace("-", "_")
    if name in LINEAR:
        return "linear"
    return "square root" if name in SQUARE_ROOT else "none"


def rule_spread(kappa: float) -> tuple[float, float, float]:
    """Factors of the rate that measurements and rules span: kappa^0.15, kappa^0.5, kappa^1.

    The first is what sweeps of Adam on small language models found between batches of 1 and 1024 (exponent 0.156: Marek
    et al. 2025, arXiv 2507.07101, tuned rates 0.0017 and 0.005), the others what the rules say.

    >>> [round(factor, 2) for factor in rule_spread(64)]
    [1.87, 8.0, 64.0]
    """
    _check("none", kappa)
    return kappa**0.15, math.sqrt(kappa), float(kappa)


def _decays(rule: str, hyper: Mapping[str, float]) -> bool:
    """Whether there is weight decay to move. Its time-scale is all that "adamw timescale" is about."""
    if hyper.get("weight_decay", 0.0) > 0:
        return True
    if rule == "adamw timescale":
        got = hyper.get("weight_decay", "none")
        why = "the rule keeps the time over which weights decay"
        raise ArgumentError(must("weight_decay", f"be above 0 for {rule}", got, why, "rule='square root'"))
    return False


def _sde_decay(name: str, decay: float, kappa: float) -> float:
    if kappa * (1 - decay) >= 1 - ROUNDING:
        raise ArgumentError(
            must(
                f"kappa * (1 - {name})",
                "be below 1 for the SDE rule",
                round(kappa * (1 - decay), 6),
                f"{name}={decay:g} at {kappa:g} times the batch would turn into a decay rate of zero or less",
                "rule='half-life', which holds for any factor",
            )
        )
    return 1 - kappa * (1 - decay)


def _check(rule: str, kappa: float) -> None:
    if rule in NEEDS:
        needs = NEEDS[rule]
        why, remedy = f"{rule} also needs a measured {needs}", f"Coupling({rule!r}, reference_size, {needs}=...)"
        raise ArgumentError(must("rule", "need the change of size alone here", rule, why, remedy))
    if rule not in RULES:
        said = "be one of " + ", ".join((*RULES, *NEEDS))
        raise ArgumentError(must("rule", said, rule, "no other is known", nearest(rule, (*RULES, *NEEDS))))
    if not 0 < kappa < math.inf:
        raise ArgumentError(must("kappa", "be positive", kappa, "it is new size / old size", "kappa=2"))
