from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ladle
from ladle.api.critical_branches import measure
from ladle.api.critical_steps import measure_steps
from ladle.core.world import require_alone

TASK: Any = None  # Refused before it is looked at.


@pytest.mark.parametrize("ranks", ["2", "16"])
@pytest.mark.parametrize(
    "asked",
    [
        lambda: ladle.compare(TASK),
        lambda: ladle.search(TASK),
        lambda: ladle.recur(TASK, "jobs"),
        lambda: measure("run"),
        lambda: measure_steps(TASK, "valid_loss <= 1"),
    ],
    ids=["compare", "search", "recur", "branches", "steps"],
)
def test_what_one_process_does_is_refused_to_several(
    asked, ranks: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", ranks)
    with pytest.raises(ladle.ArgumentError, match=f"must be asked of one process; got '{ranks} processes'"):
        asked()
    assert not list(tmp_path.iterdir())


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch):
    for ranks in ("1", "", "many"):
        monkeypatch.setenv("WORLD_SIZE", ranks)
        require_alone("compare")
