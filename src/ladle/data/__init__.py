"""Data in: a name, a file or two arrays become one frozen `Data`. Nothing is imported before it is used.

    ladle.data.load("digits")      ladle.data.load("housing.csv", target="price")      ladle.data.arrays(X, y)
    ladle.data.streamed(source)    data that stays on the disk and is read as it is needed

Read `dataset.py` first (what `Data` is), then `loader.py` (which reader opens what).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ladle.data.anything import as_data
    from ladle.data.dataset import Data, arrays
    from ladle.data.loader import load
    from ladle.data.names import known
    from ladle.data.stream import streamed

__all__ = ["Data", "arrays", "as_data", "known", "load", "streamed"]

_HOMES = {
    "Data": "dataset",
    "arrays": "dataset",
    "as_data": "anything",
    "known": "names",
    "load": "loader",
    "streamed": "stream",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
