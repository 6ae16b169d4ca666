"""The learning rate of a plan: the rule that carries it to the size, with its numbers and its warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ladle.core.errors import ArgumentError, must
from ladle.core.noise import NoiseScale
from ladle.core.plan import Evidence
from ladle.core.scaling.coupling import Coupling, Rule, rule_for

UNRESOLVED = "The noise scale is not resolved: the rate follows the linear rule, the mccandlish rule for a large one."


@dataclass(frozen=True)
class Rate:
    """A rate at `coupling.reference_size`, None where the optimiser brings its own, and how it follows the size."""

    coupling: Coupling
    reference_lr: float | None
    remarks: tuple[str, ...] = ()

    def at(self, size: int) -> float | None:
        """The learning rate at `size`, to three significant digits."""
        return None if self.reference_lr is None else rounded(self.reference_lr * self.coupling.at(size)[0])

    def hyper(self, size: int) -> dict[str, float]:
        """The constants that the rule moves, at `size`."""
        return self.coupling.at(size)[1]

    def evidence(self, size: int) -> tuple[Evidence, ...]:
        """Rate and moved constants, with what they came from."""
        reference, base = self.coupling.reference_size, dict(self.coupling.hyper)
        lr, (factor, moved) = self.at(size), self.coupling.at(size)
        numbers = []
        if self.reference_lr is not None and lr is not None:
            how = f"{self.coupling.resolved} rule from size {reference}: factor {factor:.3g}"
            numbers.append(Evidence("reference_lr", self.reference_lr, "", "given", f"at size {reference}"))
            numbers.append(Evidence("lr", lr, "", "predicted", how))
        how = f"{self.coupling.resolved} rule, from {{}} at size {reference}"
        numbers += [Evidence(n, value, "", "predicted", how.format(f"{base[n]:.6g}")) for n, value in moved.items()]
        return tuple(numbers)

    def notes(self, size: int, noise: NoiseScale) -> tuple[str, ...]:
        """What a careful reader would want to be told about the rate at `size`; nothing where there is none."""
        coupling = self.coupling
        if self.reference_lr is None:
            return self.remarks
        if coupling.rule == "none" and size != coupling.reference_size:
            name = coupling.optimizer or "this optimiser"
            return (*self.remarks, f"No rate rule is known for {name}: the rate is kept as given.")
        return (*self.remarks, *coupling.warnings(size, noise.value if noise.verdict == "resolved" else None))


def require_rule(rule: Rule | None, optimizer: str, hyper: Mapping[str, float], reference_size: int) -> None:
    """Refuse, before anything is measured, a rule that a plan cannot follow.

    Raises `ArgumentError` for an unknown one, one that needs a peak, and one that needs a constant that is not there.
    """
    if rule == "surge":
        why, remedy = "it needs the size where the best rate peaks, which a plan does not measure", "rule='square root'"
        raise ArgumentError(must("rule", "be one that a plan can follow", rule, why, remedy))
    Coupling(rule or rule_for(optimizer), reference_size, hyper, optimizer=optimizer, noise=_noise(rule, 1.0))


def rate_for(
    rule: Rule | None,
    optimizer: str,
    *,
    reference_size: int,
    reference_lr: float | None,
    hyper: Mapping[str, float],
    noise: NoiseScale,
) -> Rate:
    """The rate of a plan by `rule`, or by the optimiser's usual one. "mccandlish" needs a resolved noise scale.

    >>> from ladle.core.noise import NoiseScale
    >>> rate = rate_for(None, "adam", reference_size=64, reference_lr=1e-3, hyper={}, noise=NoiseScale.unknown())
    >>> rate.at(256)
    0.002
    """
    chosen, remarks = rule or rule_for(optimizer), ()
    if chosen == "mccandlish" and noise.verdict != "resolved":
        chosen, remarks = "linear", (UNRESOLVED,)
    coupling = Coupling(chosen, reference_size, hyper, optimizer=optimizer, noise=_noise(chosen, noise.value))
    return Rate(coupling, reference_lr, remarks)


def _noise(rule: str | None, value: float) -> float | None:
    return value if rule == "mccandlish" else None


def rounded(value: float, digits: int = 3) -> float:
    """`value` to a number of significant digits.

    >>> rounded(0.0012345), rounded(0.0)
    (0.00123, 0.0)
    """
    return float(f"{value:.{digits}g}")
