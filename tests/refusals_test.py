"""What a refusal tells to try is tried, where the user stands: on the command line and in Python."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.critical_steps import measure_steps
from ladle.cli.main import run
from ladle.core.errors import TRY, ArgumentError
from ladle.planner.laws import batch_size_spread

PACKAGE = Path(__file__).parents[1] / "src" / "ladle"

TRAIN = "train ok.csv --model linear --until '1 epochs' --quiet --out run"

COMMANDS = {
    f"{TRAIN} --size 0": "--size 48",
    f"{TRAIN} --size 1.5": "--size 48",
    f"{TRAIN} --size 999": "--size full",
    f"{TRAIN} --size 8 --micro-size 0": "--micro-size 8",
    f"{TRAIN} --size 8 --micro-size 99": "--micro-size 8",
    f"{TRAIN} --size 8 --lr 0": "--lr auto",
    f"{TRAIN} --size 8 --valid 2": "--valid 0.2",
    f"{TRAIN} --size 8 --memory lots": "--memory 2GB",
    f"{TRAIN} --schedule 0:8 --size 8": "no --size",
    f"{TRAIN} --schedule 'grow 4 x2 at 1ep max 8' --rule linear": "--rule none",
    f"{TRAIN} --size 8 --rule linear": "--schedule '0:64 10ep:128'",
    f"{TRAIN} --size 8 --epochs 1": "--until '1 epochs'",
    f"{TRAIN} --batch-size 8": "--size 8",
    "train text.csv --quiet --size 8 --until '1 epochs' --out run":
        "--drop t, --as t=category or --as t=text",
    "train ok.csv --model convnet --size 8 --until '1 epochs' --quiet --out run": "--model mlp",
    "train digits --target z --model linear --size 64 --until '1 epochs' --quiet --out run": "no --target",
    "train matrix.npy --target 9 --model linear --size 8 --until '1 epochs' --quiet --out run": "--target -1",
    "train ok.csv --model linear --size 8 --until 'patience 3' --quiet --out run": "'30 epochs, patience 3'",
    "train ok.csv --model linear --size 8 --until '1 epochs, patience 3' --valid 0 --out run":
        "train_loss in its place, or --valid 0.2 for the data",
    "compare ok.csv --sizes 0 --out c": "--sizes 48",
    "compare ok.csv --sizes 999 --out c": "--sizes full",
    "compare ok.csv --sizes 8;16 --out c": "--sizes 1,2,4,8",
    "compare ok.csv --sizes 8 --seeds 0 --out c": "--seeds 3",
    "search ok.csv --sizes 8 --folds 1 --out s": "--folds 5",
    "search ok.csv --sizes 8 --folds 99 --out s": "--folds 5",
    "search ok.csv --sizes 8 --lrs 0 --out s": "--lrs 1e-3,1e-2",
    "search ok.csv --sizes 8 --lr 0.1 --out s": "--lrs 0.1",
    "search ok.csv --sizes 8 --until '10 s' --out s": "--until '20 epochs'",
    "search ok.csv --sizes 8 --trials 5 --out s": "--trials 20 with --method model",
    "search ok.csv --sizes 8 --valid 0 --refit --out s": "--valid 0.2 for the data, or no --refit",
    "recur ok.csv --sizes 999 --out r": "--sizes 1..48",
    "recur ok.csv --sizes x --out r": "--sizes 1,2,4,8",
    "recur ok.csv --epochs 2 --out r": "--until 'valid_accuracy >= 0.95, 2 epochs'",
    "critical ok.csv --steps-to valid_loss=0.1 --seeds 0 --out c": "--seeds 3",
    "critical ok.csv --steps-to valid_loss=0.1 --sizes 8 --out c": "--sizes 4,8,16,32",
    "plan ok.csv --memory lots --out p": "--memory 2GB",
    "plan ok.csv --energy-share 0.3 --out p": "--minimize cost",
    "laws --parameters 5e8 --tokens 1e10 --length 0": "--length 512",
    "rehearse constant --fixed-seconds -1 --out e": "--fixed-seconds 1e-3",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a small table of two classes, one with text in a column, and a matrix."""
    monkeypatch.chdir(tmp_path)
    rows = [(i, i % 7, "u" if i % 2 else "v") for i in range(60)]
    Path("ok.csv").write_text("a,b,y\n" + "".join(f"{a},{b},{y}\n" for a, b, y in rows))
    Path("text.csv").write_text("a,t,y\n" + "".join(f"{a},w{a * 2 // 3},{y}\n" for a, _, y in rows))
    np.save("matrix.npy", np.array([(a, b, y == "u") for a, b, y in rows]))  # Compiled once for both.
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_remedy_on_the_command_line_is_an_option_of_it(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argument, remedy = refused(command, capsys)
    assert remedy == COMMANDS[command]
    if command.startswith(("train", "laws")) and (again := mended(command, argument, remedy)) is not None:
        assert run(again) == 0 or refused(shlex.join(again), capsys)[0] != argument


def refused(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What was refused, and the remedy."""
    capsys.readouterr()
    assert run(shlex.split(command)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    said, _, remedy = line.removeprefix("ladle: ").rpartition(TRY)
    return said.partition(" must ")[0], remedy


def mended(command: str, argument: str, remedy: str) -> list[str] | None:
    """The command with what it was told: an option set anew or left out, or the value of the refused one."""
    words = shlex.split(command)
    tokens = shlex.split(remedy)
    if tokens[0] == "no":
        place = words.index(tokens[1])
        return words[:place] + words[place + 2 :]
    if len(tokens) == 1:
        tokens = [f"--{argument}", tokens[0]]
    if argument == "option" or len(tokens) != 2 or tokens[0] not in words:
        return None
    place = words.index(tokens[0])
    return [*words[:place], *tokens, *words[place + 2 :]]


def table(**changes: Any) -> Any:
    rows = np.arange(60, dtype=np.float32)
    return ladle.data.arrays(np.stack([rows, rows % 7], 1), np.arange(60) % 2, **changes)


def task(**changes: Any) -> ladle.Task:
    return ladle.Task(ladle.models.linear(2, 2), None, table(), **changes)


def on_task(function: Callable[..., Any], **usual: Any) -> Callable[..., Any]:
    return lambda **given: function(task(), **{**usual, **given})


fit = on_task(ladle.fit, until="1 epochs", seed=0)
compare = on_task(ladle.compare, until="1 epochs", seeds=1)
search = on_task(ladle.search, until="1 epochs", sizes=[8], lrs=[0.1])
steps = on_task(partial(measure_steps, target="valid_loss=0.1"), until="2 epochs")
load = partial(ladle.data.load, "ok.csv")

CALLS: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (fit, {"size": 0}, "size=48"),
    (fit, {"size": "many"}, "size=48"),
    (fit, {"size": 999}, "size='full'"),
    (fit, {"size": 8, "micro_size": 0}, "micro_size=8"),
    (fit, {"size": 8, "micro_size": 99}, "micro_size=8"),
    (fit, {"size": 8, "restore": "first"}, "restore='best'"),
    (fit, {"policy": "constant"}, "size=48"),
    (fit, {"size": 8, "policy": "0:8"}, "size=None"),
    (fit, {"size": 8, "seed": -1}, "seed=0"),
    (fit, {"size": 8, "overwrite": True}, "out='runs/a'"),
    (task, {"lr": 0}, "lr='auto'"),
    (task, {"lane": "cpu"}, "lane='auto'"),
    (table, {"valid": 2}, "valid=0.2"),
    (load, {"drop": ["z"]}, "one of them (known: a, b, y)"),
    (compare, {"sizes": [0]}, "sizes=[48]"),
    (compare, {"sizes": [999]}, "sizes=['full']"),
    (compare, {"sizes": []}, "sizes=['full', 64, 1]"),
    (compare, {"sizes": [8], "seeds": 0}, "seeds=3"),
    (search, {"folds": 1}, "folds=5"),
    (search, {"folds": 99}, "folds=5"),
    (search, {"lrs": [0]}, "lrs=[1e-3, 1e-2]"),
    (search, {"sizes": "8 16"}, "sizes=[8, 16]"),
    (search, {"until": "10 s"}, "until='20 epochs'"),
    (search, {"trials": 5}, "trials=20 with method='model'"),
    (search, {"workers": 2}, "workers='processes:2'"),
    (steps, {"seeds": 0}, "seeds=3"),
    (steps, {"base": 0}, "base=4"),
    (steps, {"sizes": [8]}, "sizes=[4, 8, 16, 32]"),
    (steps, {"until": "10 s"}, "until='100 epochs'"),
    (on_task(ladle.plan), {"memory": "lots"}, "memory='2GB'"),
    (on_task(ladle.plan), {"lr": 0}, "lr=1e-3"),
    (on_task(ladle.plan), {"energy_share": 0.3}, "minimize='cost'"),
    (partial(batch_size_spread, 5e8, 1e10), {"length": 0}, "length=512"),
]
CHEAP = (fit, task, table)
"""What is called a second time, as it was told; the others would work for seconds."""


@pytest.mark.parametrize(
    ("function", "given", "remedy"), CALLS, ids=lambda value: "" if callable(value) else str(value)[:40]
)
def test_a_remedy_in_python_is_an_argument_of_it(
    function: Callable[..., Any], given: dict[str, Any], remedy: str, folder: Path
) -> None:
    argument, told = refusal(function, given)
    assert told == remedy
    name, _, value = remedy.partition("=")
    if function in CHEAP and re.fullmatch(r"\w+", name) and argument in (name, "policy", "out"):
        again = {**given, name: ast.literal_eval(value)}
        assert accepted(function, again, argument)


def refusal(function: Callable[..., Any], given: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ArgumentError) as caught:
        function(**given)
    said, _, remedy = str(caught.value).rpartition(TRY)
    return said.partition(" must ")[0], remedy


def accepted(function: Callable[..., Any], given: dict[str, Any], argument: str) -> bool:
    """Whether the call goes through, or stumbles over something else than `argument`."""
    try:
        function(**given)
    except ArgumentError as error:
        return not str(error).startswith(f"{argument} must ")
    return True


def test_below_the_command_line_nobody_speaks_of_its_options() -> None:
    """Sentences of the rooms and of Python's verbs are read in both places: `ladle.cli.remedy` says them as options."""
    found = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}: {node.value!r}"
        for file in PACKAGE.rglob("*.py")
        if not file.name.endswith("_test.py") and file.relative_to(PACKAGE).parts[0] != "cli"
        if not file.name.startswith("launch")  # They begin processes of the command line, whose words they write.
        if re.search("--[a-z]", text := file.read_text(encoding="utf-8"))  # Reading the others' syntax takes seconds.
        for node in strings(ast.parse(text))
        if re.search(r"(?<![\w-])--[a-z]", node.value)
    ]
    assert found == []


def strings(tree: ast.AST) -> list[Any]:
    """The texts of a file that are no docstrings."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [node for node in texts if id(node) not in documentation]
