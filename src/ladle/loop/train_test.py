"""The whole flow of a run on a step in plain NumPy: feed, policy, step, observation, record line, carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.carry import Carry
from ladle.core.decision import Clock, Decision, Progress
from ladle.core.duration import Until
from ladle.core.errors import RunError
from ladle.core.observation import Observation
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted
from ladle.feed.resident import ResidentFeed
from ladle.loop.train import train

N, FEATURES = 23, 3
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, FEATURES))
TRUTH = np.array([1.0, -2.0, 0.5])
SOURCE = Arrays({"x": X, "y": X @ TRUTH})
FEEDS: dict[str, Any] = {
    lane: feed(SOURCE, Permuted(N, 4)) for lane, feed in (("host", HostFeed), ("on device", ResidentFeed))
}
feeds = pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
few = settings(max_examples=60)
TIMES = {"seconds", "examples_per_second", "data_wait_fraction", "cpu_seconds", "window_seconds"}


@dataclass(frozen=True)
class LeastSquares:
    """(x w - y)^2 / 2 by gradient descent: the smallest step there is. `bad`: updates whose loss is not finite."""

    bad: frozenset[int] = frozenset()
    prepared: list[BatchSpec] = field(default_factory=list)
    rebased: list[tuple[int, int]] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)

    def init(self, seed: int) -> dict[str, Any]:
        return {"w": np.zeros(FEATURES), "update": 0, "used": False}

    def prepare(self, state: Any, draw: Any, spec: BatchSpec) -> Any:
        self.prepared.append(spec)
        return state

    def rebase(self, state: Any, draw: Any, spec: BatchSpec, old_size: int) -> Any:
        self.rebased.append((old_size, spec.size))
        return state

    def __call__(self, state: Any, draw: Any, spec: BatchSpec, lr_factor: float, clock: Clock = Clock()) -> Any:
        self.clocks.append(clock)
        assert not state["used"], "a state is given up to the call"
        state["used"] = True
        w, done, sums = state["w"].copy(), state["update"], np.zeros(5)
        for update in range(len(draw.counts)):
            total, loss, weight = np.zeros(FEATURES), 0.0, 0.0
            for batch in draw.micro_batches(update, spec.micro_size):
                off = batch.data["x"] @ w - batch.data["y"]
                total += (batch.weight * off) @ batch.data["x"]
                loss += float((batch.weight * off**2).sum() / 2)
                weight += float(batch.weight.sum())
            if done + update in self.bad:
                sums += [np.nan, weight, 0, 1, np.nan]
                done += update + 1
                break
            w -= 0.05 * lr_factor * total / weight
            sums += [loss, weight, 1, 0, float(((total / weight) ** 2).sum())]
        else:
            done += len(draw.counts)
        names = ("loss", "weight", "updates", "refused", "grad_sq")
        return {"w": w, "update": done, "used": False}, Observation(names, sums)


@dataclass(frozen=True)
class Table:
    """Sizes by position, `((start, size, micro_size), ...)`. Remembers how often it was asked."""

    rows: tuple[tuple[int, int, int], ...]
    stops: bool = True

    def init(self, plan: Any) -> Any:
        return {"asked": 0}

    def decide(self, memory: Any, progress: Progress) -> Any:
        index = max(i for i, row in enumerate(self.rows) if row[0] <= progress.examples)
        start, size, micro_size = self.rows[index]
        later = self.rows[index + 1 :]
        stop = later[0][0] if later and self.stops else None
        reason = f"row {index}" if progress.examples == start else ""
        return {"asked": memory["asked"] + 1}, Decision(
            BatchSpec(size, micro_size), stop, 1 / (1 + index), reason=reason
        )


def constant(size: int, micro_size: int = 4) -> Table:
    return Table(((0, size, micro_size),))


@st.composite
def tables(draw: Any) -> Table:
    starts = sorted({0, *draw(st.lists(st.integers(1, 3 * N), max_size=4))})
    return Table(
        tuple((start, draw(st.integers(1, N)), draw(st.integers(1, 9))) for start in starts), draw(st.booleans())
    )


bounds = st.one_of(
    st.builds(Until, epochs=st.floats(0.01, 4)),
    st.builds(Until, examples=st.integers(1, 4 * N)),
    st.builds(Until, updates=st.integers(1, 40)),
    st.builds(Until, epochs=st.floats(0.5, 4), examples=st.integers(1, 4 * N), updates=st.integers(1, 40)),
)
windows = st.one_of(st.none(), st.integers(1, 2 * N))


def begin(policy: Table, step: LeastSquares | None = None) -> Carry:
    return Carry((step or LeastSquares()).init(0), memory=policy.init(None))


def lines_of(found: list[tuple[dict[str, Any], Carry]]) -> list[dict[str, Any]]:
    """Without what a clock says."""
    return [{name: value for name, value in line.items() if name not in TIMES} for line, _ in found]


def expected(policy: Table, until: Until, window: int | None, stop: int | None = None) -> list[tuple[int, int, int]]:
    """`(examples, updates, size)` at each window's end, by walking batch by batch."""
    position, updates, ends, memory = 0, 0, [], policy.init(None)

    def over() -> bool:
        progress = Progress(examples=position, updates=updates, epoch=position / N)
        return until.ended(progress) is not None or (stop is not None and position >= stop)

    while not over():
        memory, decision = policy.decide(memory, Progress(examples=position))
        begun = position
        while True:
            epoch_end = (position // N + 1) * N
            position, updates = min(position + decision.spec.size, epoch_end), updates + 1
            multiple = begun // N * N + (begun % N // (window or N) + 1) * (window or N)
            decided = decision.stop is not None and position >= decision.stop
            if position >= multiple or position % N == 0 or decided or over():
                break
        ends.append((position, updates, decision.spec.size))
    return ends


@feeds
@given(policy=tables(), until=bounds, window=windows, stop=st.one_of(st.none(), st.integers(1, 3 * N)))
@few
def test_windows_end_where_a_walk_batch_by_batch_says(feed, policy, until, window, stop):
    found = list(train(begin(policy), feed, LeastSquares(), policy, until, window=window, stop=stop))
    ends = [(line["examples"], line["updates"], line["size"]) for line, _ in found]
    assert ends == expected(policy, until, window, stop)
    for line, carry in found:
        assert carry.cursor.drawn == carry.progress.examples == line["examples"]
        assert carry.progress.updates == line["updates"] == carry.state["update"]
        assert carry.progress.epoch == line["epoch"] == line["examples"] / N
    if until.updates is not None and found:
        assert found[-1][1].progress.updates <= until.updates


@feeds
@given(policy=tables(), until=bounds, window=windows, data=st.data())
@few
def test_stopping_and_going_on_is_as_if_it_had_never_happened(feed, policy, until, window, data):
    """The carry through JSON, the parameters bit for bit, the lines equal but for what the clock says."""
    whole = list(train(begin(policy), feed, LeastSquares(), policy, until, window=window))
    cut = data.draw(st.integers(0, len(whole) - 1))
    loop = train(begin(policy), feed, LeastSquares(), policy, until, window=window)
    first = [next(loop) for _ in range(cut)]
    carry = first[-1][1] if first else begin(policy)
    facts = json.loads(json.dumps(carry.facts()))
    carry = Carry.from_facts({**carry.state, "w": carry.state["w"].copy()}, facts)
    rest = list(train(carry, feed, LeastSquares(), policy, until, window=window))
    assert lines_of(first + rest) == lines_of(whole)
    assert np.array_equal(rest[-1][1].state["w"], whole[-1][1].state["w"])
    assert rest[-1][1].memory == whole[-1][1].memory


@dataclass(frozen=True)
class HalfTime:
    """Batches of 4 that count half, from the second window on."""

    def init(self, plan: Any) -> Any:
        return None

    def decide(self, memory: Any, progress: Progress) -> Any:
        clock = Clock(N / 2, 0.5) if progress.examples else Clock()
        return None, Decision(BatchSpec(4, 4), clock=clock)


@pytest.mark.parametrize("until", [Until(epochs=2), Until(examples=2 * N)])
@feeds
def test_the_run_goes_by_the_clock_of_its_policy(feed, until):
    step = LeastSquares()
    found = list(train(Carry(step.init(0)), feed, step, HalfTime(), until))
    assert [line["examples"] for line, _ in found] == [N, 2 * N, 3 * N]
    assert [carry.progress.time for _, carry in found] == [(N, 1), (1.5 * N, 1.5), (2 * N, 2)]
    assert "clock" not in found[0][0] and step.clocks[-1] == Clock(N / 2, 0.5)


@given(policy=tables(), until=bounds, window=windows)
@few
def test_both_feeds_give_the_same_run(policy, until, window):
    one, other = (
        list(train(begin(policy), feed, LeastSquares(), policy, until, window=window)) for feed in FEEDS.values()
    )
    assert len(one) == len(other)
    for (line, carry), (also, other_carry) in zip(one, other, strict=True):
        assert {k: v for k, v in line.items() if k not in TIMES} == pytest.approx(
            {k: v for k, v in also.items() if k not in TIMES}
        )
        assert np.array_equal(carry.state["w"], other_carry.state["w"])


@feeds
def test_the_parameters_are_those_of_a_loop_by_hand(feed):
    """Three epochs of batches of 5, the last of each epoch holding 3; then the loss of the last window by hand."""
    *_, (line, carry) = train(begin(constant(5)), feed, LeastSquares(), constant(5), Until(epochs=3))
    w, ids = np.zeros(FEATURES), feed.order.ids(0, 3 * N)
    for epoch in range(3):
        losses = []
        for first in range(0, N, 5):
            part = ids[epoch * N + first : epoch * N + min(first + 5, N)]
            off = X[part] @ w - X[part] @ TRUTH
            losses.append((off**2).sum() / 2)
            w -= 0.05 * off @ X[part] / len(part)
    np.testing.assert_allclose(carry.state["w"], w, rtol=1e-12)
    assert line["train_loss"] == pytest.approx(sum(losses) / N, rel=1e-12)


@feeds
def test_it_learns_exactly_what_there_is_to_learn(feed):
    policy = Table(((0, 4, 4), (40 * N, N, 8)))
    *_, (line, carry) = train(begin(policy), feed, LeastSquares(), policy, Until(epochs=600))
    np.testing.assert_allclose(carry.state["w"], np.linalg.lstsq(X, X @ TRUTH, rcond=None)[0], atol=1e-5)
    assert line["train_loss"] < 1e-9


@feeds
def test_a_line_holds_what_the_record_promises(feed):
    policy = Table(((0, 5, 4), (N, 10, 4)))
    found = list(train(begin(policy), feed, LeastSquares(), policy, Until(epochs=2)))
    (first, _), (second, carry) = found
    assert first.keys() == second.keys() >= {"examples_per_second", "train_loss", "grad_norm", "refused", "cpu_seconds"}
    assert (first["reason"], second["reason"]) == ("row 0", "row 1")
    assert (second["size"], second["micro_size"], second["lr_factor"]) == (10, 4, 0.5)
    for line in (first, second):
        assert 0 <= line["data_wait_fraction"] <= 1
        assert line["seconds"] > 0 and line["examples_per_second"] > 0 and line["cpu_seconds"] >= 0
        assert (line["data_wait_fraction"] > 0) == (not feed.resident)
    assert second["seconds"] > first["seconds"]
    assert carry.progress.seconds == second["seconds"]
    again = next(train(carry, feed, LeastSquares(), policy, Until(epochs=3), window=7))[0]
    assert "reason" not in again, "only where a decision changed"


def test_readings_reach_the_policy_and_evaluations_stay_until_there_are_newer_ones():
    seen: list[Mapping[str, float]] = []

    class Curious(Table):
        def decide(self, memory: Any, progress: Progress) -> Any:
            seen.append(progress.reading)
            return super().decide(memory, progress)

    policy, feed = Curious(((0, 8, 8),)), FEEDS["host"]
    carry = begin(policy).read({"valid_loss": 3.0})
    *_, (_, carry) = train(carry, feed, LeastSquares(), policy, Until(epochs=2))
    carry = carry.read({"valid_loss": 2.0})
    *_, (line, _) = train(carry, feed, LeastSquares(), policy, Until(epochs=4))
    assert [reading["valid_loss"] for reading in seen] == [3.0, 3.0, 2.0, 2.0]
    assert all("train_loss" in reading for reading in seen[1:])
    assert "valid_loss" not in line, "a window measures training; the evaluation writes its own"


@feeds
def test_each_window_is_prepared_before_the_clock_runs(feed):
    step, policy = LeastSquares(), Table(((0, 5, 4), (N, 10, 4)))
    list(train(begin(policy, step), feed, step, policy, Until(epochs=2)))
    assert step.prepared == [BatchSpec(5, 4), BatchSpec(10, 4)]


@pytest.mark.parametrize("asked", [True, False])
def test_a_second_moment_follows_each_change_of_size_and_its_line_says_so(asked):
    step, policy = LeastSquares(), Table(((0, 5, 4), (10, 10, 4), (N, 10, 8), (2 * N, 3, 4)))
    found = list(
        train(begin(policy, step), FEEDS["host"], step, policy, Until(epochs=3), rebase=step.rebase if asked else None)
    )
    assert step.rebased == ([(5, 10), (10, 3)] if asked else [])
    assert [line["examples"] for line, _ in found if line.get("rebased")] == ([N, 3 * N] if asked else [])


def test_a_size_above_a_pass_never_enters_the_record():
    policy = Table(((0, 5, 5), (N, N + 1, 5)))
    loop = train(begin(policy), FEEDS["host"], LeastSquares(), policy, Until(epochs=3))
    next(loop)
    with pytest.raises(RunError, match="policy must decide at most the 23 examples of a pass; got 24"):
        next(loop)


def test_every_line_says_where_its_newest_evaluation_was():
    """So that two that measure the same are still two."""
    policy = constant(5)
    carry = begin(policy).evaluated({"valid_loss": 3.0})
    *_, (line, carry) = train(carry, FEEDS["host"], LeastSquares(), policy, Until(epochs=2))
    assert line["evaluated"] == 0 == carry.progress.evaluated
    assert "evaluated" not in next(train(begin(policy), FEEDS["host"], LeastSquares(), policy, Until(epochs=1)))[0]


def test_seconds_end_a_run_between_windows():
    policy, feed = constant(5), FEEDS["on device"]
    assert len(list(train(begin(policy), feed, LeastSquares(), policy, Until(seconds=1e-12)))) == 1
    late = replace(begin(policy), progress=Progress(seconds=61.0))
    assert list(train(late, feed, LeastSquares(), policy, Until.parse("1 min"))) == []


@pytest.mark.parametrize("stop", [0, 4, 5])
def test_a_policy_that_does_not_advance_ends_the_run(stop):
    class Stuck(Table):
        def decide(self, memory: Any, progress: Progress) -> Any:
            return memory, Decision(BatchSpec(5, 5), stop=stop if progress.examples == 5 else 5)

    policy = Stuck(((0, 5, 5),))
    loop = train(begin(policy), FEEDS["host"], LeastSquares(), policy, Until(epochs=1))
    next(loop)
    with pytest.raises(RunError, match="policy must decide past position 5"):
        next(loop)


def test_a_refused_update_ends_the_window_where_the_step_stopped():
    """Position and counts are those of what was done, not of what was planned."""
    policy, step = constant(5), LeastSquares(bad=frozenset({6}))
    found = list(train(begin(policy, step), FEEDS["on device"], step, policy, Until(epochs=2)))
    ends = [(line["examples"], line["updates"], line["refused"]) for line, _ in found]
    assert ends == [(N, 5, 0), (N + 10, 7, 1), (2 * N, 10, 0)]
    assert found[1][1].cursor.drawn == N + 10
    assert np.isnan(found[1][0]["train_loss"])


class Counted:
    """A host feed that counts its draws: for a stream, each of them reads events."""

    epoch_size, resident = N, False

    def __init__(self) -> None:
        self.draws = 0

    def start(self) -> Any:
        return FEEDS["host"].start()

    def draw(self, *how: Any) -> Any:
        self.draws += 1
        return FEEDS["host"].draw(*how)


def test_every_batch_of_the_host_is_drawn_once():
    feed, policy = Counted(), constant(5)
    *_, (line, _) = train(begin(policy), feed, LeastSquares(), policy, Until(epochs=3), window=10)
    assert feed.draws == line["updates"] == 15


@dataclass(frozen=True)
class Again(LeastSquares):
    """Says where it was told to begin its averages anew."""

    resets: list[int] = field(default_factory=list)

    def reset(self, state: Any) -> Any:
        self.resets.append(state["update"])
        return state


@dataclass(frozen=True)
class ResetAt:
    """Batches of 4; averages begin anew at position `at`."""

    at: int

    def init(self, plan: Any) -> Any:
        return None

    def decide(self, memory: Any, progress: Progress) -> Any:
        return None, Decision(BatchSpec(4, 4), reset=progress.examples == self.at)


def test_averages_begin_anew_where_a_decision_says_so_and_the_record_has_it():
    step, feed = Again(), FEEDS["host"]
    carry = Carry(step.init(0), feed.start(), None)
    lines = [line for line, _ in train(carry, feed, step, ResetAt(8), Until.parse("20 examples"), window=4)]
    assert step.resets == [2]
    assert [line["examples"] for line in lines if line.get("reset")] == [12]
