"""`ladle data`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from ladle.cli.arguments import As, OptionalData
from ladle.cli.common import print_json


@dataclass(frozen=True)
class DataVerb:
    """The data sets known by name, and where each comes from; or, of DATA, what is understood of it."""

    data: OptionalData = ""
    """Name, table, .npz/.npy/idx file, or file.py:task; where left out, the known names are listed."""
    target: str | None = None
    """Target column of a table (or key of an .npz file)."""
    kind: Literal["classification", "regression"] | None = None
    """What the target is, where the guess is wrong."""
    drop: tuple[str, ...] = ()
    """Columns of a table to leave out."""
    valid: float = 0.2
    """Share of the rows kept for validation."""
    na: tuple[str, ...] = ()
    """Words of a table that also mean missing; column=word for one column."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of a text table, where its cells do not show it."""
    categories: tuple[str, ...] = ()
    """Columns that are categories, whatever their cells look like."""
    as_: As = ()
    """What columns are: column=number, category, text, date or id (left out)."""
    delimiter: str | None = None
    """Mark between the cells of a text table, where it is not found: ";" or tab."""
    quote: str | None = None
    """Mark of quotation of a text table; none where quotes are letters."""
    encoding: str | None = None
    """Encoding of a text table, such as latin-1, where its bytes do not show it."""
    header: bool | None = None
    """Whether the first row of a text table names its columns (True or False), where it does not show."""
    stream: bool = False
    """Look at the table as --stream reads it: a folder or a pattern too."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        if self.data:
            return self._look()
        from ladle.data import known

        sets = [one._asdict() for one in known()]
        if self.json:
            print_json({"data": sets})
            return 0
        for one in sets:
            print(f"{one['name']:15} {one['rows']:>7,} rows  {one['description']}  [{one['where']}]")
        print(
            "also: any .csv .tsv .jsonl .parquet .npz .npy or idx file, or file.py:task; ladle data DATA looks at one"
        )
        return 0

    def _look(self) -> int:
        from ladle.api.look import look
        from ladle.api.options import TaskOptions

        found = look(TaskOptions(**{one.name: getattr(self, one.name) for one in fields(self) if one.name != "json"}))
        if self.json:
            print_json(found.to_json())
        else:
            print(found)
        return 0 if found.refused is None else 2
