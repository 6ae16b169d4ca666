"""Tables written in many dialects are read back equal; what could be read in two ways is refused."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ladle.core.dialect import Spelling, dialect_of
from ladle.core.errors import ArgumentError, DataError
from ladle.core.header import has_header
from ladle.data import load, tables
from ladle.data.table import Numbers, Table, Texts


@dataclass(frozen=True)
class Written:
    """One way to write a table."""

    mark: str = ","
    decimal: str = "."
    grouped: str = ""
    encoding: str = "utf-8"
    quote: bool = True
    comment: str = ""
    trailing: bool = False
    end: str = "\n"
    padded: bool = False
    pack: Any = bytes
    name: str = "t.csv"


DIALECTS = {
    "plain": Written(),
    "european": Written(mark=";", decimal=",", grouped=".", encoding="cp1252"),
    "tabs": Written(mark="\t", quote=False, name="t.tsv"),
    "excel": Written(mark="\t", encoding="utf-16", end="\r\n"),
    "marked": Written(encoding="utf-8-sig", end="\r\n", grouped=","),
    "pipes": Written(mark="|", padded=True),
    "comments": Written(comment="# written by a machine, at 3;30\n# twice\n"),
    "trailing": Written(trailing=True),
    "gzip": Written(pack=gzip.compress, name="t.csv.gz"),
    "semicolons": Written(mark=";", pack=bz2.compress, encoding="utf-8"),
    "old mac": Written(end="\r", pack=lzma.compress),
}

CELLS = st.one_of(st.none(), st.integers(-(10**7), 10**7).map(float), st.floats(-1e6, 1e6).map(lambda x: round(x, 2)))
WORD = st.sampled_from(["red", "grün", "price, EUR", '5" pipe', "a;b", "it's", "x|y", "none at all", "New York"])


def said(number: float | None, how: Written) -> str:
    if number is None:
        return ""
    text = f"{number:,.2f}" if how.grouped else f"{number:.2f}"
    marks = {",": how.grouped, ".": how.decimal}
    return "".join(marks.get(letter, letter) for letter in text)


def write(path: Path, how: Written, columns: dict[str, list[Any]]) -> Path:
    file = io.StringIO()
    quoting = {"quoting": csv.QUOTE_MINIMAL} if how.quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    writer = csv.writer(file, delimiter=how.mark, lineterminator=how.end, **quoting)  # type: ignore[arg-type]
    pad = (lambda text: f" {text}  ") if how.padded else str
    rows = [
        [said(cell, how) if isinstance(cell, float | None) else cell for cell in row]
        for row in zip(*columns.values(), strict=True)
    ]
    for row in [list(columns), *rows]:
        writer.writerow([*map(pad, row), *([""] if how.trailing else [])])
    path.write_bytes(how.pack((how.comment + file.getvalue()).encode(how.encoding)))
    return path


def cells(column: Any) -> list[Any]:
    if isinstance(column, Texts):
        return [None if code < 0 else column.levels[code] for code in column.codes]
    return [None if math.isnan(value) else value for value in column.values.tolist()]


@pytest.mark.parametrize("how", DIALECTS.values(), ids=DIALECTS)
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read(tmp_path: Path, how: Written, data: st.DataObject) -> None:
    rows = data.draw(st.integers(12, 40))
    some = st.lists(CELLS, min_size=rows, max_size=rows)
    columns: dict[str, list[Any]] = {
        "a": data.draw(some),
        "first, of two" if how.mark != "\t" else "b": data.draw(some),
        "word": data.draw(st.lists(WORD, min_size=rows, max_size=rows)),
        "y": data.draw(some),
    }
    columns["a"][0], columns["y"][0] = 0.5, 1234.75
    columns["first, of two" if how.mark != "\t" else "b"][:2] = [0.25, 12345.5]
    if how.padded:  # A space before a quote makes it a letter in every dialect.
        columns["word"] = ["New York" if set(word) & set(',;|"') else word for word in columns["word"]]
    table = tables.read(write(tmp_path / how.name, how, columns))
    assert list(table.columns) == [*columns]
    assert {name: cells(column) for name, column in table.columns.items()} == columns


def read(folder: Path, content: str | bytes, name: str = "t.csv", **said: Any) -> Table:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return tables.read(path, **said)


def column(values: list[str], name: str = "a") -> str:
    return f"{name};y\n" + "".join(f"{value};{n % 2}\n" for n, value in enumerate(values))


def number(table: Table, name: str = "a") -> list[float]:
    found = table.columns[name]
    assert isinstance(found, Numbers), found
    return found.values.tolist()


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["1,5", "2,25", "3"], 1.5),
        (["1.234,5", "2"], 1234.5),
        (["1,234.5", "17.25"], 1234.5),
        (["1,234,567", "1"], 1234567),
        (["1 234,5", "7,25"], 1234.5),
        (["1\u00a0234", "7"], 1234),
        (["12%", "13%"], 12),
        (["$1,200.50", "$3.25"], 1200.5),
        (["+3", "-4"], 3),
        (["1e3", "2.5E-1"], 1000),
        (["0,125", "0,250"], 0.125),
    ],
)
def test_numbers_as_people_write_them(tmp_path: Path, values: list[str], first: float) -> None:
    assert number(read(tmp_path, column(values * 20)))[0] == first


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1,234", "5,678"], "commas with three digits behind each of them.*decimal=',' or decimal='.'"),
        (["1,5", "2.5"], r"column a must|either could be the decimal mark"),
        (
            [*map(str, range(40)), "fifty"],
            r"column a must hold numbers only; got 'fifty'; because row 41 .*na=\['fifty'\]",
        ),
        (["12%", "13"], "be in one unit|hold numbers"),
        (["01.02.2020", "03.04.2021"], "hold dates of one order"),
        (["2020-02-30", "2020-01-01"], "column a must hold dates of one form"),
        (["2020-01-01 10:00", "2020-01-01 10:00Z"], "column a must hold dates of one form"),
    ],
)
def test_what_reads_in_two_ways_is_refused(tmp_path: Path, values: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, column(values if len(values) > 9 else values * 20))
    assert "\n" not in str(caught.value)


def test_the_remedies_that_are_named_work(tmp_path: Path) -> None:
    text = column(["1,234", "5,678"] * 20)
    assert number(read(tmp_path, text, said=Spelling(decimal=",")))[0] == 1.234
    assert number(read(tmp_path, text, said=Spelling(decimal=".")))[0] == 1234
    text = column([*map(str, range(40)), "fifty"])
    assert np.isnan(number(read(tmp_path, text, said=Spelling(na=("fifty",))))[-1])
    assert np.isnan(number(read(tmp_path, text, said=Spelling(na=("a=fifty",))))[-1])
    assert isinstance(read(tmp_path, text, as_=["a=category"]).columns["a"], Texts)
    assert isinstance(read(tmp_path, text, categories=["a"]).columns["a"], Texts)
    with pytest.raises(DataError, match="as_ must name columns of the table; got 'b'"):
        read(tmp_path, text, as_=["b=category"])
    with pytest.raises(ArgumentError, match="as_ must name a column and what it is; got 'a=words'"):
        read(tmp_path, text, as_=["a=words"])


def test_words_that_say_missing_count_as_missing_among_numbers_alone(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        "a,b,y\n"
        + "".join(f"{n},{'unknown' if n % 3 else 'known'},{n % 2}\n" for n in range(30))
        + "unknown,known,1\n-,known,0\n",
    )
    assert np.isnan(number(table)[-2:]).all()
    assert set(cells(table.columns["b"])) == {"unknown", "known"}
    assert any(note == "a: 2 cells that say 'unknown', '-' count as missing." for note in table.notes)


def test_none_is_a_category_where_that_is_said(tmp_path: Path) -> None:
    text = "a,y\n" + "none,0\nmild,1\n" * 10
    assert set(cells(read(tmp_path, text).columns["a"])) == {None, "mild"}
    assert set(cells(read(tmp_path, text, categories=["a"]).columns["a"])) == {"none", "mild"}


def test_codes_keep_their_zeros_and_long_ones_their_digits(tmp_path: Path) -> None:
    table = read(tmp_path, "zip,key,y\n" + "".join(f"0{n % 4}{n % 3},{2**60 + n % 5},{n % 2}\n" for n in range(40)))
    assert cells(table.columns["zip"])[:3] == ["000", "011", "022"]
    assert len(set(cells(table.columns["key"]))) == 5
    assert any("zeros lead" in note for note in table.notes) and any("beyond 2**53" in note for note in table.notes)
    assert number(read(tmp_path, "zip,y\n01,0\n02,1\n" * 1 + "03,1\n", as_={"zip": "number"}), "zip") == [1, 2, 3]


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        ([["0", "1", "2"], ["0.5", "1.5", "1"], ["3", "1", "0"]], True),
        ([["2019", "2020", "y"], ["1", "2", "a"], ["3", "4", "b"], ["5", "6", "a"], ["7", "8", "b"]], True),
        ([["7", "0", "5"], ["7.8", "0.9", "6"]], False),
        ([["1", "2", "3"], ["2", "3", "4"]], False),
        ([["p", "x"], *[["e", "x"], ["p", "y"]] * 6], False),
        ([["5.1", "setosa"], ["4.9", "setosa"]], False),
        ([["1007", "1053", "117", "121", "9"], *[["0.5", "1.5", "2.5", "3.5", "1"]] * 12], True),
    ],
)
def test_whether_the_first_row_names_the_columns(rows: list[list[str]], header: bool) -> None:
    assert has_header(rows) is header


def test_a_header_may_be_said(tmp_path: Path) -> None:
    assert list(read(tmp_path, "1,2\n3,4\n", said=Spelling(header=True)).columns) == ["1", "2"]
    assert read(tmp_path, "a,b\nc,d\n", said=Spelling(header=False)).rows == 2


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("# a, b\n1,2\n3,4\n", ["a", "b"]),
        ("# made by hand\na,b\n1,2\n#,\n3,4\n", ["a", "b"]),
        ("#chrom\tpos\nx\t1\ny\t2\n", ["chrom", "pos"]),
        ("a,b,\n1,2,\n3,4,\n", ["a", "b"]),
        ("sep=;\na;b\n1,5;2\n2,5;3\n", ["a", "b"]),
        ("a,b\n1,2,\n3,4,\n", ["a", "b"]),
        ("a,b\nr1,1,2\nr2,3,4\n", ["", "a", "b"]),
        ("'a,b';c\n1,5;2\n2,5;3\n", ["'a,b'", "c"]),
    ],
)
def test_names_of_columns(tmp_path: Path, content: str, names: list[str]) -> None:
    table = read(tmp_path, content)
    assert (list(table.columns), table.rows) == (names, 2)


def test_quotes_among_tabs_are_letters_unless_they_wrap(tmp_path: Path) -> None:
    rows = ["a\tb"] + [f"x{n}\t{n}" for n in range(50)]
    rows[3], rows[20] = '"12 inch\t3', 'wide"\t20'
    assert read(tmp_path, "\n".join(rows), "t.tsv").rows == 50
    wrapped = 'a\tb\n"x\ty"\t1\n"two\nlines"\t2\n'
    assert cells(read(tmp_path, wrapped, "t.tsv").columns["a"]) == ["x\ty", "two\nlines"]


def test_an_open_quote_is_not_one_long_cell(tmp_path: Path) -> None:
    rows = [f"w{n % 3},{n % 5},{n % 2}" for n in range(60)]
    rows[7], rows[40] = '"oops,1,0', 'w",1,1'
    with pytest.raises(DataError, match="cells with closed quotes; got 'a cell of 34 lines in row 8|quote"):
        read(tmp_path, "a,b,y\n" + "\n".join(rows) + "\n")


def test_lines_of_json_are_a_table_too(tmp_path: Path) -> None:
    rows = [{"a": n / 2, "w": "uv"[n % 2], "t": n % 3 == 0, "code": f"0{n % 2}", "y": n % 2} for n in range(30)]
    del rows[3]["a"]
    content = "\n".join(json.dumps(row) for row in rows)
    for name, packed in {"t.jsonl": content.encode(), "t.ndjson.gz": gzip.compress(content.encode())}.items():
        table = read(tmp_path, packed, name)
        assert np.isnan(number(table)[3]) and number(table)[4] == 2
        assert cells(table.columns["code"])[:2] == ["00", "01"]
        assert table.columns["t"].type == "boolean"  # type: ignore[union-attr]
    assert load(tmp_path / "t.jsonl", target="y").kind == "classification"
    with pytest.raises(DataError, match="column a must hold single values; got 'list'"):
        read(tmp_path, '{"a": [1]}\n', "t.jsonl")
    with pytest.raises(DataError, match="line 2 is no JSON"):
        read(tmp_path, '{"a": 1}\n{"a": \n', "t.jsonl")


def test_many_columns_are_read_in_one_pass_over_their_names(tmp_path: Path) -> None:
    names = [f"gene_{n}" for n in range(3000)]
    table = read(tmp_path, "\n".join([",".join(names), *[",".join(["0.5", "1"] * 1500)] * 3]))
    assert len(table.columns) == 3000 and table.rows == 3


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"decimal": ";"}, "decimal must be"),
        ({"delimiter": "ab"}, "delimiter must be one mark"),
        ({"quote": "x"}, "quote must be"),
    ],
)
def test_what_no_table_is_written_with(said: dict[str, str], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Spelling(**said)  # type: ignore[arg-type]


def test_a_dialect_may_be_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("é:1\nb:2\n".encode("cp850"))
    dialect = dialect_of(tmp_path / "t.csv", Spelling(delimiter=":", encoding="cp850", header=False))
    assert (dialect.delimiter, dialect.names) == (":", ("c0", "c1"))
    with pytest.raises(ArgumentError, match="encoding must be known"):
        dialect_of(tmp_path / "t.csv", Spelling(encoding="latin-99"))
