from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest

from ladle.api.options import TaskOptions
from ladle.cli.arguments import flags_of, parse
from ladle.cli.common import Common
from ladle.cli.main import run
from ladle.cli.verbs import VERBS


def test_without_a_verb_the_page_is_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and all(f"\n  {verb} " in err for verb in VERBS)
    assert "ladle plan digits" in err and max(map(len, err.splitlines())) <= 120


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_where_it_is_asked_for_it_is_the_answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    out, err = capsys.readouterr()
    assert err == "" and "usage: ladle VERB" in out


def test_help_of_a_verb_may_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["help", "search"])
    assert "--folds" in capsys.readouterr().out


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ladle 0.")


def test_the_page_loads_nothing_heavy(fresh_python: Callable[..., str]) -> None:
    code = "import sys; from ladle.cli.main import run; run([]); print(sorted({'jax', 'pyarrow'} & set(sys.modules)))"
    assert fresh_python(code).strip() == "[]"


@pytest.mark.parametrize("verb", [verb for verb, kind in VERBS.items() if issubclass(kind, Common)])
def test_options_of_the_task_are_those_of_every_verb_that_trains(verb: str) -> None:
    flags = flags_of(VERBS[verb])
    missing = {one.name for one in fields(TaskOptions)} - {"data"} - flags.keys()
    assert missing == ({"lr"} if verb == "search" else set()), "a search has --lrs"


def test_what_is_typed_arrives_in_the_options_of_the_task() -> None:
    words = "train a.csv --target y --drop b --valid 0.3 --model linear --optimizer sgd --lr 0.1 --order sequential"
    words += " --clip 1 --ema 0.99 --frozen 0.* --no-decay *bias --precision bf16 --remat dots"
    update = {
        "clip": 1.0,
        "ema": 0.99,
        "frozen": ("0.*",),
        "no_decay": ("*bias",),
        "precision": "bf16",
        "remat": "dots",
    }
    wanted = TaskOptions("a.csv", "y", None, ("b",), 0.3, "linear", "sgd", 0.1, order="sequential", **update)
    assert parse(words.split(), VERBS).options() == wanted
