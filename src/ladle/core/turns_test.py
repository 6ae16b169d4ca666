"""Turns that processes take, by threads that each open the lock anew."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest

from ladle.core import turns
from ladle.core.turns import in_turn


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LADLE_CACHE", str(tmp_path))
    return tmp_path


def other(seen: list[str], begun: Event) -> Thread:
    def take() -> None:
        begun.set()
        with in_turn("compiling"):
            seen.append("other")

    thread = Thread(target=take)
    thread.start()
    return thread


def test_the_second_waits_for_the_first(cache: Path):
    seen, begun = [], Event()
    with in_turn("compiling"):
        thread = other(seen, begun)
        begun.wait()
        with in_turn("something else"):  # Another name is another lock.
            seen.append("first")
    thread.join()
    assert seen == ["first", "other"]
    assert (cache / "compiling.lock").is_file()


def test_nobody_waits_for_ever(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "MOST_SECONDS", 0.1)
    seen: list[str] = []
    with in_turn("compiling"):
        other(seen, Event()).join()
        assert seen == ["other"]


@pytest.mark.parametrize("folder", ["off", "/nowhere/at/all"])
def test_without_a_folder_nobody_waits(folder: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LADLE_CACHE", folder)
    seen: list[str] = []
    with in_turn("compiling"):
        other(seen, Event()).join()
    assert seen == ["other"]
