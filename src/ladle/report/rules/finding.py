"""`Finding`: a rule of thumb with its verdict about one comparison."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Verdict = Literal["holds", "does not", "not resolved"]
Answer = tuple[Verdict, str]
"""The verdict, and a sentence with the numbers it rests on."""


@dataclass(frozen=True)
class Finding:
    """`code` for programs, `title` the rule of thumb, `verdict`, and one sentence with this comparison's numbers."""

    code: str
    title: str
    verdict: Verdict
    sentence: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)
