"""The recipes on films, molecules, dust, French, buildings and news, cut short: the figure moves as it should."""

from __future__ import annotations

import os

import forecast
import molecules
import pytest
import recommend
import topics
import translate
import two_targets

DATA = os.environ.get("LADLE_DATA")
RECIPES = [forecast, molecules, recommend, topics, translate, two_targets]

on_data = pytest.mark.skipif(not DATA, reason="LADLE_DATA does not name the folder of the data sets")


@pytest.mark.parametrize("given", ["", "nowhere"], ids=["none", "missing"])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__)
def test_a_folder_without_the_data_is_one_line(recipe, given, capsys):
    with pytest.raises(SystemExit) as ended:
        recipe.main(["--data", given])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1 and "try --data FOLDER, or LADLE_DATA=FOLDER" in said
