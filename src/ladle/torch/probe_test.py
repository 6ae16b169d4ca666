"""The probe of the torch backend: what the planner asks of a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

from ladle.api.assembly import assemble
from ladle.api.plan import plan
from ladle.api.torch_task import task
from ladle.core.consumption import Consumption
from ladle.core.errors import NotConfirmed
from ladle.core.moments import Moments
from ladle.core.spec import BatchSpec
from ladle.torch.confirm_test import WIDE, adamw, make, squares
from ladle.torch.probe import TorchProbe
from ladle.torch.trace_test import generators

ROWS = 512


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 1))


def of(model: Any = make, **how: Any) -> TorchProbe:
    x = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    assembly = assemble(task(model, squares, {"x": x, "y": x[:, 0]}, optimizer=adamw, **how))
    feed = assembly.measured_feed(0)
    return assembly.engine.probe(feed, BatchSpec(64, 64), hyper={"lr": 1e-3})


def test_memory_is_data_state_and_a_line_in_the_rows():
    probe = of()
    data, weights = 4 * ROWS * 9, 4 * (8 * WIDE + WIDE + WIDE + 1)
    found = [probe.memory_bytes(BatchSpec(size, size)) for size in (1, 256, 384, 512)]
    assert found[0] > data * 0.8 + 4 * weights and found == sorted(found)
    assert found[3] - found[2] == pytest.approx(found[2] - found[1], rel=0.01)
    assert probe.memory_bytes(BatchSpec(4096, 64)) < found[1], "rows come one micro-batch at a time"


def test_seconds_and_moments_change_nothing():
    probe, drawn = of(), generators()
    assert probe.seconds(BatchSpec(8, 8), 3).shape == (3,)
    found = probe.moments(BatchSpec(64, 8), 5)
    assert found.count == 5 and found.trace > 0
    assert drawn == generators()
    limit, how = probe.limit_bytes()
    assert limit > 1 << 20 and how.startswith("90%")


def test_moments_are_at_the_parameters_of_a_state():
    probe = of()
    states = [probe.step.init(3, {"lr": 1e-3}) for _ in range(2)]
    one, two = (probe.moments(BatchSpec(64, 8), 4, state) for state in states)
    assert one == two and one.count == 4 and one != probe.moments(BatchSpec(64, 8), 4)


def test_batch_norm_has_no_noise_and_takes_no_single_row():
    probe = of(normed)
    assert probe.moments(BatchSpec(16, 4), 2) == Moments()
    assert probe.memory_bytes(BatchSpec(1, 1)) > 0 and probe.seconds(BatchSpec(1, 1), 1) > 0


class Fake:
    """A meter that counts a joule a start."""

    measures, least_seconds, starts = True, 0.01, 0

    def start(self) -> None:
        self.starts += 1

    def stop(self) -> Consumption:
        return Consumption(seconds=0.01, cpu_seconds=0.01, joules=2.0, source="measured")


def test_joules_are_per_update():
    assert of().joules(BatchSpec(8, 8)) is None
    found = replace(of(), meter=Fake()).joules(BatchSpec(8, 8))
    assert found is not None and 0 < found <= 2.0


@pytest.mark.slow
def test_a_child_confirms_what_was_predicted():
    probe, spec = of(), BatchSpec(512, 512)
    assert probe.confirm_bytes(spec) == pytest.approx(probe.memory_bytes(spec), rel=0.1, abs=5e6)


def test_what_a_child_cannot_make_again_is_told():
    with pytest.raises(NotConfirmed, match="the model is not importable by a name"):
        of(lambda: make()).confirm_bytes(BatchSpec(8, 8))


@pytest.mark.slow
def test_a_task_is_planned():
    x = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    made = plan(task(lambda: make(), squares, {"x": x, "y": x[:, 0]}, optimizer=adamw), lr="rule", budget=0.5)
    assert 1 <= made.size <= ROWS and made.number("memory_measured_bytes") is None
    assert any(note.startswith("Not confirmed: the model is not importable") for note in made.notes)
