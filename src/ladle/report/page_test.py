from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ladle.core.errors import ArgumentError, RunError
from ladle.core.record import COMPARE_FILE, METRICS_FILE, write_json
from ladle.report import write_report
from ladle.report.fakes_test import compare_json, plan_json, row, write_run
from ladle.report.load import load_folders
from ladle.report.page import curves, page

EVIL = "<script>alert(1)</script>'\"& $$x$$ </script><img src=x onerror=alert(2)>"

WORDS = """Batch sizes on digits|mlp 64-128-10|30 epochs|square-root rule|0.1100|43,110|1,024 x 2|360 to validate
does not hold|not resolved|holds|Powers of two are faster|A Processor|0.10.2|Batch size 64|measured|predicted
20 µs/update|pilot of 40 updates|The curve is flat near its optimum.|Means over 3 seeds.|3f2a3f2a3f2a""".replace(
    "\n", "|"
).split("|")


class Seen(HTMLParser):
    """Text outside scripts, all tags, and what they load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self._in = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in = tag
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html(compared: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_report(compared, tmp_path_factory.mktemp("out") / "deep" / "report.html")
    return path.read_text(encoding="utf-8")


def test_the_page_loads_nothing_from_elsewhere(html: str) -> None:
    seen = Seen(html)
    assert all(load.startswith("data:") for load in seen.loads)
    assert "link" not in seen.tags and "iframe" not in seen.tags
    assert not re.search(r"""(?:src|href)\s*=\s*["']?https?://""", html, re.IGNORECASE)
    assert not re.search(r"@import|url\(\s*['\"]?http", html)
    assert "BokehJS" in html or "bokeh.min.js" in html


def test_the_page_says_what_was_run_and_measured(html: str) -> None:
    text = Seen(html).text
    for word in WORDS:
        assert word in text, word


def test_every_size_has_lines_and_bands_in_each_plot(compared: Path) -> None:
    (study,) = load_folders([compared])
    made = curves(study.groups)
    assert made.count('data-root-id="') == 6  # loss and accuracy against three axes
    assert made.count('"name":"Line"') >= 6 * 6 and made.count('"name":"VArea"') >= 6 * 3
    assert made.count('"name":"Scatter"') >= 6 * 3  # a point at every evaluation
    keys = re.findall(r"data-models='([^']*)'.*?</i>([^<]*)</button>", made)
    assert [label for _, label in keys] == ["full (1,437)", "64", "1", "training (dashed)", "range of seeds"]
    shown = {label: set(ids.split()) for ids, label in keys}
    assert len(shown["64"]) == 6 * 4 and len(shown["training (dashed)"] & shown["64"]) == 6
    assert not shown["64"] & shown["1"]
    assert all(f'"id":"{model}"' in made for ids in shown.values() for model in ids)


def test_names_from_outside_are_only_ever_text(tmp_path: Path) -> None:
    write_run(
        tmp_path / "a", size=64, model=EVIL, versions={EVIL: EVIL}, hardware={"processor": EVIL, "devices": [EVIL]}
    )
    plan = plan_json(
        bound=EVIL, notes=[EVIL], evidence=[{"name": EVIL, "value": 1.0, "unit": EVIL, "source": EVIL, "method": EVIL}]
    )
    mine = row("64", 64, seeds=1, folders=["a"], metric=f"valid_{EVIL}") | {"name": EVIL}
    data = {"name": EVIL, "rows": 9, "kind": EVIL, "notes": [EVIL]}
    write_json(
        tmp_path / COMPARE_FILE,
        compare_json([mine], data=data, lr=EVIL, budget=EVIL, command=[EVIL], folder=EVIL, plan=plan),
    )
    lines = (tmp_path / "a" / METRICS_FILE).read_text().replace("valid_accuracy", "valid_<script>alert(3)")
    (tmp_path / "a" / METRICS_FILE).write_text(lines)
    made = page(load_folders([tmp_path]))
    seen = Seen(made)
    assert "<script>alert" not in made and "<img src=x" not in made
    assert seen.tags.count("img") == 1 and seen.tags.count("script") == 4  # library 2, curves 1, keys 1
    assert seen.text.count("<script>alert(1)</script>") >= 12
    assert "x" not in seen.loads


def test_a_single_run_and_several_folders(tmp_path: Path, compared: Path) -> None:
    single = write_run(tmp_path / "single", size=64)
    path = write_report(str(single))
    assert path == single / "report.html"
    text = Seen(path.read_text()).text
    assert "Training on digits" in text and "Rules of thumb" not in text and "The plan" not in text
    diverged = write_run(tmp_path / "bad", size=8, status="diverged")
    both = write_report([single, compared, diverged], tmp_path / "all.html").read_text()
    assert both.count("class='study'") == 2
    assert "Runs side by side" in both and "Batch sizes on digits" in both and "Diverged: bad." in both


def without_curves(folder: Path) -> Path:
    """Run `folder` without its losses: its page is written in a tenth of the time."""
    (folder / METRICS_FILE).unlink()
    return folder


def test_runs_that_differ_are_told_apart(tmp_path: Path) -> None:
    """Optimisers of both, and whose plan the chapter is about."""
    one = write_run(tmp_path / "one", size=64, optimizer="adam")
    other = write_run(tmp_path / "other", size=64, optimizer="sgd", plan=plan_json())
    text = Seen(write_report([one, other]).read_text()).text
    assert "adam, sgd" in text and "The plan of other and its evidence" in text
    assert "process memory" in text and "peak memory" not in text
    assert "The plan and its evidence" in Seen(write_report(without_curves(other)).read_text()).text


def test_sizes_within_5_percent_are_not_told_without_speed(tmp_path: Path) -> None:
    told, untold = (
        without_curves(write_run(tmp_path / bound, size=64, plan=plan_json(bound=bound)))
        for bound in ("optimum", "unresolved speed")
    )
    alone = without_curves(write_run(tmp_path / "alone", size=64, plan=plan_json(within_5_percent=[64, 64])))
    assert "within 5 %" in write_report(told).read_text()
    assert not any("within 5 %" in write_report(one).read_text() for one in (untold, alone))


def test_a_run_without_numbers_gives_a_page(tmp_path: Path) -> None:
    folder = without_curves(write_run(tmp_path / "young", size=64))
    assert "These runs wrote no losses." in write_report(folder).read_text()


def test_refusals_are_clear(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no such folder"):
        write_report(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="report must be writable"):
        write_report(without_curves(write_run(tmp_path / "run", size=64)), tmp_path / "file" / "report.html")
