"""What a rank sees of others: signs, notes, processes that are gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest
from torch import distributed

from ladle.core.watch import Watch, _born


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADLE_SILENCE_SECONDS", "2")


def sign(store: distributed.Store, rank: int, pid: int, born: str) -> None:
    store.set(f"ladle/a/{rank}", f"1 {socket.gethostname()} {pid} {born}")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_without_signs_ends_the_others(rank: int, capsys: pytest.CaptureFixture[str]):
    over, store = threading.Event(), distributed.HashStore()
    sign(store, 1 - rank, os.getpid(), _born(os.getpid()))
    watch = Watch(store, rank, 2, "a", leave=lambda _: over.set())
    assert over.wait(10) and watch.note == store.get("ladle/a/note").decode()
    assert f"rank {1 - rank} gave no sign for 2 s" in capsys.readouterr().err
    watch.stop(left=False)


def test_a_process_that_died_is_seen_at_once(capsys: pytest.CaptureFixture[str]):
    over, store = threading.Event(), distributed.HashStore()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        born = _born(child.pid)
    sign(store, 1, child.pid, born)
    watch = Watch(store, 0, 2, "a", leave=lambda _: over.set())
    assert over.wait(10) and "rank 1 died" in capsys.readouterr().err
    watch.stop(left=False)


def test_a_note_of_another_is_heard_and_the_first_one_counts():
    store = distributed.HashStore()
    watches = [Watch(store, rank, 2, "a", leave=lambda _: None) for rank in range(2)]
    assert watches[1].tell("rank 1: a row too many") == "rank 1: a row too many"
    assert watches[0].heard(10) == "rank 1: a row too many"
    assert watches[0].tell("rank 0: later") == "rank 1: a row too many"
    for watch in watches:
        watch.stop(left=False)


def test_who_has_left_is_not_missed():
    store = distributed.HashStore()
    gone = Watch(store, 1, 2, "a", leave=lambda _: None)
    gone.stop(left=True)
    watch = Watch(store, 0, 2, "a", leave=lambda _: None)
    assert watch.heard(1.0) is None
    watch.stop(left=True)
