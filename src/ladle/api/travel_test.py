from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.api.travel import MOST_UPDATES, Travelled, as_run
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays


@dataclass
class Asked:
    """A probe that keeps what it was asked, and answers with the name of the question."""

    asked: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        def answer(*_: Any) -> str:
            self.asked.append(name)
            return name

        return answer


@pytest.fixture(scope="module")
def travelling() -> Assembly:
    x = np.random.default_rng(0).standard_normal((48, 3)).astype(np.float32)
    source = Arrays({"x": x, "y": (x[:, 0] > 0).astype(np.int32)})
    data = ladle.data.streamed(source, valid={name: leaf[:8] for name, leaf in source.tree.items()}, classes=2)
    return assemble(ladle.Task(ladle.models.linear(3, 2), "cross_entropy", data, optimizer="sgd", lr=0.1))


def test_rows_that_travel_are_timed_by_the_step_of_a_run_and_all_else_is_passed_on(travelling: Assembly):
    feed, probe = travelling.feed(0), Asked()
    timed: Any = as_run(probe, travelling.engine, feed, hyper={"lr": 0.1}, seed=0)  # type: ignore[arg-type]
    assert isinstance(timed, Travelled)
    spec = BatchSpec(8, 4)
    seconds = timed.seconds(spec, 3)
    assert seconds.shape == (3,) and (seconds > 0).all() and probe.asked == [] and MOST_UPDATES > 48 // 8
    answers = timed.memory_bytes(spec), timed.confirm_bytes(spec), timed.limit_bytes(), timed.moments(spec, 2)
    answers += timed.joules(spec), timed.confirm_all([spec])
    assert list(answers) == probe.asked and "seconds" not in probe.asked
    feed.close()  # type: ignore[attr-defined]


def test_rows_on_the_devices_and_streams_are_left_alone():
    x = np.random.default_rng(0).standard_normal((48, 3)).astype(np.float32)
    data = ladle.data.arrays(x, x[:, 0] > 0)
    assembly, probe = assemble(ladle.Task(ladle.models.linear(3, 2), "cross_entropy", data)), Asked()
    resident: Any = assembly.feed(0)
    assert as_run(probe, assembly.engine, resident, hyper={}, seed=0) is probe  # type: ignore[arg-type]
