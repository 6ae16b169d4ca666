from __future__ import annotations

import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.feed.source.threads import Threads


@given(st.integers(0, 200), st.integers(1, 5), st.integers(1, 50))
def test_every_place_is_worked_on_once(count, threads, least):
    seen = []
    Threads(threads).spans(lambda start, stop: seen.extend(range(start, stop)), count, least)
    assert sorted(seen) == list(range(count))


def test_several_threads_work_at_a_time():
    together = threading.Barrier(3, timeout=60)
    Threads(3).spans(lambda start, stop: together.wait() and None, 3)


def test_calls_inside_calls_end():
    """Every helper waits for a call of its own on the same threads: the callers do the work themselves."""
    threads, seen = Threads(2), []
    threads.spans(lambda a, b: threads.spans(lambda c, d: seen.append((a, c)), 8), 8)
    assert len(set(seen)) == 64


def test_an_error_in_any_thread_is_raised_and_stops_the_rest():
    for bad in range(8):
        with pytest.raises(ZeroDivisionError):
            Threads(3).spans(lambda start, stop, bad=bad: start <= bad < stop and 1 / 0, 8)


def test_a_copy_has_threads_of_its_own():
    threads = Threads(2)
    threads.spans(lambda start, stop: None, 8)
    copy, seen = pickle.loads(pickle.dumps(threads)), []
    copy.spans(lambda start, stop: seen.append(start), 8)
    assert (copy.count, len(seen)) == (2, 8)


def test_a_forked_process_has_threads_of_its_own(fresh_python):
    code = """
import os, sys, threading
from ladle.feed.source.threads import Threads
threads = Threads(2)
threads.spans(lambda start, stop: None, 8)
if os.fork() == 0:
    together = threading.Barrier(2, timeout=60)
    threads.spans(lambda start, stop: together.wait() and None, 2)
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert fresh_python(code) == "0\n"


@pytest.mark.parametrize("count", [-1, 1.5, True], ids=str)
def test_numbers_of_threads_that_are_none_are_refused(count):
    with pytest.raises(ArgumentError, match="threads must be a whole number, 0 or more, or None"):
        Threads(count)
