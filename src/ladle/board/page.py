"""`Page`: one browser's view of the board, as a document of bokeh: it hears clicks and draws what has changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bokeh.core.properties import Bool, String
from bokeh.document import Document
from bokeh.model import DataModel
from bokeh.models import CustomJS, Range1d

from ladle.board.figures import name_axis, paint, picture, scale, search_map
from ladle.board.index import Entry
from ladle.board.panels import PANELS, Source, columns, draw, extent, sentence
from ladle.board.series import AXES, Span, changes
from ladle.board.shelf import Shelf
from ladle.board.told import candidates, facts, groups, row
from ladle.core.record import plain

MOST_RUNS = 24
"""Laid over each other at once."""

WHOLE = 0.98
"""A range that covers so much of the axis is all of it."""

LISTED = 200
"""Decisions that are listed below the curves, the newest."""


class Board(DataModel):
    """What server and page tell each other, as JSON text: the page says what is chosen, the server what there is."""

    chosen = String(default="[]")
    axis = String(default="examples")
    log = Bool(default=False)
    dark = Bool(default=False)
    rows = String(default="[]")
    """All rows of the table, when their number has changed."""
    news = String(default="[]")
    """Rows that are others than before."""
    told = String(default="{}")
    """All else about the chosen runs."""
    notice = String(default="")
    folder = String(default="")
    span = String(default="")
    """Set to something else to see the whole run again."""


class Page:
    """The board in `document`, drawn once at its start, and whenever `tick` finds news."""

    def __init__(self, document: Document, shelf: Shelf) -> None:
        self.document, self.shelf = document, shelf
        self.board: Any = Board(name="board", folder=str(shelf.root))
        self.common: Any = Range1d(start=0, end=1, name="common")
        self.pictures = [picture(panel, self.common) for panel in PANELS]
        self.map = search_map()
        self._span: Span | None = None
        self._moving = False
        self._tried: list[Any] = []
        self._drawn: tuple[Any, ...] = ()
        self._known: dict[str, Entry] | None = None
        self._begin()

    @property
    def plots(self) -> list[Any]:
        return [*(one.plot for one in self.pictures), self.map.plot]

    def _begin(self) -> None:
        name_axis([one.plot for one in self.pictures], self.board.axis)
        paint(self.plots, dark=False)
        self.shelf.refresh()
        newest = max(self.shelf.index.entries.values(), key=_interest, default=None)
        if newest is not None and newest.kind != "nothing":
            self.board.chosen = json.dumps([newest.name])
        self.tick()
        for name in ("chosen", "axis", "log", "dark", "span"):
            self.board.on_change(name, self._changed)
        for name in ("start", "end"):
            self.common.on_change(name, self._zoomed)
        self.map.plot.tags = [self.board]  # What is no root and belongs to one travels with it.
        with self.document.models.freeze():
            for root in self.plots:
                self.document.add_root(root)
        here = Path(__file__).parent
        self.document.title = "ladle board"
        text, style, script = ((here / f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
        self.document.template = text.replace("/* page.css */", style)  # pyright: ignore[reportAttributeAccessIssue]  # A text is taken too.
        begin = CustomJS(args={"board": self.board, "common": self.common}, code=script)
        self.document.js_on_event("document_ready", begin)

    def tick(self) -> bool:
        """Look for news and show it. Returns whether there is more to read, of a long record."""
        self.shelf.refresh()
        self._rows()
        chosen = self.chosen()
        self.shelf.forget({one.name for one in chosen})
        runs = [one for one in chosen if one.kind == "run"]
        records = [self.shelf.record(one) for one in runs]
        for record in records:
            record.step(0.15 / len(records))
        self._show(chosen, runs)
        return not all(record.done for record in records)

    def chosen(self) -> list[Entry]:
        """The entries that the page has chosen, as far as they still are there."""
        try:
            names = json.loads(self.board.chosen)
        except ValueError:
            names = []
        names = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        return [self.shelf.index.entries[name] for name in names[:MOST_RUNS] if name in self.shelf.index.entries]

    def _rows(self) -> None:
        index = self.shelf.index
        self.board.notice = index.trouble
        if self._known is not None and self._known.keys() == index.entries.keys():
            news = [row(one) for name, one in index.entries.items() if self._known[name] is not one]
            if news:
                self.board.news = _json(news)
        else:
            self.board.rows = _json([row(one) for one in index.entries.values()])
        self._known = dict(index.entries)

    def _show(self, chosen: Sequence[Entry], runs: Sequence[Entry]) -> None:
        """Draw, unless nothing that is shown has changed."""
        state = (
            [(id(one), one.name) for one in chosen],
            [(self.shelf.record(one).version, self.shelf.record(one).trouble) for one in runs],
            self.board.axis, self.board.dark, self.board.log, self._span,
        )  # fmt: skip
        if state == self._drawn:
            return
        self._drawn = state
        made = [(name, [Source(one.name, self.shelf.record(one)) for one in some]) for name, some in groups(runs)]
        axis = self.board.axis
        if self._span is None:
            start, end = extent(made, axis)
            self._moving = True  # By us: it is no zoom.
            self.common.update(start=start, end=end)
            self._moving = False
        panels = {}
        for one in self.pictures:
            drawn = draw(one.panel, made, axis, self._span)
            one.show(drawn, self.board.dark, self.board.log)
            titles = columns(one.panel, [source.run for _, some in made for source in some])
            title = titles[0].removeprefix("valid_") if one.panel.key == "metric" and titles else one.panel.title
            panels[one.panel.key] = {"title": title, "empty": drawn.empty, "ends": drawn.ends}
        searches = [one for one in chosen if one.kind == "search"]
        tried = candidates(searches[0].info) if searches else []
        if tried != self._tried:
            self._tried = tried
            with self.document.models.freeze():
                self.map.show(tried)
        self.board.told = _json(
            {
                "axis": AXES[axis],
                "panels": panels,
                "groups": [{"name": name, "seeds": len(some)} for name, some in made],
                "runs": [self._about(one) for one in runs],
                "search": {**row(searches[0]), "rows": tried} if searches else None,
                "nothing": [{"name": one.name, "why": one.why} for one in chosen if one.kind == "nothing"],
            }
        )

    def _about(self, entry: Entry) -> dict[str, Any]:
        """What the page says of a run below the curves."""
        record = self.shelf.record(entry)
        found = changes(record, LISTED)
        trouble = [record.trouble] if record.trouble else []
        if record.broken:
            trouble.append(f"{record.broken} lines of the record could not be read; the first: {record.why}")
        if not record.done:
            trouble.append(f"{record.share:.0%} of the record is read; the rest of the curves is a sample of its lines")
        if record.done and not record.rows.count and not record.trouble:
            trouble.append("nothing is recorded yet")
        if entry.status in ("broken", "silent"):
            trouble.insert(0, f"{entry.status}: {entry.why}")
        return {
            "name": entry.name,
            "facts": facts(entry),
            "trouble": trouble,
            "decisions": [
                {"examples": one.examples, "text": sentence(one), "inputs": one.inputs} for one in found[::-1]
            ],
            "outcome": list(self.shelf.held(entry)),
        }

    def _changed(self, name: str, old: Any, new: Any) -> None:
        """The page has chosen something else."""
        pictured = [one.plot for one in self.pictures]
        if name == "axis":
            if new not in AXES:
                self.board.axis = old
                return
            self._span = None
            name_axis(pictured, new)
        elif name == "span":
            self._span = None
        elif name == "log":
            with self.document.models.freeze():  # Else bokeh looks through all its models for each that is new.
                scale([one.plot for one in self.pictures if one.panel.ends is None], new)
        elif name == "dark":
            paint(self.plots, dark=new)
        self.tick()

    def _zoomed(self, name: str, old: Any, new: Any) -> None:
        """Another part of the axis is shown: its points are taken anew, so that nothing in it is thinned away."""
        if self._moving:
            return
        low, high = float(self.common.start), float(self.common.end)
        chosen = [one for one in self.chosen() if one.kind == "run"]
        start, end = extent([("", [Source(one.name, self.shelf.record(one)) for one in chosen])], self.board.axis)
        part = None if high - low >= WHOLE * (end - start) else (low, high)
        if part != self._span:
            self._span = part
            self.document.add_next_tick_callback(self._redraw)

    def _redraw(self) -> None:
        chosen = self.chosen()
        self._show(chosen, [one for one in chosen if one.kind == "run"])


def _interest(entry: Entry) -> tuple[bool, bool, bool, float]:
    """What is shown first: a run that is running, else the newest run that can be read."""
    readable = entry.status not in ("broken", "empty")
    return entry.status == "running", readable, entry.kind == "run", entry.changed


def _json(value: Any) -> str:
    return json.dumps(plain(value), allow_nan=False)
