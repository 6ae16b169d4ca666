from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from bokeh.client import pull_session
from bokeh.document import Document

from ladle.board.page import Board, Page
from ladle.board.server import make_server, serve
from ladle.board.shelf import Shelf
from ladle.core.errors import ArgumentError


def run(folder: Path, lines: int = 20, status: str = "finished", **info: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"status": status, "seed": 0, **info}))
    with open(folder / "metrics.jsonl", "w") as out:
        for i in range(1, lines + 1):
            out.write(json.dumps({"examples": 64 * i, "updates": i, "seconds": i / 2, "train_loss": 1 / i, "size": 64}))
            out.write("\n")
    return folder


def page(root: Path) -> Page:
    shelf = Shelf(root, lambda entry, record: [{"name": entry.name, "unit": "s", "lines": record.rows.count}])
    return Page(Document(), shelf)


def look(one: Page) -> dict[str, Any]:
    """A tick that looks through the folder, and what the page is told then."""
    one.shelf._looked = -1e9
    one.tick()
    return json.loads(one.board.told)


def drawn(one: Page, panel: str = "loss") -> list[int]:
    """The number of points of each line."""
    (picture,) = (each for each in one.pictures if each.panel.key == panel)
    return [len(xs) for xs in picture.lines.data["xs"]]


@contextmanager
def serving(root: Path) -> Iterator[int]:
    """A board on a port of its own, in a thread."""
    ready, held = threading.Event(), []

    def work() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        held.append(make_server(root, lambda entry, record: [], port=0))
        serve(held[0], lambda place: ready.set())
        held[0].io_loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(20)
    try:
        yield held[0].port
    finally:
        held[0].io_loop.add_callback(held[0].io_loop.stop)
        thread.join(20)


@pytest.mark.slow
def test_the_page_comes_over_http_and_its_document_over_a_websocket(tmp_path: Path):
    run(tmp_path / "a")
    with serving(tmp_path) as port:
        with urlopen(f"http://localhost:{port}/") as answer:
            text = answer.read().decode()
        assert "ladle board" in text and "static/js/bokeh.min.js" in text
        assert "cdn" not in text.lower() and "https://" not in text
        session = pull_session(url=f"http://localhost:{port}/")
        try:
            board = session.document.get_model_by_name("board")
            assert isinstance(board, Board)
            assert [one["name"] for one in json.loads(board.rows)] == ["a"] and json.loads(board.chosen) == ["a"]
            assert session.document.get_model_by_name("loss") is not None
        finally:
            session.close()


def test_a_port_that_is_taken_or_an_address_of_another_machine_is_refused(tmp_path: Path):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        with pytest.raises(ArgumentError, match=f"port must be free to listen on; got {port}; because something else"):
            make_server(tmp_path, lambda entry, record: [], port=port)
    with pytest.raises(ArgumentError, match="address must be"):
        make_server(tmp_path, lambda entry, record: [], port=0, address="192.0.2.1")
    with pytest.raises(ArgumentError, match="address must be"):
        make_server(tmp_path, lambda entry, record: [], port=5006, address="no such host.invalid")


def test_curves_grow_with_their_file_and_nothing_is_drawn_without_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(tmp_path / "a", lines=20, status="running")
    one = page(tmp_path)
    assert drawn(one) == [20]
    before = one.board.told
    look(one)
    assert one.board.told is before
    run(tmp_path / "a", lines=30, status="running")
    look(one)
    assert drawn(one) == [30] and json.loads(one.board.news)[0]["updates"] == 30


def test_a_run_that_appears_or_goes_changes_the_table(tmp_path: Path):
    one = page(tmp_path)
    assert one.board.rows == "[]" and one.board.chosen == "[]"
    run(tmp_path / "a")
    look(one)
    assert [row["name"] for row in json.loads(one.board.rows)] == ["a"]
    one.board.chosen = '["a", "gone"]'
    assert [about["name"] for about in json.loads(one.board.told)["runs"]] == ["a"]
    for file in (tmp_path / "a").iterdir():
        file.unlink()
    (tmp_path / "a").rmdir()
    assert look(one)["runs"] == [] and one.board.rows == "[]" and drawn(one) == []


def test_broken_runs_are_told_with_the_reason(tmp_path: Path):
    (run(tmp_path / "a") / "run.json").write_text("{")
    with open(tmp_path / "a" / "metrics.jsonl", "a") as out:
        out.write("garbage\n")
    one = page(tmp_path)
    one.board.chosen = '["a"]'
    trouble = json.loads(one.board.told)["runs"][0]["trouble"]
    assert trouble[0].startswith("broken: run.json is no JSON") and trouble[1].startswith("1 lines of the record")
    assert drawn(one) == [20]


@pytest.mark.parametrize("text", ["", "{}", "[1, null, {}]", "no JSON", '["/etc/passwd", "../x"]'])
def test_whatever_a_page_chooses_is_looked_up_and_never_opened(tmp_path: Path, text: str):
    run(tmp_path / "a")
    one = page(tmp_path)
    one.board.chosen = text
    assert one.chosen() == [] and drawn(one) == []


def test_axis_zoom_and_colours(tmp_path: Path):
    run(tmp_path / "a", lines=5000)
    one = page(tmp_path)
    assert 1000 < drawn(one)[0] < 1300
    one.board.axis = "updates"
    assert one.common.end == 5000.0 and one.pictures[0].plot.xaxis.axis_label == "updates"
    one.board.axis = "nonsense"
    assert one.board.axis == "updates"
    one.common.update(start=1000.0, end=1500.0)
    one._redraw()
    assert 500 <= drawn(one)[0] <= 504  # Every point of that part, none thinned away.
    one.board.span = "again"
    assert (one.common.start, one.common.end) == (0.0, 5000.0)
    one.board.log = one.board.dark = True
    assert one.pictures[0].plot.y_range.start > 0
    assert one.pictures[0].lines.data["color"] == ["#4aa8e0"]


def test_seeds_share_a_line_and_searches_have_a_map(tmp_path: Path):
    for seed in range(2):
        run(tmp_path / f"s{seed}", seed=seed, size=64)
    (tmp_path / "search").mkdir()
    tried = {"size": 16, "lr": 0.01, "mean": 0.9, "complete": True}
    found = {
        "status": "finished",
        "metric": "valid_accuracy",
        "best": 0,
        "chosen": 0,
        "candidates": [tried, {"size": 0}],
    }
    (tmp_path / "search" / "search.json").write_text(json.dumps(found))
    one = page(tmp_path)
    one.board.chosen = '["s0", "s1", "search"]'
    told = json.loads(one.board.told)
    assert told["groups"] == [{"name": "s0, s1", "seeds": 2}] and len(told["search"]["rows"]) == 2
    assert drawn(one) == [20] and one.map.source.data["size"] == [16]
    assert [about["outcome"][0]["lines"] for about in told["runs"]] == [20, 20]


def test_records_that_nobody_looks_at_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ladle.board.shelf.MOST_ROWS", 30)
    for name in "abc":
        run(tmp_path / name)
    one = page(tmp_path)
    choose: Callable[[str], None] = lambda name: setattr(one.board, "chosen", json.dumps([name]))  # noqa: E731
    for name in "abc":
        choose(name)
    look(one)
    assert list(one.shelf._records) == ["c"]
