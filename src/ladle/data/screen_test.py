from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import DataError
from ladle.data.screen import leaks, screen
from ladle.data.table import Column, Numbers, Table, Texts
from ladle.data.target import infer

ROWS = 60


def whole(values: object) -> Numbers:
    return Numbers(np.asarray(values, np.float64), "whole")


def words(values: list[str]) -> Texts:
    levels, codes = np.unique(values, return_inverse=True)
    return Texts(codes.astype(np.int64), tuple(levels.tolist()))


def left_out(column: Column, name: str = "a", **asked: str) -> str | None:
    """Why a column is left out of a table with another input; None where it is one."""
    columns = {name: column, "other": Numbers(np.sin(np.arange(ROWS)), "real")}
    features, notes, _ = screen(columns, Table("t.csv", columns, ROWS, (), asked))
    assert (name in features) == (not notes)
    return notes[0] if notes else None


@given(st.integers(0, 9999), st.sampled_from(["id", "ID", "user_id", "customerID", "rowid", "Unnamed: 0", "index", ""]))
@settings(max_examples=30, deadline=None)
def test_an_index_of_a_subset_and_numbers_called_id_are_left_out(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(5000)[:ROWS]
    assert "Left out: " in (left_out(whole(np.sort(drawn)), name) or "")
    assert "Left out: " in (left_out(whole(drawn), name) or "")
    assert left_out(whole(drawn), name, **{name: "number"}) is None


@given(st.integers(0, 9999))
@settings(max_examples=30, deadline=None)
def test_amounts_are_no_ids_and_hashes_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    amounts = np.round(np.exp(rng.normal(10, 3, ROWS)))
    assert left_out(whole(amounts), "price") is None
    assert left_out(whole(rng.permutation(ROWS)), "bid") is None
    assert left_out(whole(1_700_000_000 + rng.integers(0, 10**7, ROWS)), "time") is None
    hashes = rng.permutation(np.linspace(-(2**50), 2**50, ROWS).astype(np.int64))
    assert "like hashes" in (left_out(whole(hashes), "who") or "")


def test_words_that_are_all_different_are_ids_unless_they_are_text() -> None:
    assert "identifiers" in (left_out(words([f"u{n:04x}" for n in range(ROWS)])) or "")
    assert "names the rows" in (left_out(words([chr(65 + n % 26) * (1 + n // 26) for n in range(ROWS)]), "") or "")
    assert left_out(words([f"u{n:04x}" for n in range(ROWS)]), a="category") is None
    assert left_out(words([f"a film of {n} hours" for n in range(ROWS)])) is None
    assert left_out(words([f"c{n % 7}" for n in range(ROWS)]), a="id") == "Left out: a, as asked."


def test_numbers_with_a_unit_are_no_text() -> None:
    with pytest.raises(
        DataError, match="column a must hold numbers only; got '0.5 kg'; because its numbers have a unit, 'kg'"
    ):
        left_out(words([f"{n}.5 kg" for n in range(ROWS)]))
    assert left_out(words([f"{n % 3} kg" for n in range(ROWS)])) is None


@pytest.mark.parametrize(
    "form", ["2020-01-{0:02d} 10:{0:02d} AM", "Jan {0}, 2020", "{0}-Feb-2020", "2020/1/{0}", "{0} Mar 20 at noon"]
)
def test_dates_of_an_unknown_form_are_neither_text_nor_ids(form: str) -> None:
    with pytest.raises(DataError, match="column a must hold dates of a known form"):
        left_out(words([form.format(1 + n % 28) + " " * (n // 28) for n in range(ROWS)]))


def test_numbers_among_which_others_are_written_otherwise_are_no_ids() -> None:
    with pytest.raises(DataError, match=r"column a must hold numbers only; got '\(0\)'"):
        left_out(words([f"({n})" if n % 3 == 0 else str(n) for n in range(ROWS)]))


def test_where_nothing_is_left_it_is_said_why() -> None:
    columns: dict[str, Column] = {"id": whole(np.arange(ROWS) * 3)}
    with pytest.raises(DataError, match="a column to predict from.*Left out: id, which numbers the rows"):
        screen(columns, Table("t.csv", columns, ROWS, ()))


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_column_that_tells_the_target_is_warned_of(kind: str) -> None:
    rng = np.random.default_rng(1)
    noise = Numbers(rng.normal(size=ROWS), "real")
    if kind == "classification":
        goal = infer(rng.integers(0, 3, ROWS))
        told = {
            "copy": whole(goal.values),
            "name": words([f"c{n}" for n in goal.values]),
            "past": whole(goal.values * 5 + 1),
        }
    else:
        goal = infer(rng.normal(size=ROWS))
        told = {"copy": Numbers(goal.values, "real"), "scaled": Numbers(-3 * goal.values + 1, "real")}
    gone = Numbers(np.where(np.arange(ROWS) < 40, np.nan, goal.values.astype(float)), "real")
    found = leaks({**told, "noise": noise, "gone": gone}, goal, "y")
    assert [note.split()[1] for note in found] == list(told)
    assert found[0] == "Warning: copy alone tells y in every row; drop=['copy'] if it is not known before."
