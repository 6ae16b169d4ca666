"""The notebooks of the documentation: each is its script, executed; its cells run as plain Python, as they stand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "build.py")
CELLS = runpy.run_path(str(FOLDER / "build.py"))["cells"]
LONG = {"first_steps": pytest.mark.long, "pytorch_loop": pytest.mark.long}
"""They plan; the first compares, too, in processes of its own."""


def book(script: Path) -> list[dict[str, Any]]:
    return json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]


def test_there_are_notebooks():
    assert {path.stem for path in SCRIPTS} >= {"first_steps", "a_table", "pytorch_loop"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_is_its_script_executed(script: Path):
    kept = [(cell["cell_type"], "".join(cell["source"])) for cell in book(script)]
    assert kept == CELLS(script.read_text(encoding="utf-8")), "scripts/notebooks makes it anew"
    outputs = [output for cell in book(script) for output in cell.get("outputs", ())]
    assert outputs and all(output["output_type"] != "error" for output in outputs)
    assert any("image/svg+xml" in "".join(output.get("data", {}).get("text/html", "")) for output in outputs)
    assert "/tmp" not in "".join("".join(output.get("text", "")) for output in outputs)


@pytest.mark.parametrize("script", [pytest.param(one, marks=LONG.get(one.stem, ()), id=one.stem) for one in SCRIPTS])
def test_its_cells_run(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, cell in enumerate(book(script)):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{script.stem}, cell {number}", "exec"), names)
