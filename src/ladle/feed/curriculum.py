"""`Curriculum`: easy examples first, by any score, in stages that end at given positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from ladle.core.errors import ArgumentError, must, nearest
from ladle.core.seed import seed_words
from ladle.core.spec import require_count
from ladle.feed.bijection import NARROW, host_while, keyed, permute, round_keys, sides
from ladle.feed.keys import CURRICULUM, TIES, for_each, stream
from ladle.feed.order import Permuted

Pace = Literal["single step", "exponential", "linear", "root"]


class Stage(NamedTuple):
    """`positions` draws from the `examples` easiest."""

    positions: int
    examples: int


@dataclass(frozen=True, eq=False)
class Curriculum:
    """Easy examples first; implements `ladle.core.protocols.Order`.

    Stage `k` draws `stages[k].positions` times from the `m = stages[k].examples` examples of the lowest scores: passes
    over these, each example once per pass, shuffled anew in each (the last pass of a stage may be cut short). After the
    last stage the order is `Permuted(n, seed)` from that position on: every whole pass, positions `j n .. (j + 1) n`,
    then holds every example exactly once. Where a stage ends is a position, so a curriculum goes with any batch sizes,
    growing ones included.

    - `scores`: `f64[n]`, finite; the lowest is the easiest. Hard first is `-scores`. Ties are broken at random.
    - `stages`: what `pacing` returns, or any sequence of `(positions, examples)`; none is `Permuted(n, seed)`.

    Raises `ArgumentError` for scores that are not one finite number per example, stages of no position or of a number
    of examples outside `1 .. n`, or a bad seed.

    Sources: Y. Bengio et al., "Curriculum learning", ICML 2009; for how fast, see `pacing`.

    >>> order = Curriculum([0.9, 0.1, 0.5, 0.2], stages=[(4, 2), (3, 3)], seed=0)
    >>> order.ids(0, 12).tolist()
    [3, 1, 1, 3, 1, 2, 3, 1, 0, 2, 1, 3]
    >>> order.fraction_at(0), order.fraction_at(4), order.fraction_at(7)
    (0.5, 0.75, 1.0)
    """

    scores: Any = field(repr=False)
    stages: Sequence[tuple[int, int]] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", _checked_scores(self.scores))
        seed_words(self.seed)
        stages = [_checked_stage(number, stage, self.epoch_size) for number, stage in enumerate(self.stages)]
        object.__setattr__(self, "stages", tuple(stages))

    @property
    def epoch_size(self) -> int:
        return len(self.scores)

    @property
    def over(self) -> int:
        """The position at which the last stage has ended."""
        return int(self._starts[-1])

    def fraction_at(self, position: int) -> float:
        """The share of the examples, easiest first, that may stand at `position`."""
        stage = int(np.searchsorted(self._starts, position, side="right")) - 1
        return self.stages[stage][1] / self.epoch_size if stage < len(self.stages) else 1.0

    def ids(self, start: int, count: int) -> np.ndarray:
        """`i64[count]` ids at positions `start .. start + count`."""
        parts, stop = [], start + count
        for number, (first, end) in enumerate(zip(self._starts[:-1].tolist(), self._starts[1:].tolist(), strict=True)):
            if (low := max(start, first)) < (high := min(stop, end)):
                parts.append(self._in_stage(number, np.arange(low - first, high - first)))
        low = max(start, self.over)
        parts.append(self._permuted.ids(low, max(stop - low, 0)))
        return np.concatenate(parts)

    def _in_stage(self, number: int, inside: np.ndarray) -> np.ndarray:
        easiest = self.stages[number][1]
        epoch, place = np.divmod(inside, easiest)
        n, a, b = (np.uint32(side) for side in (easiest, *sides(easiest)))
        keys = for_each(round_keys(seed_words(self.seed), np.uint32(0), stream(CURRICULUM + number)), epoch)
        return self._easiest[permute(place.astype(np.uint32), n, a, b, keys=keys, xp=np, while_loop=host_while)]

    @cached_property
    def _permuted(self) -> Permuted:
        return Permuted(self.epoch_size, self.seed)

    @cached_property
    def _starts(self) -> np.ndarray:
        """`i64[stages + 1]`: where each stage begins and, last, where none is left."""
        return np.cumsum([0, *(positions for positions, _ in self.stages)], dtype=np.int64)

    @cached_property
    def _easiest(self) -> np.ndarray:
        """`i64[n]` ids, lowest score first."""
        key = round_keys(seed_words(self.seed), np.uint32(0), stream(TIES), 1)[0]
        return np.lexsort((keyed(np.arange(self.epoch_size, dtype=np.uint32), key), self.scores))


def pacing(
    kind: Pace, examples: int, positions: int | Sequence[int], *, start: float = 0.1, stages: int = 10
) -> tuple[Stage, ...]:
    """Stages of a `Curriculum` that grow from the share `start` of the `examples` to all of them.

    `k` of `K` stages are over when stage `k` begins; it draws from the share `g_k` of the examples:

        "single step"     K = 1     g_0 = start
        "exponential"               g_k = start^(1 - k / K)                           fixed and varied exponential
        "linear"                    g_k = start + (1 - start) * k / K
        "root"                      g_k = sqrt(start^2 + (1 - start^2) * k / K)

    - `positions`: draws of all stages together, cut as evenly as whole numbers can be; or a sequence, the draws of each
      stage (then `stages` is its length): the "varied" form.
    - `start`: above 0, at most 1. `stages`: how many.

    A share is rounded to the nearest number of examples, at least one. Raises `ArgumentError` for an unknown kind, a
    share outside of that, fewer positions than stages.

    Sources: G. Hacohen and D. Weinshall, "On the power of curriculum learning in training deep networks", ICML 2019
    (single step; exponential: their growth factor is `start^(-1 / K)` here, so that the last step reaches all);
    E. Platanios et al., "Competence-based curriculum learning for neural machine translation", NAACL 2019 (competence:
    linear and square root, in `K` steps).

    >>> pacing("exponential", examples=1000, positions=400, start=0.1, stages=2)
    (Stage(positions=200, examples=100), Stage(positions=200, examples=316))
    >>> pacing("root", 1000, [50, 100, 300], start=0.2)
    (Stage(positions=50, examples=200), Stage(positions=100, examples=600), Stage(positions=300, examples=825))
    """
    if kind not in get_args(Pace):
        raise ArgumentError(
            must("kind", "be a known pacing", kind, "ladle knows these", nearest(str(kind), get_args(Pace)))
        )
    require_count("examples", examples)
    if not 0 < start <= 1:
        why, remedy = "it is the share of the easiest examples to begin with", "start=0.1"
        raise ArgumentError(must("start", "be above 0 and at most 1", start, why, remedy))
    lengths = _lengths(positions, 1 if kind == "single step" else require_count("stages", stages))
    if kind == "single step" and len(lengths) != 1:
        why, remedy = "the second step is to all examples", "'exponential'"
        raise ArgumentError(must("positions", "be one number", positions, why, remedy))
    shares = (_share(kind, start, k / len(lengths)) for k in range(len(lengths)))
    return tuple(Stage(length, max(1, round(share * examples))) for length, share in zip(lengths, shares, strict=True))


def _share(kind: Pace, start: float, done: float) -> float:
    if kind == "exponential":
        return start ** (1 - done)
    power = 2 if kind == "root" else 1  # A single step has nothing done yet: any of them gives `start`.
    return (start**power + (1 - start**power) * done) ** (1 / power)


def _lengths(positions: int | Sequence[int], stages: int) -> list[int]:
    if not isinstance(positions, Sequence):
        if require_count("positions", positions) < stages:
            why, remedy = "each stage draws at least once", f"stages={positions}"
            raise ArgumentError(must("positions", f"be at least the {stages} stages", positions, why, remedy))
        return [(k + 1) * positions // stages - k * positions // stages for k in range(stages)]
    if not positions:
        raise ArgumentError(must("positions", "be of at least one stage", positions, "there is no pace", "[1000]"))
    return [require_count("positions", length) for length in positions]


def _checked_stage(number: int, stage: tuple[int, int], n: int) -> Stage:
    positions, examples = stage
    name = f"stage {number}"
    if require_count(f"{name} examples", examples) > n:
        raise ArgumentError(must(f"{name} examples", f"be at most {n}", examples, "there are no more", f"{n}"))
    return Stage(require_count(f"{name} positions", positions), int(examples))


def _checked_scores(scores: Any) -> np.ndarray:
    values = np.array(scores, np.float64)
    if values.ndim != 1 or not 1 <= len(values) < NARROW:
        got = f"an array of shape {values.shape}"
        raise ArgumentError(must("scores", "be one number per example", got, "examples stand by it", "f64[n]"))
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        got = f"{values[bad[0]]} for example {bad[0]} ({bad.size} such)"
        raise ArgumentError(must("scores", "be finite", got, "examples stand by it", "np.nan_to_num(scores)"))
    return values
