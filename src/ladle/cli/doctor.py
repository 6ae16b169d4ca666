"""`ladle doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from ladle.cli.common import print_json


@dataclass(frozen=True)
class DoctorVerb:
    """Devices, memory, caches, versions, extras, and what is known to go wrong here. Changes nothing."""

    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle.api.doctor import doctor

        found = doctor()
        if self.json:
            print_json(found.to_json())
        else:
            print(found)
        return 0
