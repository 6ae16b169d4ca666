"""Every executor: answers in the order of the items, a failure is raised, the death of a worker answers its item."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ladle.core.errors import ArgumentError, RunError
from ladle.search.executors import executor_named
from ladle.search.processes import Processes
from ladle.search.ray import Ray
from ladle.search.submitit import Submitit
from ladle.search.threads import Threads


def square(number: int) -> int:
    if number == 13:
        raise ArgumentError("13 must be lucky")
    if number == 66:
        os._exit(3)
    return number * number


def test_threads_answer_in_order_and_raise():
    assert list(Threads(3).map(square, range(8))) == [n * n for n in range(8)]
    with pytest.raises(ArgumentError, match="lucky"):
        list(Threads(2).map(square, [1, 13, 2]))


def test_processes_answer_raise_and_name_the_item_that_killed_one():
    workers = Processes(2)
    try:
        assert list(workers.map(square, range(5))) == [0, 1, 4, 9, 16]
        with pytest.raises(ArgumentError, match="lucky"):
            list(workers.map(square, [13]))
        first, dead, *others = workers.map(square, [1, 66, 2, 3, 4])  # More items than processes are left.
        assert [first, *others] == [1, 4, 9, 16]
        assert isinstance(dead, RunError)
        assert "trial must end by itself; got '66'; because its process ended with code 3" in str(dead)
    finally:
        workers.close()


def test_what_cannot_travel_is_refused():
    with pytest.raises(ArgumentError, match="task must be one that can be pickled"):
        list(Processes(1).map(lambda item: item, [1]))


def test_submitit_sends_parts_and_puts_the_answers_in_order(tmp_path: Path):
    submitit = pytest.importorskip("submitit")
    workers = Submitit(tmp_path, 2, submitit.LocalExecutor(tmp_path))
    assert list(workers.map(square, range(5))) == [0, 1, 4, 9, 16]
    assert list(workers.map(square, [])) == []


def test_a_job_that_fails_names_its_trials(tmp_path: Path):
    submitit = pytest.importorskip("submitit")
    workers = Submitit(tmp_path, 2, submitit.LocalExecutor(tmp_path))
    bad, one, bad_too, two = workers.map(square, [13, 1, 3, 2])
    assert (one, two) == (1, 4)
    assert bad is bad_too
    with pytest.raises(RunError, match="got .2 from 13 on.; because job .* failed .*; try reading "):
        raise bad


def test_ray_answers_in_order_and_goes_on_after_an_actor_that_died():
    pytest.importorskip("ray")
    workers = Ray(1)
    first, dead, *others = workers.map(square, [1, 66, 2, 3, 4])
    assert [first, *others] == [1, 4, 9, 16]
    assert isinstance(dead, RunError)
    workers.close()


@pytest.mark.parametrize(("name", "make"), [("submitit", Submitit), ("ray", Ray)])
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, name: str, make: Any):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ArgumentError, match=f"workers must be installed; got '?{name}'?; .*pip install 'ladle"):
        list(make().map(partial(square), [1]))


@pytest.mark.parametrize(
    ("text", "message"),
    [("thread", "workers must be a known name; got '?thread'?.*threads"), ("threads:0", "number of at least 1")],
)
def test_other_names_are_refused(text: str, message: str):
    with pytest.raises(ArgumentError, match=message):
        executor_named(text)


def test_names_make_executors(tmp_path: Path):
    assert executor_named("threads") == Threads()
    made: Any = executor_named("processes:3")
    assert made.count == 3
    assert executor_named("submitit:4", tmp_path) == Submitit(tmp_path / "jobs", 4)
    assert executor_named("ray:2") == Ray(2)
