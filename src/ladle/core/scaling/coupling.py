"""What changes with the batch size: the learning rate, the optimiser's constants, the regularisation.

`Coupling` is the value that a policy or a plan holds: a rule with the size it is anchored at. Its `at` is the formula,
its `warnings` the tests of where that formula holds. The rules themselves are in `rules.py` beside this file, the
optima that they are limits of in `optima.py`, levels of regularisation in `levels.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ladle.core.constants import EMA
from ladle.core.errors import ArgumentError, must
from ladle.core.scaling import levels as levels_
from ladle.core.scaling.levels import AddedNoise, Level
from ladle.core.scaling.optima import noisy_rate, sgd_noise, sign_rate, surge, surge_peak
from ladle.core.scaling.rules import (
    LINEAR,
    MOVES,
    NEEDS,
    RULES,
    SQUARE_ROOT,
    Rule,
    decay_factor,
    lr_factor,
    rescale,
    rule_for,
    rule_spread,
    warmup_epochs,
)
from ladle.core.spec import require_count

__all__ = [
    "FAR", "LINEAR", "MOVES", "NEEDS", "RULES", "SQUARE_ROOT", "AddedNoise", "Coupling", "Level", "Rule",
    "decay_factor", "lr_factor", "noisy_rate", "rescale", "rule_for", "rule_spread", "sgd_noise", "sign_rate", "surge",
    "surge_peak", "warmup_epochs",
]  # fmt: skip

FAR = 64
"""Change of size over which no rate rule should be trusted without a sweep."""

LONG_WARMUP = 8
"""Change of size from which on the linear rule wants a warmup (Goyal et al. 2017: 5 epochs, from the old rate)."""

COARSE = 0.5
"""kappa (1 - b) from which on the SDE rule, an expansion for small ones, is coarse."""

Pairs = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Coupling:
    """How rate, constants and levels follow the batch size from `reference_size`, where all have their base values.

    - `rule`: see `ladle.core.scaling.rules`. "sde" for an SGD optimiser is the linear rule.
    - `hyper`: base values of the optimiser's constants, a mapping or pairs; those that the rule moves are returned.
    - `levels`: `Level`s and `AddedNoise`.
    - `optimizer`: its name, for warnings.
    - `noise`: gradient noise scale in examples, which "mccandlish" needs. `peak`: the size where the best rate is
      largest, which "surge" needs (`surge_peak`).
    - `duration`: times as many examples as where the base values were tuned; for "completed" and "adamw timescale".

    A value: frozen, hashable, `to_json` and `from_json`. Raises `ArgumentError` for what cannot be meant.

    >>> coupling = Coupling("half-life", 64, {"b1": 0.9, "b2": 0.999})
    >>> coupling.at(256)
    (2.0, {'b2': 0.996005996001})
    >>> Coupling("mccandlish", 64, noise=192).at(192)
    (2.0, {})
    """

    rule: Rule = "none"
    reference_size: int = 1
    hyper: Mapping[str, float] | Pairs = ()
    levels: tuple[Level | AddedNoise, ...] = ()
    optimizer: str = ""
    noise: float | None = None
    peak: float | None = None
    duration: float = 1.0

    def __post_init__(self) -> None:
        require_count("reference_size", self.reference_size)
        pairs = tuple(sorted((str(name), float(value)) for name, value in dict(self.hyper).items()))
        object.__setattr__(self, "hyper", pairs)
        object.__setattr__(self, "levels", tuple(self.levels))
        for rule, name in NEEDS.items():
            _need(rule == self.rule, name, getattr(self, name))
        if not 0 < self.duration < math.inf or (
            self.duration != 1 and self.rule not in ("completed", "adamw timescale")
        ):
            why = f"only 'completed' and 'adamw timescale' say what it changes, not {self.rule!r}"
            raise ArgumentError(
                must("duration", "be positive, and 1 for other rules", self.duration, why, "duration=1")
            )
        names = [level.name for level in self.levels] + [
            name for name in MOVES.get(self.resolved, ()) if name in dict(pairs)
        ]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            why = "two formulas cannot both set it"
            raise ArgumentError(must("levels", "name each constant once", twice, why, "one of the two"))
        self.at(self.reference_size)

    @property
    def resolved(self) -> Rule:
        """The rule in force: "sde" of an SGD optimiser is the linear one."""
        sgd = self.optimizer.lower().replace("-", "_") in LINEAR
        return "linear" if self.rule == "sde" and sgd else self.rule

    def at(self, size: float) -> tuple[float, dict[str, float]]:
        """`(lr_factor, hyper)` at `size`: the factor of the base rate, absolute values of what moves.

        Raises `ArgumentError` where the rule has no answer (see `rescale`).
        """
        kappa, base = size / self.reference_size, dict(self.hyper)
        if self.rule in NEEDS:
            factor, moved = self._measured(size), {}
        else:
            span = kappa / self.duration if self.rule == "completed" else kappa
            factor, changed = lr_factor(self.resolved, span), rescale(self.resolved, span, base)
            moved = {name: changed[name] for name in MOVES.get(self.resolved, ()) if name in base}
        if self.rule == "adamw timescale":
            moved["weight_decay"] = base["weight_decay"] * decay_factor(kappa, factor, self.duration)
        if EMA in base:  # Its half-life in examples stays, whatever the rule: it is no part of what is trained.
            moved[EMA] = base[EMA] ** kappa
        return factor, {**moved, **{level.name: level.at(size, self.reference_size) for level in self.levels}}

    def _measured(self, size: float) -> float:
        """Factor of the rate by a rule that knows where the best rate flattens or falls."""
        if self.rule == "surge":
            assert self.peak is not None
            return surge(size, self.peak) / surge(self.reference_size, self.peak)
        assert self.noise is not None
        return noisy_rate(size, noise=self.noise) / noisy_rate(self.reference_size, noise=self.noise)

    def warnings(self, size: float, noise_scale: float | None = None) -> tuple[str, ...]:
        """What a careful reader would want to be told about `at(size)`, one sentence each; none where all is well.

        - `noise_scale`: in examples, where it is known.

        >>> Coupling("linear", 64).warnings(128, noise_scale=5000.0)
        ()
        >>> Coupling("linear", 64).warnings(256, noise_scale=100.0)[0][:68]
        'The size is above the noise scale, where the linear rule overshoots:'
        """
        kappa = size / self.reference_size
        if kappa == 1:
            return ()
        said = [*self._of_family(), *self._of_rule(kappa), *self._of_noise(size, noise_scale)]
        return tuple(said + ([_spread(kappa)] if self.rule != "none" and max(kappa, 1 / kappa) >= FAR else []))

    def _of_family(self) -> list[str]:
        """A rule used with an optimiser that it was not made for."""
        family = rule_for(self.optimizer)
        if family == "square root" and self.rule in ("linear", "mccandlish"):
            return [f"The {self.rule} rule was made for SGD; steps of {self.optimizer} do not grow with the gradient."]
        if family == "linear" and self.resolved not in ("none", "linear", "legw", "mccandlish"):
            return [f"The {self.rule} rule was made for Adam and its kin; {self.optimizer} wants 'linear'."]
        return []

    def _of_rule(self, kappa: float) -> list[str]:
        said, base = [], dict(self.hyper)
        if self.resolved == "linear" and kappa >= LONG_WARMUP:
            said.append(f"The linear rule over a factor of {kappa:.3g} is used with a warmup of about 5 epochs.")
        if self.resolved in ("sde", "completed"):
            rough = [
                name for name in ("b1", "b2") if name in base and kappa / self.duration * (1 - base[name]) >= COARSE
            ]
            said += [f"{name} moves far: the SDE rule holds for small kappa (1 - {name})." for name in rough]
        if self.rule == "legw":
            longer = warmup_epochs(self.rule, kappa, 1.0)
            said.append(
                f"LEGW also asks for {longer:.3g} times as many epochs of warmup, which the rate's schedule has to say."
            )
        if self.rule == "surge" and self.peak is not None and self.peak < self.reference_size * max(kappa, 1.0):
            said.append(f"Beyond {self.peak:.3g} examples the rate falls, as long as the curvature stays as it was.")
        if self.rule == "completed" and self.duration != 1:
            change = "less" if self.duration > 1 else "more"
            share = math.sqrt(max(self.duration, 1 / self.duration))
            said.append(
                f"Another duration keeps the time-scales, not the noise: there is {share:.3g} times {change} of it."
            )
        return said

    def _of_noise(self, size: float, noise_scale: float | None) -> list[str]:
        if noise_scale is None or not 0 < noise_scale < size or size < self.reference_size:
            return []
        if self.resolved == "linear":
            best = noisy_rate(size, noise=noise_scale) / noisy_rate(self.reference_size, noise=noise_scale)
            kappa = size / self.reference_size
            return [
                "The size is above the noise scale, where the linear rule overshoots: "
                f"x{best:.3g} in place of x{kappa:.3g} would be best for SGD (mccandlish), so try a smaller rate too."
            ]
        if self.resolved not in ("none", "mccandlish", "surge"):
            return [f"The size is above the noise scale, and the {self.rule} rule supposes that noise dominates."]
        return []

    def to_json(self) -> dict[str, Any]:
        plain = ("rule", "reference_size", "optimizer", "noise", "peak", "duration")
        made = {name: getattr(self, name) for name in plain}
        return {**made, "hyper": dict(self.hyper), "levels": [levels_.to_json(level) for level in self.levels]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Coupling:
        return cls(**{**value, "levels": tuple(levels_.from_json(level) for level in value.get("levels", ()))})


def _spread(kappa: float) -> str:
    """The honest spread, as a sentence: measured exponent 0.15, the rules' 0.5 and 1."""
    low, middle, high = sorted(rule_spread(kappa))
    apart = max(kappa, 1 / kappa)
    return (
        f"The rate was carried over a factor of {apart:.0f} in size, where measurements and rules range from "
        f"x{low:.3g} through x{middle:.3g} to x{high:.3g}: a short sweep of rates is worth it."
    )


def _need(asked: bool, name: str, value: float | None) -> None:
    """A measured size, positive, where the rule asks for one and only there."""
    if asked and (value is None or not 0 < value < math.inf):
        why, remedy = "the rule bends at that size", f"{name}=1000.0"
        raise ArgumentError(must(name, "be a size in examples for this rule", value, why, remedy))
    if not asked and value is not None:
        raise ArgumentError(must(name, "be left out for this rule", value, "it does not use it", f"{name}=None"))
