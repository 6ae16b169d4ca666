from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ladle.board import lines
from ladle.board.lines import Block, parse


def text(rows: list[Any]) -> bytes:
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def run(n: int) -> list[dict[str, Any]]:
    return [
        {"examples": 64 * i, "size": 64 + i // 50, "train_loss": None if i % 7 == 0 else 1 / (1 + i), "own": i % 3}
        | ({"reason": f"grew at {i}", "inputs": {"trace": 0.5 * i, "word": "x"}} if i % 50 == 49 else {})
        | ({"valid_accuracy": 0.5} if i == 120 else {})
        for i in range(n)
    ]


def same(one: Block, other: Block) -> None:
    assert one.count == other.count and one.told == other.told
    assert one.columns.keys() == other.columns.keys()
    for name, column in one.columns.items():
        np.testing.assert_array_equal(column, other.columns[name])


def both(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Block:
    """The block, read at once and line by line, which must agree."""
    slow = parse(data)
    monkeypatch.setattr(lines, "SMALL_BYTES", 0)
    fast = parse(data)
    same(slow, fast)
    assert (slow.broken, slow.why) == (fast.broken, fast.why)
    return fast


def test_both_ways_of_reading_agree_and_reasons_keep_their_rows(monkeypatch: pytest.MonkeyPatch):
    block = both(text(run(200)), monkeypatch)
    assert block.count == 200
    assert [one.row for one in block.told] == [49, 99, 149, 199]
    assert block.told[0].reason == "grew at 49" and block.told[0].inputs == {"trace": 24.5}
    assert np.isnan(block.columns["train_loss"][7]) and block.columns["train_loss"][1] == 0.5
    assert np.isfinite(block.columns["valid_accuracy"]).sum() == 1


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"half a line", "Expecting value"),
        (b"[1, 2]", "no position"),
        (b'{"updates": 3}', "no position"),
        (b'{"examples": "many"}', "no position"),
        (b'{"examples": null}', "no position"),
        (b"", "Expecting value"),
        (b"[" * 100_000, "recursion"),
        (b"\xff\xfe\x00", "decode"),
        (b"0" * 5000, ""),
    ],
)
def test_a_line_that_is_no_record_is_left_out_and_told(bad: bytes, why: str, monkeypatch: pytest.MonkeyPatch):
    rows: list[Any] = run(20)
    block = both(text([*rows[:10], bad, *rows[10:]]), monkeypatch)
    assert block.count == 20 and block.broken == 1
    assert why in block.why
    np.testing.assert_array_equal(block.columns["examples"], 64.0 * np.arange(20))


def test_a_column_may_change_its_kind(monkeypatch: pytest.MonkeyPatch):
    rows = [{"examples": 1, "own": 1}, {"examples": 2, "own": 1.5}, {"examples": 3, "own": "none"}]
    rows += [{"examples": 4, "own": {"deep": 1}}, {"examples": 5, "own": 1e999}, {"examples": 6, "own": True}]
    block = both(text(rows), monkeypatch)
    np.testing.assert_array_equal(block.columns["own"], [1.0, 1.5, np.nan, np.nan, np.nan, np.nan])


def test_reasons_that_are_no_decision_are_not_told(monkeypatch: pytest.MonkeyPatch):
    rows = [{"examples": 1, "reason": ""}, {"examples": 2, "note": 'a "reason" in words'}, {"examples": 3}]
    assert both(text(rows), monkeypatch).told == ()


def test_nothing_is_an_empty_block():
    assert parse(b"") == Block()
