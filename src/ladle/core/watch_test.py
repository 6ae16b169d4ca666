"""What a rank sees of others: signs, notes, processes that are gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from ladle.core.patience import Patience, Took
from ladle.core.watch import Watch, _born


class Shelf:
    """Texts by name, in this process; implements `ladle.core.watch.Store`."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.lock = threading.Lock()

    def set_timeout(self, timeout: timedelta) -> None: ...

    def set(self, key: str, value: str) -> None:
        with self.lock:
            self.kept[key] = value

    def get(self, key: str) -> bytes:
        return self.kept[key].encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self.kept for key in keys)

    def compare_set(self, key: str, expected: str, value: str) -> bytes:
        with self.lock:
            return self.kept.setdefault(key, value).encode()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADLE_SILENCE_SECONDS", "2")


def sign(store: Shelf, rank: int, pid: int, born: str) -> None:
    store.set(f"ladle/a/{rank}", f"1 {socket.gethostname()} {pid} {born}")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_without_signs_ends_the_others(rank: int, capsys: pytest.CaptureFixture[str]):
    over, store = threading.Event(), Shelf()
    sign(store, 1 - rank, os.getpid(), _born(os.getpid()))
    watch = Watch(store, rank, 2, "a", leave=lambda _: over.set())
    assert over.wait(10) and watch.note == store.get("ladle/a/note").decode()
    assert f"rank {1 - rank} gave no sign for 2 s" in capsys.readouterr().err
    watch.stop(left=False)


def test_a_process_that_died_is_seen_at_once(capsys: pytest.CaptureFixture[str]):
    over, store = threading.Event(), Shelf()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        born = _born(child.pid)
    sign(store, 1, child.pid, born)
    watch = Watch(store, 0, 2, "a", leave=lambda _: over.set())
    assert over.wait(10) and "rank 1 died" in capsys.readouterr().err
    watch.stop(left=False)


def test_a_note_of_another_is_heard_and_the_first_one_counts():
    store = Shelf()
    watches = [Watch(store, rank, 2, "a", leave=lambda _: None) for rank in range(2)]
    assert watches[1].tell("rank 1: a row too many") == "rank 1: a row too many"
    assert watches[0].heard(10) == "rank 1: a row too many"
    assert watches[0].tell("rank 0: later") == "rank 1: a row too many"
    for watch in watches:
        watch.stop(left=False)


def test_who_has_left_is_not_missed():
    store = Shelf()
    gone = Watch(store, 1, 2, "a", leave=lambda _: None)
    gone.stop(left=True)
    watch = Watch(store, 0, 2, "a", leave=lambda _: None)
    assert watch.heard(1.0) is None
    watch.stop(left=True)


def test_a_step_that_takes_many_times_as_long_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LADLE_STUCK_SECONDS", "0.5")
    over, store = threading.Event(), Shelf()
    watch = Watch(store, 0, 2, "a", leave=lambda _: over.set())
    sign(store, 1, os.getpid(), _born(os.getpid()))
    with watch.window(64, 8) as stepped:
        stepped()
    with watch.window(64, 8):
        assert over.wait(10)
    said = capfd.readouterr().err
    assert "rank 0 made no step" in said and "test_a_step_that_takes" in said  # The reason, and where it hangs.
    assert "rank 0 made no step" in store.get("ladle/a/note").decode()
    watch.stop(left=False)


def test_the_first_window_and_the_time_between_windows_are_not_held_to_any_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LADLE_STUCK_SECONDS", "0.1")
    watch = Watch(Shelf(), 0, 2, "a", leave=lambda _: None)
    with watch.window(64, 8):
        assert watch.heard(0.5) is None
    assert watch.heard(0.5) is None
    watch.stop(left=True)


def test_patience_goes_by_the_longest_steps_of_the_newest_windows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LADLE_STUCK_SECONDS", raising=False)
    patience = Patience()
    for seconds in (1.0, 2.0, 100.0):  # One that was slow once does not count for much.
        patience.note(Took(seconds, 1000, 10))
    assert patience.limit(1000, 10) == 60.0
    assert patience.limit(10_000, 10) == 400.0 and patience.limit(1000, 100) == 400.0
