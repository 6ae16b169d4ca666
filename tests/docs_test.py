"""What the documentation shows: its Python runs as it stands, block by block; its commands are read.

A block begins with its language. `python` runs; `py` (of a library that is not always there) is compiled only. Of
`console` and `sh` every `ladle` command goes through the reader of the command line. Others are neither.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.cli.main import read
from ladle.cli.verbs import VERBS
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))
    if "```python" in path.read_text(encoding="utf-8")
)
LONG = {"docs/tour.md": pytest.mark.long, "docs/estimators.md": pytest.mark.long}
"""They train as long as a reader would."""
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LANGUAGES = {"python", "py", "console", "sh", "text", "sql", "{toctree}"}
INLINE = re.compile(r"`ladle ([a-z][^`]*)`")


def blocks(page: str) -> list[tuple[str, str]]:
    """The language and the content of each block of a page."""
    return FENCE.findall((ROOT / page).read_text(encoding="utf-8"))


def commands(page: str) -> Iterator[list[str]]:
    """The words behind `ladle` of every command that a page shows to be typed."""
    for language, content in blocks(page):
        typed = content.replace("\\\n", " ").splitlines() if language in ("console", "sh") else []
        for line in typed:
            words = shlex.split(line.removeprefix("$ "), comments=True) if language == "sh" or line[:2] == "$ " else []
            at = next((at for at, word in enumerate(words) if word in ("ladle", "ladle.cli")), None)
            if at is not None:
                yield words[at + 1 :]


def mentioned(page: str) -> set[str]:
    """Commands in the middle of a sentence, as they stand there. Those that go on in the next line are left out."""
    return {found.split("\n")[0] for found in INLINE.findall(FENCE.sub("", (ROOT / page).read_text(encoding="utf-8")))}


def known(folder: Path) -> dict[str, Any]:
    """What a reader has by the time a page speaks of it: data of their own, a task, a table."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 3)).astype(np.float32), np.arange(200) % 2
    rows = "".join(f"{area:.1f},{3000 * area:.0f}\n" for area in rng.uniform(30, 200, 200))
    (folder / "houses.csv").write_text("area,price\n" + rows)
    data = ladle.data.arrays(X, y)
    model, loss = ladle.models.linear(3, 2), ladle.losses.cross_entropy
    names = {"X": X, "y": y, "w": np.ones(200), "shares": np.arange(1.0, data.rows + 1)}
    task = ladle.Task(model, loss, data, optimizer="sgd", lr=0.1)
    return {"ladle": ladle, "np": np, "data": data, "model": model, "loss": loss, "task": task, **names}


def test_there_are_pages_with_code():
    assert {"README.md", "docs/tour.md", "docs/own-model.md", "docs/schedules.md"} <= set(PAGES)


@pytest.mark.parametrize("page", sorted({"README.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))}))
def test_commands_of_a_page_are_such_and_every_block_says_what_it_is(page: str):
    for language, content in blocks(page):
        assert language in LANGUAGES, f"{page}: a block of {language or 'nothing'!r}"
        if language == "py":
            compile(content, page, "exec")
    assert (ROOT / page).read_text(encoding="utf-8").count("\n```") == 2 * len(blocks(page)), "a block is not closed"
    for words in commands(page):
        verb = read(words)
        if words[0] != "rehearse":  # Which may end at a loss alone.
            Until.parse(getattr(verb, "until", None) or "1 epoch")
    for text in mentioned(page):
        words = shlex.split(text)
        assert words[0] in VERBS, f"{page}: ladle {text}"
        try:
            read(words) if len(words) > 1 else None
        except ArgumentError as error:  # A mention may leave out what it is asked of.
            assert re.match(r"(DATA|MODEL|DIR)[\w, ]* must be given", str(error)), f"{page}: ladle {text}: {error}"


def test_commands_are_found():
    assert ["rehearse", "geometric 256..8192 x2 every 100000", "--against"] in [
        one[:3] for one in commands("docs/rehearse.md")
    ]
    assert ["train", "file.py:task", "--size", "64"] in list(commands("docs/torch.md"))
    assert sum(len(list(commands(f"docs/{path.name}"))) for path in ROOT.glob("docs/*.md")) >= 30
    with pytest.raises(ArgumentError, match="option must be one of ladle train"):
        read(["train", "digits", "--sise", "64"])


PLACES = re.compile(r"^\| [^|]+ \| `([\w/.]+)` \| `(\w+)` \|$", re.MULTILINE)


def test_where_names_files_that_hold_what_it_says():
    places, _, changes = (ROOT / "docs" / "where.md").read_text(encoding="utf-8").partition("Examples of whole changes")
    rows = PLACES.findall(places)
    assert len(rows) == sum(line.startswith("| ") for line in places.splitlines()) - 1, "a row is not as the others are"
    for file, name in rows:
        text = (ROOT / "src" / "ladle" / file).read_text(encoding="utf-8")
        assert re.search(rf"\b{name}\b", text), f"{file} does not hold {name}"
    named = re.findall(r"`([\w/]+\.py)`(?! \(new\))", changes)
    assert named and [file for file in named if not (ROOT / "src" / "ladle" / file).exists()] == []


FOLDERS = "|".join(sorted(path.parent.name for path in ROOT.glob("src/ladle/*/__init__.py")))
NAMED = re.compile(rf"(?<![\w/.])((?:{FOLDERS})/[\w/]+\.py)")


@pytest.mark.parametrize("page", sorted(path.name for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))))
def test_files_that_pages_name_are_there(page: str):
    path = ROOT / page if (ROOT / page).exists() else ROOT / "docs" / page
    named = set(NAMED.findall(path.read_text(encoding="utf-8"))) if page != "where.md" else set()
    assert [name for name in sorted(named) if not (ROOT / "src" / "ladle" / name).exists()] == []


def test_every_page_is_in_the_contents_and_links_to_what_is_there():
    """Sphinx warns of either, and a warning ends `scripts/docs`; it knows no pages outside of docs."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert {path.stem for path in ROOT.glob("docs/*.md")} - {"index"} <= set(index.splitlines())
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
            assert page.parent == ROOT or not link.startswith(".."), f"{page.name} links out of docs: {link}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [pytest.param(page, marks=LONG.get(page, ())) for page in PAGES])
def test_what_a_page_shows_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    namespace = known(tmp_path)
    for number, code in enumerate(BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))):
        exec(compile(code, f"{page}, block {number}", "exec"), namespace)
