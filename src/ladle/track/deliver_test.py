"""What a tracker is asked, in which order, and how a run ends of which nothing more is heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.track import BY_NAME, library
from ladle.track.fakes_test import END, FACTS, LINES, NOTES, pictures, told
from ladle.track.words import ending, parameters


def test_every_number_goes_with_its_update_and_decisions_with_their_reason(tmp_path: Path) -> None:
    assert told(*NOTES, pictures=lambda: pictures(tmp_path)) == [
        ("open", "run-1", None),
        (0, "message", "a word before"),
        (0, {"examples": 0, "updates": 0, "valid_loss": 2.0}),
        (10, {"examples": 80, "updates": 10, "valid_loss": 1.0, "train_loss": 1.5}),
        (20, {"examples": 240, "updates": 20, "valid_loss": 0.5, "size": 16}),
        (20, "decision", "batch size 8 -> 16"),
        (20, "curves", "curves.png"),
        (20, "answers", "answers.png"),
        ("close", "stopped"),
    ]


def test_a_run_that_is_heard_of_no_more_was_killed() -> None:
    assert told(*NOTES[:3], {})[-1] == ("close", "killed")
    assert told() == [] == told({"message": "nobody"}, {})


def test_a_picture_that_cannot_be_drawn_ends_nothing_and_the_others_go(tmp_path: Path) -> None:
    def broken() -> Path:
        raise ValueError("no second line")

    assert told(*NOTES, pictures=lambda: {**pictures(tmp_path), "curves": broken})[-3:] == [
        (20, "message", "no picture of its curves: no second line"),
        (20, "answers", "answers.png"),
        ("close", "stopped"),
    ]


def test_parameters_hold_the_plan_and_nothing_of_the_end() -> None:
    known = {"size": 8, "optimizer.name": "sgd", "optimizer.lr": 0.1, "plan.size": 8, "plan.rungs": "[8, 16]"}
    assert parameters(FACTS) == known == parameters(END)
    assert ending(END) == {
        "final/examples": 240,
        "final/updates": 20,
        "final/valid_loss": 0.5,
        "final/size": 16,
        "best/valid_loss": 0.5,
    }
    assert ending(FACTS) == {} and len(LINES) == 3


@pytest.mark.parametrize(
    ("name", "package"), [(name, {"tensorboard": "tensorboardX"}.get(name, name)) for name in BY_NAME]
)
def test_a_missing_library_is_refused_by_the_name_pip_knows(name: str, package: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(library, "find_spec", lambda module: None)
    with pytest.raises(
        ArgumentError, match=f"^track must name a tracker that is installed; got '{name}'; .*try pip install {package}$"
    ):
        BY_NAME[name]()
