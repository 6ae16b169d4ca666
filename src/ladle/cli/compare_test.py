from __future__ import annotations

import pytest

from ladle.cli.arguments import parse
from ladle.cli.verbs import VERBS
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError


def until(*words: str) -> Until:
    return parse(["compare", "digits", *words], VERBS)._until()


def test_the_budget_of_a_run_has_three_names():
    assert until() == Until(epochs=30) and until("--epochs", "0.5") == Until(epochs=0.5)
    assert until("--budget", "60s") == until("--until", "1 min") == Until(seconds=60)


@pytest.mark.parametrize("words", [("--budget", "soon"), ("--until", "soon"), ("--epochs", "0")])
def test_a_refusal_speaks_of_the_option(words: tuple[str, str]):
    option = "epochs" if words[0] == "--epochs" else "budget"
    with pytest.raises(ArgumentError, match=f"^{option} must be"):
        until(*words)
