from __future__ import annotations

import json
from pathlib import Path

import pytest

from ladle.api.look import look
from ladle.api.options import TaskOptions
from ladle.cli.main import run
from ladle.core.errors import DataError
from ladle.core.record import plain


@pytest.fixture
def table(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "t.csv"
    rows = [f"{n},{n * n % 17 or ''},{'uvw'[n % 3]},{n % 2},{n % 2}" for n in range(60)]
    path.write_text("id,a,w,copy,y\n" + "\n".join(rows) + "\n")
    return path


def test_what_becomes_of_each_column(table: Path) -> None:
    found = look(TaskOptions(str(table)))
    assert [(one.name, one.kind, one.missing, one.levels, one.becomes) for one in found.columns] == [
        ("a", "whole", 4, 8, "1 number and a mark of missing"),
        ("w", "words", 0, 3, "3 columns of 0 and 1"),
        ("copy", "whole", 0, 2, "1 number"),
        ("y", "whole", 0, 2, "the target: 2 classes"),
    ]
    assert found.target == "y" and len(found.rows) == 3 and len(found.rows[0]["x"]) == 6
    assert found.warnings == ("Warning: copy alone tells y in every row; drop=['copy'] if it is not known before.",)
    assert "Left out: id, which only counts the rows." in found.notes
    assert "row 1 as the model sees it: x [" in str(found)
    assert json.loads(json.dumps(plain(found.to_json())))["columns"][0]["name"] == "a"


def test_a_table_that_cannot_be_trained_on_is_shown_with_the_reason(table: Path, capsys: pytest.CaptureFixture) -> None:
    table.write_text("a,w,y\n" + "".join(f"{n},w{n % 30},1\n" for n in range(40)))
    found = look(TaskOptions(str(table)))
    assert found.refused is not None and "at least two classes" in found.refused
    assert run(["data", str(table)]) == 2
    assert "refused: target y must have" in capsys.readouterr().out
    with pytest.raises(DataError, match="there is no such file"):
        look(TaskOptions("absent.csv"))


def test_the_command_line(table: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["data", str(table), "--as", "w=id", "--drop", "copy", "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert [one["becomes"] for one in seen["columns"] if one["name"] == "w"] == ["left out"]
    assert run(["data", str(table), "--target", "y", "--stream"]) == 0
    assert "Rows are read from the disk" in capsys.readouterr().out
    assert run(["data", "digits"]) == 0
    assert "1,797 images" in capsys.readouterr().out
    assert run(["data", str(table), "--decimal", ";"]) == 2
