"""Every executor: answers in the order of the items, a failure is raised, the death of a worker answers its item."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ladle.core.errors import ArgumentError, RunError
from ladle.search import hosts as hosts_
from ladle.search.again import answers
from ladle.search.crew import Crew, Gone
from ladle.search.executors import executor_named
from ladle.search.hosts import Hosts
from ladle.search.processes import Processes
from ladle.search.ray import Ray
from ladle.search.submitit import Submitit
from ladle.search.threads import Threads

SOURCE = Path(__file__).parents[2]


def stopped(number: int) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


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
    try:
        first, dead, *others = workers.map(square, [1, 66, 2, 3, 4])
        assert [first, *others] == [1, 4, 9, 16]
        assert isinstance(dead, RunError)
        with pytest.raises(ArgumentError, match="^13 must be lucky$"):
            list(workers.map(square, [13]))
    finally:
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


KILLED = """
import os, pathlib, signal, sys
def job(item):
    where, number = item
    place = pathlib.Path(where)
    print("said")
    if number == 2 and not place.exists():
        place.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.environ.get("LADLE_TEST_HOST"), number * number
"""


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "jobs_of_a_test.py").write_text(KILLED)
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    job = importlib.import_module("jobs_of_a_test").job
    yield lambda *words: Hosts([f"env PYTHONPATH={SOURCE}:{tmp_path} {one}" for one in words]), job
    __import__("sys").modules.pop("jobs_of_a_test")


def test_workers_of_commands_answer_in_order_and_one_that_died_is_begun_again(hosts, tmp_path: Path):
    begin, job = hosts
    workers = begin("LADLE_TEST_HOST=a", "LADLE_TEST_HOST=b")
    items = [(str(tmp_path / "killed"), number) for number in range(6)]
    told = []
    try:
        found = dict(answers(workers, job, items, told=lambda item, why: told.append((item[1], str(why)))))
        again = list(workers.map(job, items))
    finally:
        workers.close()
    assert {item[1]: square for item, (_, square) in found.items()} == {n: n * n for n in range(6)}
    assert {name for name, _ in again} <= {"a", "b"}
    assert [number for number, _ in told] == [2]
    assert "its worker, env PYTHONPATH=" in told[0][1] and "ended (exit code -9" in told[0][1]


def test_a_worker_that_does_not_come_is_refused_with_its_last_words():
    with pytest.raises(
        ArgumentError, match=r"workers must come when they are called; .* because .*exit code 3: no way"
    ):
        list(Hosts(["sh -c 'echo no way >&2; exit 3'"]).map(abs, [1]))
    with pytest.raises(ArgumentError, match="because nowhere_at_all: No such file"):
        list(Hosts(["nowhere_at_all"]).map(abs, [1]))
    with pytest.raises(ArgumentError, match="workers must name commands"):
        executor_named("hosts:")
    with pytest.raises(ArgumentError, match="workers must name commands"):
        executor_named("hosts:ssh one,")


def test_a_worker_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hosts_, "versions", lambda: {"python": "2.7"})
    with pytest.raises(ArgumentError, match=r"it has python 3\.\d+, and this process 2.7"):
        list(Hosts([f"env PYTHONPATH={SOURCE}"]).map(abs, [1]))


def test_a_worker_that_is_stopped_is_given_up(hosts, tmp_path: Path):
    """SIGSTOP: no end of file comes, no answer either, and no sign of life."""
    begin, _ = hosts
    workers = begin("A=1")
    workers.silence = 1.0
    try:
        (answer,) = workers.map(stopped, [7])
    finally:
        workers.close()
    assert isinstance(answer, RunError) and "no sign of life for 1 s" in str(answer)


def test_where_no_worker_is_left_each_item_says_so():
    class Leaving:
        def __call__(self, item: Any) -> Any:
            raise Gone("its door is shut")

        def close(self) -> None: ...

    found = list(Crew([Leaving(), Leaving()]).map([1, 2, 3]))
    assert all(
        "none; because the last could not be begun again (its door is shut)" in str(one).replace("'", "")
        for one in found
    )
