"""A list of numbers is read in one way by every verb, and refused in one line."""

from __future__ import annotations

import shlex

import pytest

from ladle.cli import lists
from ladle.cli.arguments import parse
from ladle.cli.main import run
from ladle.cli.verbs import VERBS
from ladle.core.errors import ArgumentError

WAYS = ["8,16", "8 16", "8, 16", " 8 ,16, "]


@pytest.mark.parametrize("text", WAYS)
def test_commas_spaces_and_both_are_the_same(text: str) -> None:
    assert lists.sizes("sizes", text) == lists.counts("factors", text) == [8, 16]
    assert lists.rates("lrs", text) == [8.0, 16.0]
    assert parse(["recur", "digits", "--sizes", text], VERBS)._sizes() == [8, 16]


@pytest.mark.parametrize("text", ["8;16", "8-16", "8.5", "1,024", "eight", "8/16", "0x8"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="joined by commas or spaces; got"):
        lists.sizes("sizes", text)


@pytest.mark.parametrize(
    "command",
    [
        "compare digits --sizes '8;16'",
        "search digits --sizes '8;16'",
        "search digits --lrs '0.1;0.2'",
        "recur digits --sizes '8;16'",
        "critical digits --steps-to valid_loss=0.4 --sizes '8;16'",
        "critical . --factors '1;2'",
    ],
)
def test_every_verb_refuses_it_in_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shlex.split(command)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "joined by commas or spaces" in err
