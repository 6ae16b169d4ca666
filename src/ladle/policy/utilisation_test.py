from __future__ import annotations

import pytest

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.policy.range import Range
from ladle.policy.utilisation import Utilisation


def utilise(policy: Utilisation, windows: int, **reading: float) -> list[int]:
    """Sizes of a machine that takes 0.02 + 1e-4 B seconds."""
    memory, progress, seen = policy.init(None), Progress(), []
    for _ in range(windows):
        memory, decision = policy.decide(memory, progress)
        size = decision.spec.size
        seen.append(size)
        seconds = 10 * (0.02 + 1e-4 * size)
        counts = progress.examples + 10 * size, progress.updates + 10
        progress = Progress(*counts, seconds=progress.seconds + seconds, reading={"window_seconds": seconds, **reading})
    return seen


def test_it_grows_while_doubling_pays() -> None:
    # (400 + 2B) / (200 + 2B) >= 1.25 up to B = 300
    assert utilise(Utilisation(Range(32, 4096, 64), gain=0.25), 8) == [32, 64, 128, 256, 512, 512, 512, 512]


def test_waiting_for_data_or_a_full_machine_is_no_reason_to_grow() -> None:
    assert utilise(Utilisation(Range(32, 4096, 64)), 3, data_wait_fraction=0.5) == [32, 32, 32]
    busy = Utilisation(Range(32, 4096, 64), cores=2)
    assert utilise(busy, 3, cpu_seconds=100.0) == [32, 32, 32]
    assert utilise(busy, 3, cpu_seconds=0.1) == [32, 64, 128]


def test_a_range_is_what_it_is_called() -> None:
    with pytest.raises(ArgumentError, match=r"sizes must be a ladle.policy.Range; got \(32, 64\)"):
        Utilisation((32, 64))  # type: ignore[arg-type]


def test_impossible_shares_are_one_line() -> None:
    with pytest.raises(ArgumentError, match="gain must be above 0"):
        Utilisation(Range(32, 64, 64), gain=0)
    with pytest.raises(ArgumentError, match="cores must be at least 1"):
        Utilisation(Range(32, 64, 64), cores=0)
