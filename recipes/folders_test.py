"""Every recipe says in one line, before it works, that the folder of data sets is missing."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

SAID = "LADLE_DATA=FOLDER python recipes/"
NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if f"{SAID}{path.name}" in path.read_text("utf-8")
)
NAMES.remove("torch_fashion")  # Its data set is one of `ladle.data.load`, which says so itself.


def test_recipes_on_data_sets_are_found():
    assert len(NAMES) > 20


@pytest.mark.parametrize("given", ["", "nowhere"], ids=["none", "missing"])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_without_the_data_is_one_line(name, given, capsys):
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main(["--data", given])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    assert error.startswith(f"{name}.py: data must hold") and repr(given) in error
    assert "try --data FOLDER, or LADLE_DATA=FOLDER" in error
