from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from ladle.core.errors import ArgumentError, ExampleError, RunError
from ladle.feed.lookahead import Ahead


def successor(n: int) -> int:
    return n + 1


@dataclass(frozen=True)
class Square:
    """A job that travels: it fails at one key, or ends its own process there."""

    fails_at: int = -1
    dies_at: int = -1

    def __call__(self, n: int) -> int:
        if n == self.fails_at:
            raise ExampleError(f"example {n} is damaged", [n])
        if n == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return n * n


HOWS = [{"workers": 0}, {"workers": 1}, {"workers": 3, "depth": 7}]


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_results_come_in_the_order_they_are_asked_for(how: dict[str, Any]):
    ahead = Ahead(Square(), successor, **how)
    assert [ahead.get(n) for n in range(50)] == [n * n for n in range(50)]
    assert ahead.missed == 0
    ahead.close()


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_another_key_than_expected_is_answered_all_the_same(how: dict[str, Any]):
    ahead = Ahead(Square(), successor, **how)
    assert [ahead.get(n) for n in (5, 6, 90, 91, 2, 2)] == [25, 36, 8100, 8281, 4, 4]
    ahead.close()


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_a_failure_is_raised_in_its_turn_and_with_its_ids(how: dict[str, Any]):
    ahead = Ahead(Square(fails_at=3), successor, **how)
    assert [ahead.get(n) for n in range(3)] == [0, 1, 4]
    with pytest.raises(ExampleError, match="example 3 is damaged") as caught:
        ahead.get(3)
    assert caught.value.ids == (3,)
    assert ahead.get(4) == 16, "one may go on behind it"
    ahead.close()


def test_what_was_only_read_ahead_fails_nothing():
    ahead = Ahead(Square(fails_at=2), successor, workers=1, depth=4)
    assert (ahead.get(0), ahead.get(1), ahead.get(50)) == (0, 1, 2500)
    ahead.close()


def test_the_queue_is_bounded():
    """No more than `depth` jobs are begun before someone asks for more."""
    begun, enough = [], threading.Semaphore(0)

    def job(n: int) -> int:
        begun.append(n)
        enough.release()
        return n

    ahead = Ahead(job, successor, workers=2, depth=3)
    ahead.get(0)
    for _ in range(4):
        assert enough.acquire(timeout=10)
    assert sorted(begun) == [0, 1, 2, 3]
    ahead.get(1)
    assert enough.acquire(timeout=10)
    assert sorted(begun) == [0, 1, 2, 3, 4]
    ahead.close()


@pytest.mark.slow
def test_processes_answer_alike_and_carry_errors_with_their_ids():
    ahead = Ahead(Square(fails_at=4), successor, workers=2, processes=True)
    assert [ahead.get(n) for n in range(4)] == [0, 1, 4, 9]
    with pytest.raises(ExampleError, match="example 4 is damaged") as caught:
        ahead.get(4)
    assert caught.value.ids == (4,)
    ahead.close()


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_that_says_what_it_read():
    ahead = Ahead(Square(dies_at=2), successor, workers=1, processes=True, name=lambda n: f"example {n}")
    with pytest.raises(
        RunError, match=r"a reading process died \(SIGKILL: killed, or out of memory\) while example \d was read"
    ):
        [ahead.get(n) for n in range(6)]
    ahead.close()


@pytest.mark.parametrize("workers", [-1, True, 1.5, "2"])
def test_workers_are_counted(workers: Any):
    with pytest.raises(ArgumentError, match="workers must be a whole number from 0 on"):
        Ahead(Square(), successor, workers=workers)


def test_a_depth_of_nothing_is_refused():
    with pytest.raises(ArgumentError, match="depth must be at least 1"):
        Ahead(Square(), successor, workers=1, depth=0)


def test_a_timeout_of_the_job_or_of_a_signal_is_told_as_it_is():
    def job(n: int) -> int:
        if n == 1:
            raise TimeoutError("the store did not answer")
        return n

    for timeout in (0, 60):
        ahead = Ahead(job, successor, workers=1, timeout=timeout)
        assert ahead.get(0) == 0
        with pytest.raises(TimeoutError, match="the store did not answer"):
            ahead.get(1)
        ahead.close()


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="the system has no alarm")
def test_an_alarm_while_waiting_is_no_timeout_of_the_reader():
    def alarm(*_: Any) -> None:
        raise TimeoutError("the run's own limit")

    gate, before = threading.Event(), signal.signal(signal.SIGALRM, alarm)
    ahead = Ahead(lambda _: gate.wait(20), successor, workers=1)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(TimeoutError, match="the run's own limit"):
            ahead.get(0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gate.set()
        ahead.close()
