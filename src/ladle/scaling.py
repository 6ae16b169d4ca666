"""Learning rate and optimiser constants when the batch size changes by a factor kappa.

| rule | learning rate | constants | made for | source |
|---|---|---|---|---|
| none | x 1 | kept | optimisers we know nothing about | |
| linear | x kappa | kept | SGD, momentum; kappa B well below the noise scale | Goyal et al. 2017, arXiv 1706.02677 |
| square root | x sqrt(kappa) | kept | Adam and its kin, noise-dominated | Malladi et al. 2022, arXiv 2205.10287 |
| sde | x sqrt(kappa) | 1-b1, 1-b2 x kappa; eps / sqrt(kappa) | Adam, kappa (1-b) < 1 | Malladi et al. 2022 |
| half-life | x sqrt(kappa) | b2 ** kappa; b1, eps kept | Adam, any kappa | Marek et al. 2025, arXiv 2507.07101 |

The SDE rule of SGD is the linear rule. All are starting points: on language models the best rate of Adam has been
seen to grow only like kappa^0.16 (Marek et al.), so a large kappa deserves a short sweep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from ladle.errors import ArgumentError, must

Rule = Literal["none", "linear", "square root", "sde", "half-life"]

RULES: tuple[Rule, ...] = ("none", "linear", "square root", "sde", "half-life")

LINEAR = frozenset({"sgd", "momentum", "nesterov", "noisy_sgd", "lars"})

SQUARE_ROOT = frozenset(
    {"adam", "adamw", "adamax", "adamaxw", "amsgrad", "nadam", "nadamw", "radam", "adabelief", "adan", "adafactor"}
    | {"adagrad", "rmsprop", "yogi", "novograd", "lamb", "lion", "sign_sgd", "signum", "muon", "sm3"}
)


def lr_factor(rule: Rule, kappa: float) -> float:
    """What to multiply the learning rate by when the batch becomes `kappa` times as large; formulas above.

    Raises `ArgumentError` for an unknown rule or a `kappa` that is not positive.

    >>> lr_factor("linear", 4), lr_factor("square root", 4), lr_factor("none", 4)
    (4.0, 2.0, 1.0)
    """
    _check(rule, kappa)
    if rule == "none":
        return 1.0
    return float(kappa) if rule == "linear" else math.sqrt(kappa)


def rescale(rule: Rule, kappa: float, hyper: Mapping[str, float]) -> dict[str, float]:
    """The optimiser constants `b1`, `b2`, `eps` after the batch became `kappa` times as large. Others are kept.

    Raises `ArgumentError` where the SDE rule has no answer: kappa (1 - b) >= 1 would make a decay rate negative.

    >>> round(rescale("half-life", 1 / 512, {"b1": 0.9, "b2": 0.95})["b2"], 8)
    0.99989982
    """
    _check(rule, kappa)
    changed = {name: float(value) for name, value in hyper.items()}
    if rule == "half-life" and "b2" in changed:
        changed["b2"] = changed["b2"] ** kappa
    if rule == "sde":
        for name in ("b1", "b2"):
            if name in changed:
                changed[name] = _sde_decay(name, changed[name], kappa)
        if "eps" in changed:
            changed["eps"] /= math.sqrt(kappa)
    return changed


def _sde_decay(name: str, decay: float, kappa: float) -> float:
    if kappa * (1 - decay) >= 1:
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


def rule_for(optimizer: str) -> Rule:
    """The default rule of an optimiser, by name; "none" for one we do not know, such as the user's own.

    >>> rule_for("sgd"), rule_for("AdamW"), rule_for("mine")
    ('linear', 'square root', 'none')
    """
    name = optimizer.lower().replace("-", "_")
    if name in LINEAR:
        return "linear"
    return "square root" if name in SQUARE_ROOT else "none"


def surge(size: float, peak: float) -> float:
    """The best learning rate of sign-like updates at `size`, as a share of its largest value, which it has at `peak`.

    1 / (1/2 (sqrt(peak/size) + sqrt(size/peak))): rises like sqrt(size), then falls (Li et al. 2024, arXiv 2405.14578).
    There is a peak only where the curvature couples coordinates; with a diagonal one the best rate never falls.

    >>> surge(100, 100), round(surge(400, 100), 3)
    (1.0, 0.8)
    """
    return 2 / (math.sqrt(peak / size) + math.sqrt(size / peak))


def _check(rule: str, kappa: float) -> None:
    if rule not in RULES:
        raise ArgumentError(must("rule", "be one of " + ", ".join(RULES), rule, "no other is known", "'square root'"))
    if not 0 < kappa < math.inf:
        raise ArgumentError(must("kappa", "be positive", kappa, "it is new size / old size", "kappa=2"))
