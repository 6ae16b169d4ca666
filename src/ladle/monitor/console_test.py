from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from ladle.monitor.console import Live, Plain, Quiet, console


class Clock:
    """A clock that goes on by itself: `step` seconds a reading."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def line(position: int, **extra: Any) -> dict[str, Any]:
    return {
        "examples": position,
        "epoch": position / 1000,
        "seconds": position / 100,
        "size": 64,
        "train_loss": 0.25,
        **extra,
    }


def test_plain_lines_are_rare_and_the_last_is_never_lost() -> None:
    stream = io.StringIO()
    shown = console(100_000, stream=stream, clock=Clock(1e-3))
    for position in range(1, 10_001):  # 10 epochs in about 10 s of the fake clock
        shown.append(line(position * 10, valid_loss=0.3, valid_accuracy=0.9))
    shown.close()
    lines = stream.getvalue().splitlines()
    assert 3 <= len(lines) <= 7
    assert "epoch 100.00" in lines[-1] and "100%" in lines[-1]
    assert "accuracy 0.9" in lines[0] and "valid 0.3" in lines[0] and "size 64" in lines[0]


def test_fast_time_slow_epochs_print_once_an_epoch_or_minute() -> None:
    stream = io.StringIO()
    shown = console(stream=stream, clock=Clock(5.0))
    for position in range(0, 1000, 100):  # one epoch, 10 lines, 5 to 10 s apart
        shown.append(line(position))
    assert len(stream.getvalue().splitlines()) == 1
    for position in range(1000, 2000, 10):  # one epoch of ~ 500 s: the first line of the epoch and one a minute
        shown.append(line(position))
    assert 6 <= len(stream.getvalue().splitlines()) - 1 <= 12


def test_missing_numbers_are_left_out() -> None:
    stream = io.StringIO()
    shown = console(stream=stream)
    shown.append({"examples": 5, "train_loss": None, "data_wait_fraction": 0.25, "reason": "noise grew"})
    shown.close()
    assert stream.getvalue().split() == ["epoch", "0.00", "data", "wait", "25%", "noise", "grew"]


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = console(10, quiet=True)
    shown.append(line(1))
    shown.message("hello")
    shown.close()
    assert isinstance(shown, Quiet)
    assert capsys.readouterr() == ("", "")


def test_standard_error_by_default_and_standard_output_never(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (console(10), Live(10, stream=sys.stderr, clock=Clock(1.0))):
        shown.append(line(1))
        shown.message("hello")
        print("result")
        shown.close()
    out, err = capsys.readouterr()
    assert out == "result\nresult\n" and err.count("hello") == 2 and "result" not in err


def test_live_draws_seldom_and_shows_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    shown = console(1000, stream=stream, clock=Clock(1e-3))
    assert isinstance(shown, Live)
    for position in range(1, 1001):
        shown.append(line(position, valid_accuracy=position / 1000))
    shown.message("[bold]kept as it is[/bold]")
    shown.close()
    shown.close()
    text = stream.getvalue()
    assert text.count("size 64") < 30
    assert "100%" in text and "accuracy 1" in text and "[bold]kept as it is[/bold]" in text
    assert "\x1b[3" in text  # colours


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    shown = console(1000, stream=stream)
    shown.append(line(500))
    shown.close()
    assert "50%" in stream.getvalue() and "\x1b[3" not in stream.getvalue()


def test_a_dumb_terminal_and_unknown_length_do_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    shown = console(None, stream=stream)
    shown.append(line(500))
    shown.close()
    assert "loss 0.25" in stream.getvalue()


def test_a_run_survives_the_reader_of_its_log() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    shown = console(stream=Closed())
    shown.append(line(1))
    shown.close()


def test_plain_is_for_what_is_no_terminal() -> None:
    assert isinstance(console(stream=io.StringIO()), Plain)


class Cell(io.StringIO):
    """What a notebook's kernel writes to."""


Cell.__module__ = "ipykernel.iostream"


def test_a_notebook_has_one_line_that_is_written_anew() -> None:
    stream = Cell()
    shown = console(1000, stream=stream, clock=Clock(0.2))
    for position in range(0, 1001, 100):
        shown.append(line(position, reason="a long reason" if position == 300 else None))
    shown.message("a word")
    shown.append(line(1000))
    shown.close()
    screen = [part.rpartition("\r")[2].rstrip() for part in stream.getvalue().split("\n")]
    assert screen[0] == "a word" and "epoch   1.00 100%" in screen[1] and screen[2:] == [""]
    assert stream.getvalue().count("\r") < 8
