"""500 table files made by mutating ten real ones: is each read right, or refused; is any silently something else?

Each file is written in a random dialect (delimiter, quotes, decimal mark, encoding, packing, line ends, comments,
trailing marks, padded cells) with at most one fault in its cells. The reference is pandas, told the dialect. Prints a
table of fault by outcome, and every file that was read as something else.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import os
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from timing import arguments, headline, save, table

from ladle.core.errors import DataError
from ladle.core.missing import AMONG_NUMBERS, MISSING
from ladle.data import tables
from ladle.data.stored import column, names_of, stored
from ladle.data.table import Numbers

REAL = [
    "wine_quality/winequality-red.csv",
    "energy_efficiency/ENB2012_data.csv",
    "california_housing/housing.csv",
    "beijing_pm25/PRSA_data_2010.1.1-2014.12.31.csv",
    "electricity/elec.csv",
    "ett/ETTh1.csv",
    "weather_noaa/weather.csv",
    "bccd/boxes.csv",
    "parkinsons_updrs/parkinsons_updrs.data",
    "nuclei_dsb2018/index.csv",
]
WINE = "fixed acidity,volatile acidity,citric acid,sugar,chlorides,free,total,density,pH,sulphates,alcohol,quality"
FAULTS = (
    "none none none blank word junk grouped zeros years numbers no_header names_row quote ragged cut long latin percent"
).split()

BROKEN = ("junk", "cut", "ragged", "quote")
"""Faults that no reader could mend."""


def real(name: str, rng: random.Random) -> tuple[list[str], list[list[str]]]:
    with open(Path(os.environ["LADLE_DATA"]) / name, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    names = WINE.split(",") if "wine" in name else rows.pop(0)
    start = rng.randrange(max(1, len(rows) - 400))
    return names, rows[start : start + rng.randrange(120, 400)]


def is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def mutated(folder: Path, number: int, seed: int) -> tuple[Path, str, dict[str, Any], str]:
    """A file, its fault, how pandas is to read it, and the dialect in words."""
    rng = random.Random(f"{seed}-{number}")
    names, rows = real(REAL[number % len(REAL)], rng)
    fault = FAULTS[rng.randrange(len(FAULTS))]
    mark = rng.choice(",,;\t|")
    comma = mark != "," and rng.random() < 0.4
    numeric = [at for at in range(len(names)) if all(is_float(row[at]) or row[at] in MISSING for row in rows)]
    column = rng.choice(numeric)
    encoding = rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"])
    how: dict[str, Any] = {"sep": mark, "decimal": "," if comma else ".", "encoding": encoding, "names": None}
    if fault in ("blank", "word", "junk"):
        filler = {"blank": [" ", "", "   "], "word": ["unknown", "-", "n.a.", "NULL"], "junk": ["12 kg", "see note"]}[
            fault
        ]
        for row in rng.sample(rows, 3):
            row[column] = rng.choice(filler)
    if comma:
        for row in rows:
            for at in numeric:
                row[at] = row[at].replace(".", ",") if is_float(row[at]) else row[at]
    if fault == "grouped":
        for row in rows:
            row[column] = f"{rng.randrange(1000, 10**7):,}".replace(",", "." if comma else ",")
        rows[0][column] = "1.234.567" if comma else "1,234,567"
        how["thousands"] = "." if comma else ","
    if fault == "zeros":
        names.insert(1, "zip")
        for row in rows:
            row.insert(1, f"{rng.randrange(40):05d}")
    if fault == "percent":
        names.insert(1, "share")
        for row in rows:
            row.insert(1, f"{rng.randrange(100)}%")
    if fault == "latin":
        names.insert(1, "town")
        for row in rows:
            row.insert(1, rng.choice(["Köln", "Orléans", "Bern"]))
    if fault == "years":
        names[:] = [str(1990 + at) for at in range(len(names))]
    if fault == "numbers":
        names[:] = [str(at) for at in range(len(names))]
    if fault == "long":
        names.insert(1, "key")
        for row in rows:
            row.insert(1, str(2**60 + rng.randrange(40)))
    file = io.StringIO()
    quoting = csv.QUOTE_ALL if rng.random() < 0.2 else csv.QUOTE_MINIMAL
    writer = csv.writer(file, delimiter=mark, lineterminator=rng.choice(["\n", "\r\n"]), quoting=quoting)
    pad = (lambda cell: f" {cell} ") if quoting == csv.QUOTE_MINIMAL and rng.random() < 0.15 else str
    trailing = [""] if rng.random() < 0.1 and fault not in ("names_row",) else []
    if fault != "no_header":
        writer.writerow([*names, *trailing])
    for at, row in enumerate(rows):
        writer.writerow([*([f"r{at}"] if fault == "names_row" else []), *map(pad, row), *trailing])
    text = file.getvalue()
    if rng.random() < 0.15 and fault != "no_header":
        how["comment_lines"] = 2
        text = f"# exported{mark}by hand\n# twice\n" + text
    lines = text.split("\n")
    place = rng.randrange(20, 80)
    if fault == "quote" and lines[place].strip():
        lines[place] = '"' + lines[place]
    if fault == "ragged":
        lines[place] = lines[place].rstrip("\r") + mark + "7"
    text = "\n".join(lines)
    if fault == "no_header":
        how["names"] = [f"c{at}" for at in range(len(names) + len(trailing))]
    pack, ending = rng.choice([(bytes, ""), (bytes, ""), (gzip.compress, ".gz"), (bz2.compress, ".bz2")])
    content = pack(text.encode(encoding, "replace"))
    if fault == "cut" and ending:
        content = content[: len(content) // 2]
    path = folder / f"{number}.{'tsv' if mark == chr(9) and rng.random() < 0.5 else 'csv'}{ending}"
    path.write_bytes(content)
    said = f"{REAL[number % 10]} {mark!r} {encoding} {ending} decimal {how['decimal']!r} trailing {len(trailing)}"
    return path, fault, how, said


def _frame(path: Path, fault: str, how: dict[str, Any], **more: Any) -> pd.DataFrame:
    return pd.read_csv(
        path,
        **more,
        sep=how["sep"],
        encoding=how["encoding"],
        header=None if how["names"] else 0,
        names=how["names"],
        skiprows=how.get("comment_lines", 0),
        dtype=str,
        keep_default_na=False,
        index_col=0 if fault == "names_row" else False,
    )


def reference(path: Path, fault: str, how: dict[str, Any]) -> pd.DataFrame:
    words = {"zip": str, "key": str, "share": str}
    try:
        frame = _frame(path, fault, how)
    except pd.errors.ParserError:  # An open quote to the end of the file: to ladle it is a letter.
        frame = _frame(path, fault, how, quoting=csv.QUOTE_NONE)
    frame = frame[[name for name in frame.columns if not (frame[name].str.strip() == "").all()]]
    made = {}
    for name in frame.columns:
        cells = frame[name].str.strip()
        gone = cells.isin(MISSING)
        if name in words and name != "share":
            made[str(name).strip()] = cells.where(~gone, None)
            continue
        bare = cells.str.rstrip("%") if name == "share" else cells
        if how.get("thousands"):
            bare = (
                bare.str.replace(how["thousands"], "", regex=False)
                if bare.str.contains(how["thousands"], regex=False).any()
                else bare
            )
        numbers = pd.to_numeric(
            bare.str.replace(",", ".", regex=False) if how["decimal"] == "," else bare, errors="coerce"
        )
        gone_too = gone | cells.str.lower().isin(AMONG_NUMBERS)
        made[str(name).strip()] = numbers if (numbers.notna() | gone_too).all() else cells.where(~gone, None)
    return pd.DataFrame(made)


def different(table: tables.Table, frame: pd.DataFrame, index: bool) -> str | None:
    """What is not as pandas has it."""
    columns = {name: one for name, one in table.columns.items() if not (index and name == "")}
    left = {name for name in frame.columns if name not in columns}
    if left - {"No", "id", "index"} or set(columns) - set(frame.columns):
        return f"columns {sorted(left)} / {sorted(set(columns) - set(frame.columns))}"
    if table.rows != len(frame):
        return f"{table.rows} rows, not {len(frame)}"
    for name, one in columns.items():
        want = frame[name]
        if isinstance(one, Numbers):
            if one.type == "date":
                seconds = pd.to_datetime(want).astype("datetime64[ns]").astype("int64").to_numpy() / 1e9
                if not np.allclose(one.values, seconds):
                    return f"dates of {name}"
            elif want.dtype == object or want.dtype.kind not in "iuf":
                return f"{name} is numbers, not {want.iloc[0]!r}"
            elif not np.array_equal(one.values, want.to_numpy(np.float64), equal_nan=True):
                return f"numbers of {name}"
        else:
            got = [None if code < 0 else one.levels[code] for code in one.codes]
            if want.dtype.kind in "iuf":
                return f"{name} is words, not numbers"
            if got != [None if cell is None or cell != cell else cell for cell in want]:
                return f"words of {name}"
    return None


def lanes_differ(path: Path, table: tables.Table | None, folder: Path) -> bool:
    """Whether the table as it is stored is another one than the loaded one, or only one of them is refused."""
    try:
        files = stored([path], folder).files
        columns = {name: column(files, name, {}) for name in names_of(files[0])}
    except DataError:
        return table is not None
    if table is None:
        return True
    return any(cells(one) != cells(columns[name]) for name, one in table.columns.items())


def cells(one: Any) -> list[Any]:
    if isinstance(one, Numbers):
        return [None if value != value else value for value in one.values.tolist()]
    return [None if code < 0 else one.levels[code] for code in one.codes]


def outcome_of(path: Path, fault: str, how: dict[str, Any], folder: Path) -> tuple[str, str | None]:
    """What became of one file, and why."""
    table = None
    try:
        table = tables.read(path)
        why = different(table, reference(path, fault, how), fault == "names_row")
        if fault == "junk" and why is None:
            why = "an odd cell made a category of numbers"
        outcome = "right" if why is None else "DIFFERENT"
    except DataError as error:
        why, outcome = str(error), "refused"
    except Exception as error:
        return "TRACEBACK", repr(error)
    return ("LANES DIFFER", said_of(path)) if lanes_differ(path, table, folder) else (outcome, why)


def said_of(path: Path) -> str:
    return f"{path.name} loaded and stored"


def main() -> None:
    files = 60 if arguments(__doc__).quick else 500
    outcomes: Counter[tuple[str, str]] = Counter()
    surprises = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            path, fault, how, said = mutated(Path(folder), number, 0)
            outcome, why = outcome_of(path, fault, how, Path(folder, "stored"))
            outcomes[fault, outcome] += 1
            if outcome not in ("right", "refused") or (outcome == "refused" and fault not in BROKEN):
                surprises.append(f"{outcome} {number} {fault}: {said}: {why}")
    names = sorted({outcome for _, outcome in outcomes} | {"right", "refused", "DIFFERENT", "LANES DIFFER"})
    faults = sorted(set(FAULTS))
    rows = [[fault, *(outcomes[fault, name] for name in names)] for fault in faults]
    total = ["all", *(sum(outcomes[fault, name] for fault in faults) for name in names)]
    print(headline())
    print(table(["fault", *names], [*rows, total]), *surprises, sep="\n")
    counts = {fault: {name: outcomes[fault, name] for name in names} for fault in faults}
    print(save("mutated_tables", quick=files < 500, files=files, outcomes=counts, surprises=surprises))


if __name__ == "__main__":
    main()
