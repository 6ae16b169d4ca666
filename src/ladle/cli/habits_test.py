from __future__ import annotations

import shlex

import pytest

from ladle.cli.arguments import flags_of, parse
from ladle.cli.habits import HABITS
from ladle.cli.verbs import VERBS
from ladle.core.errors import TRY, ArgumentError


def told(command: str) -> str:
    with pytest.raises(ArgumentError) as caught:
        parse(shlex.split(command), VERBS)
    return str(caught.value).rpartition(TRY)[2]


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("train digits --epochs 5", "--until '5 epochs'"),
        ("train digits --epochs=5", "--until '5 epochs'"),
        ("train --epochs 5 digits", "--until '5 epochs'"),
        ("search digits --epochs 5", "--until '5 epochs'"),
        ("critical digits --num-epochs 5", "--until '5 epochs'"),
        ("recur digits --epochs 5", "--until 'valid_accuracy >= 0.95, 5 epochs'"),
        ("compare digits --max-epochs 5", "--epochs 5"),
        ("train digits --max-steps 100", "--until '100 steps'"),
        ("train digits --patience 3", "--until '100 epochs, patience 3'"),
        ("train --batch-size 32 digits", "--size 32"),
        ("train digits --batch_size 32", "--size 32"),
        ("compare digits --batch-size 32", "--sizes 32"),
        ("train digits --lr-rate 0.1", "--lr 0.1"),
        ("train digits --learning-rate", "--lr 0.001"),
        ("search digits --lr 0.1", "--lrs 0.1"),
        ("train digits --lr-scheduler cosine", "--lr-schedule cosine"),
        ("train a.csv --target-column price", "--target price"),
        ("train a.csv --label 'net price'", "--target 'net price'"),
        ("train digits --output runs/a", "--out runs/a"),
        ("train digits --report-to wandb", "--track wandb"),
        ("report runs/a --out page.html", "'--output' (known: --json, --output, --to, -o)"),
        ("train --data digits", "ladle train digits"),
        ("train digits --force", "--overwrite"),
        ("search digits --cv 3", "--folds 3"),
    ],
)
def test_what_others_type_leads_to_the_option(command: str, remedy: str) -> None:
    assert told(command) == remedy


def test_a_slip_of_the_pen_leads_to_the_nearest_option() -> None:
    assert told("train digits --optimzer sgd").startswith("'--optimizer' (known: ")


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.words.split()[0])
def test_a_habit_leads_to_options_that_there_are(habit) -> None:
    options = {flag.removeprefix("--") for kind in VERBS.values() for flag in flags_of(kind).values()}
    assert set(habit.forms) <= options | {""}
    for verb in habit.verbs.split():
        flags = flags_of(VERBS[verb]).values()
        assert any(f"--{name}" in flags for name in habit.forms), f"{verb} has none of {list(habit.forms)}"
