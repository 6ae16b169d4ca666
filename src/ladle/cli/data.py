"""`ladle data`."""

from __future__ import annotations

from dataclasses import dataclass

from ladle.cli.common import print_json


@dataclass(frozen=True)
class DataVerb:
    """The data sets known by name, and where each comes from."""

    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle.data import known

        sets = [one._asdict() for one in known()]
        if self.json:
            print_json({"data": sets})
            return 0
        for one in sets:
            print(f"{one['name']:15} {one['rows']:>7,} rows  {one['description']}  [{one['where']}]")
        print("also: any .csv .tsv .parquet .npz .npy or idx file, or file.py:task")
        return 0
