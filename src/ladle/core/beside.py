"""What a path that is not there may have been meant for: names in the folder where it was looked for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path

MOST = 12
"""More names than this are not listed: the nearest one alone is told."""

ALIKE = 0.6
"""How much of two names must be the same for one to be a slip of the other."""


def close_name(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `name` is likely to be a slip of, or None. Case counts for little.

    >>> close_name("housng.csv", ["housing.csv", "wine.csv"]), close_name("Runs", ["runs"]), close_name("x.csv", ["y"])
    ('housing.csv', 'runs', None)
    """
    # Endings are alike anyway: what tells names apart stands before them.
    stem, ending = _stem(name), name.lower().rpartition(".")[2]
    scored = [(_alike(stem, _stem(one)), one.lower().endswith(ending), one) for one in known]
    best = max(scored, default=(0.0, False, ""))
    return best[2] if best[0] >= ALIKE else None


def _stem(name: str) -> str:
    return name.lower().rpartition(".")[0] or name.lower()


def _alike(a: str, b: str) -> float:
    """From 0 to 1: letters in the same order, of all."""
    return difflib.SequenceMatcher(None, a, b).ratio()


def files_beside(path: Path, otherwise: str, endings: tuple[str, ...] = ("",)) -> str:
    """A remedy for a file that is not there: the nearest one in its folder, those that are there, or `otherwise`.

    - `endings`: what names of files that would do end in.

    >>> files_beside(Path("no/such/folder/a.csv"), "the path of a data file")
    'the path of a data file'
    """
    return _nearest(path, names_beside(path, endings), otherwise)


def names_beside(path: Path, endings: tuple[str, ...] = ("",)) -> list[str]:
    """Names of the files in the folder of `path` that end in one of `endings`, sorted."""
    return _names(path, lambda one: one.is_file() and one.name.lower().endswith(endings))


def folders_beside(path: Path, otherwise: str, holding: tuple[str, ...]) -> str:
    """A remedy for a folder that is not there: the nearest one beside it that has a file of `holding`, or `otherwise`.

    >>> folders_beside(Path("no/such/run"), "a run folder", ("run.json",))
    'a run folder'
    """
    return _nearest(path, _names(path, lambda one: any((one / name).is_file() for name in holding)), otherwise)


def _names(path: Path, fits: Callable[[Path], bool]) -> list[str]:
    try:
        return sorted(one.name for one in path.absolute().parent.iterdir() if fits(one))
    except OSError:
        return []


def _nearest(path: Path, names: list[str], otherwise: str) -> str:
    close = close_name(path.name, names) or (names[0] if len(names) == 1 else None)
    if close is None:
        return f"one of them (there: {', '.join(names)})" if 0 < len(names) <= MOST else otherwise
    return repr(str(path.with_name(close))) + (f" (there: {', '.join(names)})" if 1 < len(names) <= MOST else "")
