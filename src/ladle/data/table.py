"""What the readers of tables hand over: typed columns, plain NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Numbers:
    """`values`: `f64[rows]`, NaN where missing."""

    values: np.ndarray
    type: Literal["whole", "real", "boolean", "date"]


@dataclass(frozen=True)
class Texts:
    """`codes`: `i64[rows]` numbers of `levels`, -1 where missing."""

    codes: np.ndarray
    levels: tuple[str, ...]


Column = Numbers | Texts


@dataclass(frozen=True)
class Table:
    """A file's columns in their order, with what the reader has to say about them.

    - `asked`: what the user said that columns are, see `ladle.data.kinds`.
    - `kinds`: what the cells of a text table are. `said`: how the user said that it is written; None otherwise.
    """

    name: str
    columns: Mapping[str, Column]
    rows: int
    notes: tuple[str, ...]
    asked: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, Any] = field(default_factory=dict)
    said: Any = None
