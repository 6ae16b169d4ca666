from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.api.devices import DevicesAsked, devices_asked
from ladle.core.errors import ArgumentError
from ladle.core.scaling.devices import Link
from ladle.planner.choose import choose
from ladle.planner.fakes_test import FakeProbe


@pytest.fixture(scope="module")
def plane() -> Assembly:
    x = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    data = ladle.data.arrays(x, 2 * x[:, 0] - x[:, 1] + 3.0, name="plane")
    return assemble(ladle.Task(ladle.models.linear(2, 1), "mse", data, optimizer="sgd", lr=0.1))


def asked(task: Assembly, devices: Any, **changes: Any) -> DevicesAsked:
    given = {"link": "1GB/s", "size": None, "minimize": "time", **changes}
    return devices_asked(task, devices, **given)


@pytest.mark.parametrize(
    ("devices", "changes", "said"),
    [
        ([1, 2], {"link": None}, r"link must be given; got None; because there is one device here.*link='25GB/s,5us'"),
        ([1, 2], {"link": "quick"}, "link must be a bandwidth and a delay"),
        ([1, 2], {"minimize": "energy"}, "devices must be left out with other goals than time; got 'energy'"),
        (None, {}, "link must be left out without devices"),
        (None, {"link": None, "size": 8}, "size must be left out without devices"),
        ([1, 3], {"size": 8}, "devices must divide the batch size 8; got 3"),
        ([1, 64], {}, "devices must be at most the 40 rows; got 64"),
    ],
)
def test_what_has_no_answer_is_refused_before_any_work(plane: Assembly, devices, changes, said: str):
    with pytest.raises(ArgumentError, match=said):
        asked(plane, devices, **changes)
    with pytest.raises(ArgumentError, match=said):
        ladle.plan(plane, devices=devices, **{"link": "1GB/s", **changes})


def test_one_device_needs_no_link(plane: Assembly):
    made = choose(FakeProbe(), rows=40, pilot_seconds=1.0)
    plan = asked(plane, [1], link=None).added(made, seed=0)
    assert [one.devices for one in plan.devices] == [1] and plan.number("allreduce_byte_seconds") is None


def test_without_devices_here_all_is_predicted_by_the_link_that_was_given(plane: Assembly):
    made = choose(FakeProbe(), rows=40, pilot_seconds=1.0)
    plan = asked(plane, [4, 2, 2], link="1GB/s,1ms").added(made, seed=0)
    assert [one.devices for one in plan.devices] == [2, 4]
    assert {one.source for one in plan.devices} == {"predicted"}
    size = plan.number("gradient_bytes")
    assert size is not None and size.value == 4 * (2 + 1), "two weights and a bias"
    for one in plan.devices:
        assert one.allreduce_seconds == pytest.approx(Link(1e-3, 1e-9).seconds(12, one.devices))
    link = plan.number("allreduce_latency_seconds")
    assert link is not None and link.source == "given"


@dataclass(frozen=True)
class FakeReducer:
    devices: int = 1

    def seconds(self, size_bytes: int, devices: int, repeats: int) -> float:
        return Link(1e-4, 1e-9).seconds(size_bytes, devices)


def test_what_is_here_is_measured(plane: Assembly):
    """One device is here: its update is timed, in the place of the plan's number."""
    made = replace(choose(FakeProbe(), rows=40, pilot_seconds=1.0), size=16, micro_size=16, lr=0.1)
    question = replace(asked(plane, [1, 2]), reducer=FakeReducer())
    one, two = question.added(made, seed=0).devices
    assert (one.source, two.source) == ("measured", "predicted")
    assert one.seconds != one.predicted_seconds and one.time == 1.0


TWO = """
import numpy as np, ladle
x = np.random.default_rng(0).standard_normal((400, 2)).astype(np.float32)
data = ladle.data.arrays(x, 2 * x[:, 0] - x[:, 1] + 3.0, name="plane")
task = ladle.Task(ladle.models.linear(2, 1), "mse", data, optimizer="sgd", lr=0.1)
plan = ladle.plan(task, devices=[1, 2, 4], budget=1.0)
print([(one.devices, one.source, one.size % one.devices, one.time > 0) for one in plan.devices])
print(plan.number("allreduce_byte_seconds").source, "2 devices" in plan.number("allreduce_byte_seconds").method)
print("shared by" in plan.number("memory_limit_bytes").method)
"""


@pytest.mark.long
@pytest.mark.slow  # a whole plan, and what two devices take
def test_two_devices_of_a_process_are_measured_and_four_predicted(on_devices: Callable[[int, str], str]):
    first, second, third = on_devices(2, TWO).splitlines()[-3:]
    assert first == "[(1, 'measured', 0, True), (2, 'measured', 0, True), (4, 'predicted', 0, True)]"
    assert second == "measured True" and third == "False", "the plan is for one device"
