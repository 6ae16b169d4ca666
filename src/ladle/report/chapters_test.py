from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.record import CRITICAL_FILE, METRICS_FILE, write_json
from ladle.report import chapters
from ladle.report.critical_picture_test import BRANCHES, STEPS
from ladle.report.curves_picture import draw_curves
from ladle.report.fakes_test import plan_json, write_compare, write_lines, write_run
from ladle.report.load import load_folders
from ladle.report.page import curves, section
from ladle.report.page_test import EVIL, Seen
from ladle.report.study import Study
from ladle.report.targets import common_target, foretold

NOISE = {"noise_scale": 90.0, "noise_scale_low": 40.0, "noise_scale_high": None}


def adaptive(folder: Path, word: str = "", plan: dict[str, Any] | None = None) -> Study:
    """A run that measured its noise scale and grew twice, the second time without a reason; `word` in every text."""
    write_run(folder, size=64, plan=plan)
    lines = [json.loads(text) for text in (folder / METRICS_FILE).read_text().splitlines()]
    for k, line in enumerate(lines):
        line |= NOISE | ({"noise_scale_high": 150.0} if k % 2 else {"noise_scale": None})
        line["size"] = 64 if k < 10 else 128 if k < 20 else 256
    lines[10] |= {"reason": f"grew to 128 {word}", "inputs": {f"noise_scale{word}": 90.0}, "hyper": {f"b2{word}": 0.9}}
    write_lines(folder / METRICS_FILE, lines)
    return load_folders([folder])[0]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return adaptive(tmp_path_factory.mktemp("runs") / "grown", plan=plan_json())


def test_the_picture_has_marks_the_noise_scale_and_the_sizes(study: Study):
    figure = draw_curves(study.groups)
    assert len(figure.axes) == 9 and figure.axes[6].get_ylabel() == "noise scale, batch size"
    loss, last = figure.axes[0], figure.axes[8]
    (marks,) = (line for line in loss.lines if line.get_gid() == "decisions grown")
    ends = [study.groups[0].runs[0].lines[k]["examples"] for k in (9, 19)]
    assert list(marks.get_xdata()) == ends and [text.get_text() for text in loss.texts] == ["64 -> 128", "128 -> 256"]
    drawn = {artist.get_gid() for artist in last.get_children()} - {None}
    assert drawn == {f"{kind} grown" for kind in ("band", "open band", "noise", "at least", "size")}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[-4:] == ["batch size", "noise scale, 95 %", "at least", "decision"]


def test_the_page_lists_decisions_and_holds_the_plan_against_its_outcome(study: Study):
    made = section(study)
    text = Seen(made).text
    for words in (
        "64 -> 128", "grew to 128", "noise scale 90", "no reason recorded", "128 -> 256",
        "Seconds per update, median window:",
        "The plan against its outcome", "actual / predicted", "noise scale, last third", "noise scale, 95 %",
    ):  # fmt: skip
        assert words in text, words
    assert made.count('data-root-id="') == 9 and made.count('"name":"Quad"') >= 3
    assert "at least 40" in made and "90 (40 to 150)" in made


def test_reasons_and_names_from_outside_are_only_ever_text(tmp_path: Path):
    grown = adaptive(tmp_path / "run", EVIL)
    found = dict(
        STEPS,
        target=EVIL,
        notes=[EVIL],
        definitions=[{"name": EVIL, "value": 3.0, "low": None, "high": None, "source": EVIL}],
    )
    write_json(tmp_path / CRITICAL_FILE, found | {"table": [row | {"verdict": EVIL} for row in STEPS["table"]]})
    made = "".join(map(section, (grown, *load_folders([tmp_path]))))
    assert "<script>alert" not in made and "<img src=x" not in made
    assert Seen(made).text.count("<script>alert(1)</script>") >= 10


def test_a_run_that_recorded_none_of_this_looks_as_before(tmp_path: Path):
    made = load_folders([write_run(tmp_path / "a", size=64)])[0]
    assert len(draw_curves(made.groups).axes) == 6
    assert chapters.decision_table(made) == chapters.outcome_section(made) == ""
    drawn = curves(made.groups)
    assert drawn.count('data-root-id="') == 6 and "decisions" not in drawn and "noise" not in drawn


def test_a_comparison_tells_steps_to_one_loss(tmp_path: Path):
    folder = write_compare(tmp_path / "c", seeds=1, sizes={"256": 256, "64": 64, "planned": 64, "8": 8})
    (study,) = load_folders([folder])
    target = common_target(study.groups)
    assert target is not None
    text = Seen(chapters.target_section(foretold(target, study.plan), b"") + chapters.outcome_section(study)).text
    for words in ("From size 64 the plan foretold", "the reference", "Target:", "Seconds per update, median window:"):
        assert words in text, words


@pytest.mark.parametrize(
    ("found", "words"), [(STEPS, "by steps to valid_loss"), (BRANCHES, "at 4,000 examples")], ids=["steps", "branches"]
)
def test_a_critical_folder_is_a_page(tmp_path: Path, found: dict[str, Any], words: str):
    write_json(tmp_path / CRITICAL_FILE, found | {"notes": ["one seed"], "data": {"name": "digits"}})
    (study,) = load_folders([tmp_path])
    seen = Seen(section(study))
    for word in (
        words,
        "on digits",
        str(found["definitions"][0]["name"]),
        "Critical batch sizes",
        "Measured",
        "one seed",
    ):
        assert word in seen.text, word
    assert seen.tags.count("img") == 1 and seen.tags.count("table") == 2


@pytest.mark.parametrize(
    ("found", "word"),
    [({}, "kind"), (STEPS | {"fit": None}, "fit min_steps"), (BRANCHES | {"table": []}, "table size")],
    ids=["empty", "unfitted", "no table"],
)
def test_a_critical_folder_that_cannot_be_drawn_is_one_clear_line(tmp_path: Path, found: dict[str, Any], word: str):
    write_json(tmp_path / CRITICAL_FILE, found)
    with pytest.raises(ArgumentError, match=word):
        load_folders([tmp_path])
