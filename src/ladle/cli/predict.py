"""`ladle predict`."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

from ladle.cli.arguments import ModelFolder, Rows, Table
from ladle.cli.common import print_json
from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class PredictVerb:
    """What a trained model says of new rows: classes and the chance of each, or amounts in their own unit."""

    folder: ModelFolder
    """Folder that run.save or `ladle train` wrote."""
    rows: Rows
    """Table (.csv, .tsv, .jsonl, .parquet) or arrays (.npy, .npz). Columns are found by name; others are left alone."""
    output: Table = None
    """The table of answers, a row for each row; standard output where left out."""
    model: str | None = None
    """file.py:task, for a saved model that is not built in."""
    overwrite: bool = False
    """Replace the file in --output."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle.api.load import load

        if self.output is not None and self.output.exists() and not self.overwrite:
            why = "it would be replaced"
            raise ArgumentError(must("output", "be a new file", str(self.output), why, "overwrite=True, or another"))
        if self.output is not None and self.output.exists() and self.output.samefile(self.rows):
            why = "they would be replaced by what is said of them"
            raise ArgumentError(must("output", "be another file than the rows", str(self.output), why, "another name"))
        made = load(self.folder, model=self.model)
        for reason in made.facts.get("refused", ()):
            print(f"ladle: {reason}; another checkpoint was used", file=sys.stderr)
        answers, chances, remarks = made.answered(self.rows)
        for remark in remarks:
            print(f"ladle: {remark}", file=sys.stderr)
        names, table = _columns(made, answers, chances)
        if self.output is not None:
            try:
                with open(self.output, "w", encoding="utf-8", newline="") as file:
                    _write(file, names, table)
            except OSError as error:
                why = error.strerror or str(error)
                raise ArgumentError(must("output", "be writable", str(self.output), why, "another place")) from None
        if self.json:
            rows = {} if self.output is not None else dict(zip(names, table, strict=True))
            print_json({"rows": len(answers), "output": self.output and str(self.output), "remarks": remarks, **rows})
        elif self.output is None:
            _write(sys.stdout, names, table)
        else:
            print(f"{len(answers):,} rows predicted\ntable {self.output}")
        return 0


def _columns(made: Any, answers: np.ndarray, chances: np.ndarray | None) -> tuple[list[str], list[list[Any]]]:
    """Names and cells of the table of answers: the target, then the chance of each class."""
    target = made.form.target or "prediction"
    flat = answers.reshape(len(answers), -1)
    names = [target] if flat.shape[1] == 1 else [f"{target}[{at}]" for at in range(flat.shape[1])]
    table = [flat[:, at].tolist() for at in range(flat.shape[1])]
    if chances is not None and chances.ndim == 2:
        names += [f"chance of {name}" for name in made.form.classes]
        table += [chances[:, at].tolist() for at in range(chances.shape[1])]
    return names, table


def _write(file: TextIO, names: list[str], table: list[list[Any]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*table, strict=True))
