"""Published laws of batch size and learning rate for language models: a labelled spread, never one number.

On the same model and data they differ by a factor of fifty, because they answer different questions (`Law.definition`),
with other optimisers, data and sequence lengths. Inside the range that they were fitted on they are a place to start.
Sizes are in tokens. A token inside a sequence is not independent of its neighbours, so a law in tokens also depends on
the length of the sequences it was fitted with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ladle.core.errors import ArgumentError, must

KNOWN = {"parameters": (1.0, 1e20), "tokens": (1.0, 1e20), "loss": (0.01, 100.0)}
"""Far wider than what any law was fitted on; beyond it their powers are no sizes, or no numbers at all."""

BEST = "lowest loss at these parameters and tokens"


@dataclass(frozen=True)
class Law:
    """One law at one place.

    - `size_tokens`: its batch size; None where it gives none here, and `note` says why. `lr`: its learning rate, where
      it has one, for its own parametrisation and schedule.
    - `definition`: what the size is the answer to. `optimizer`: what it was fitted with. `formula`, `source`.
    """

    name: str
    size_tokens: float | None
    lr: float | None
    definition: str
    optimizer: str
    formula: str
    source: str
    note: str = ""


@dataclass(frozen=True)
class Spread:
    """What all laws say of a model of `parameters` weights and `tokens` tokens; `length` tokens in a sequence.

    >>> found = batch_size_spread(5e8, 1e10)
    >>> round(found.low), round(found.high)
    (297460, 16777216)
    """

    parameters: float
    tokens: float
    loss: float | None
    length: int
    laws: tuple[Law, ...]

    @property
    def low(self) -> float:
        """The smallest size that any law gives, in tokens."""
        return min(self._sizes())

    @property
    def high(self) -> float:
        """The largest one."""
        return max(self._sizes())

    def law(self, name: str) -> Law:
        """The law of that name."""
        return next(law for law in self.laws if law.name == name)

    def _sizes(self) -> Iterator[float]:
        return (law.size_tokens for law in self.laws if law.size_tokens is not None)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "laws": [asdict(law) for law in self.laws], "low": self.low, "high": self.high}

    def __str__(self) -> str:
        """A table of the laws, what they mean, and the span of their answers."""
        head = f"{'law':<22}{'tokens':>10}{'sequences':>11}{'rate':>10}"
        span = f"From {_short(self.low)} to {_short(self.high)} tokens, a factor of {self.high / self.low:.0f}: they"
        told = [f"{law.name}: {law.definition}; {law.optimizer}; {law.source}{_noted(law)}." for law in self.laws]
        end = f"{span} answer different questions, so there is no single answer. Measure around one of them."
        return "\n".join([head, *map(self._line, self.laws), "", *told, "", end])

    def _line(self, law: Law) -> str:
        size = "-" if law.size_tokens is None else _short(law.size_tokens)
        rows = "-" if law.size_tokens is None else f"{law.size_tokens / self.length:,.0f}"
        rate = "-" if law.lr is None else f"{law.lr:.3g}"
        return f"{law.name:<22}{size:>10}{rows:>11}{rate:>10}"


def batch_size_spread(parameters: float, tokens: float, loss: float | None = None, length: int = 512) -> Spread:
    """Batch sizes and learning rates by every law, in tokens, for `parameters` weights trained on `tokens` tokens.

    - `loss`: cross entropy in nats a token, for the law that is a function of it.
    - `length`: tokens of your sequences; only turns tokens into sequences.

    Compute is taken as C = 6 N D floating-point operations. Raises `ArgumentError` for numbers outside of `KNOWN`.

    >>> found = batch_size_spread(5e8, 1e10).law("Step Law")
    >>> f"{found.size_tokens:.3g} {found.lr:.3g}"
    '2.97e+05 0.00132'
    """
    for name, value in (("parameters", parameters), ("tokens", tokens), ("loss", 1.0 if loss is None else loss)):
        least, most = KNOWN[name]
        if not least <= value <= most:
            be, why = f"be a positive number, {least:g} to {most:g}", "the laws are powers of it"
            raise ArgumentError(must(name, be, value, why, "parameters=5e8, tokens=1e10 and loss=3"))
    if length < 1:
        raise ArgumentError(must("length", "be at least 1", length, "it is tokens in a sequence", "length=512"))
    n, d, c = float(parameters), float(tokens), 6.0 * parameters * tokens
    return Spread(n, d, loss, length, (*_fitted(n, d, c), *_critical(n, loss), *_power_lines(d)))


def _fitted(n: float, d: float, c: float) -> tuple[Law, ...]:
    """Laws of the size with the lowest loss, from sweeps over sizes and rates."""
    return (
        Law(
            "Step Law", 0.58 * d**0.571, 1.79 * n**-0.713 * d**0.307, BEST, "AdamW",
            "B = 0.58 D^0.571, rate = 1.79 N^-0.713 D^0.307", "Li et al. 2025, arXiv 2503.04715",
        ),
        Law(
            "DeepSeek", 0.2920 * c**0.3271, 0.3118 * c**-0.1250, BEST, "AdamW",
            "B = 0.2920 C^0.3271, rate = 0.3118 C^-0.1250", "DeepSeek-AI 2024, arXiv 2401.02954",
            "its C counts M D with M the operations a token, attention included; here 6 N D",
        ),
        Law(
            "Moonlight", 0.0065 * c**0.4138, 0.0127 * c**-0.057, BEST, "Muon",
            "B = 0.0065 C^0.4138, rate = 0.0127 C^-0.057", "Liu et al. 2025, arXiv 2502.16982",
            "constants as others quote them",
        ),
    )  # fmt: skip


def _critical(n: float, loss: float | None) -> tuple[Law, ...]:
    """Laws of how large a batch may be before it wastes tokens."""
    kaplan = None if loss is None else 2.1e8 * loss**-4.8
    return (
        Law(
            "Zhang B_20%", 93.1968 * (n / 1e6) ** 0.4683 * 512, None,
            "at most 20 % more steps than ideal scaling from 256 sequences", "AdamW",
            "B = 93.2 (N / 1e6)^0.4683 sequences of 512", "Zhang et al. 2024, arXiv 2410.21676",
        ),
        Law(
            "Kaplan", kaplan, None, "critical size: twice the fewest steps and tokens", "Adam",
            "B = 2.1e8 L^-4.8", "Kaplan et al. 2020, arXiv 2001.08361",
            "a function of the loss, which was not given" if kaplan is None else "",
        ),
        Law(
            "Merrill plateau", 4096.0 * 4096, None, "critical size by branches, late in training", "AdamW",
            "4096 documents of 4096", "Merrill et al. 2025, arXiv 2505.23971",
            "OLMo 1B from 503 billion tokens on; 1024 documents at the start",
        ),
    )  # fmt: skip


def _power_lines(d: float) -> tuple[Law, ...]:
    """Exponents of Bergsma et al., alone and with one project's anchor."""
    return (
        Law(
            "Power Lines", None, None, BEST, "AdamW",
            "B_opt ~ D^0.383, B_crit ~ D^0.462", "Bergsma et al. 2025, arXiv 2505.13738",
            "exponents only, coefficients not verified: calibrate with a size of your own",
        ),
        Law(
            "Power Lines, nanochat", float(power_of_two_size(d)), None, BEST, "Muon, AdamW",
            "B = 2^19 (D / 1.16e9)^0.383, to a power of two", "karpathy/nanochat, dev/LOG.md, 2026-02-05",
            "anchored at one model",
        ),
    )  # fmt: skip


def power_of_two_size(
    tokens: float, *, reference_tokens: float = 1.156e9, reference_size: int = 2**19, power: float = 0.383
) -> int:
    """`reference_size * (tokens / reference_tokens) ** power`, to the nearest power of two, in tokens.

    The defaults are those of nanochat: 2^19 tokens tuned at depth 12, 10.5 tokens for each of its 110 million weights
    that count (matrices and head); exponent of Bergsma et al. 2025, arXiv 2505.13738.

    >>> [power_of_two_size(tokens) for tokens in (0.44e9, 2.5e9, 9.6e9, 65.6e9)]
    [262144, 524288, 1048576, 2097152]
    """
    if not 0 < tokens < math.inf or not 0 < reference_tokens < math.inf:
        got, why = (tokens, reference_tokens), "the size is a power of their ratio"
        raise ArgumentError(must("tokens", "be a positive number", got, why, "tokens=1e10"))
    return 2 ** max(round(math.log2(reference_size * (tokens / reference_tokens) ** power)), 0)


def power_rate(
    tokens: float, size: float, *, amplitude: float = 4.0, power: float = -0.51, most: float = 0.02
) -> float:
    """Rate of the power scheduler after `tokens` tokens: min(most, size amplitude tokens ** power).

    - `size`: sequences of 4096 tokens in a batch. The rate is for maximal update parametrisation (muP).

    Shen et al. 2024, arXiv 2408.13359, eq. 7 with the constants of section 4; with `amplitude=4.6` and no limit it is
    the best rate of a run of `tokens` with warmup, constant rate and decay (eq. 5). The schedule knows no end.

    >>> f"{power_rate(1e12, 1024):.3g}", f"{power_rate(1e13, 1024, amplitude=4.6):.2g}"
    ('0.00311', '0.0011')
    """
    if not (tokens > 0 and size > 0):
        raise ArgumentError(must("tokens and size", "be positive", (tokens, size), "the rate is a power", "tokens=1e9"))
    return min(most, size * amplitude * tokens**power)


def _noted(law: Law) -> str:
    return f" ({law.note})" if law.note else ""


def _short(tokens: float) -> str:
    """Tokens in millions, three digits.

    >>> _short(297_460), _short(16_777_216)
    ('0.297M', '16.8M')
    """
    millions = float(f"{tokens / 1e6:.3g}")
    return f"{millions:,g}M"
