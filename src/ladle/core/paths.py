"""Which arrays of a model are meant: patterns of their paths, such as `layers.0.*` or `*bias*`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from ladle.core.errors import ArgumentError, must, nearest


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether one of `patterns` means `path`: `*` any text, `?` one letter; a name alone means all that is under it.

    >>> matches("blocks.0.norm.scale", ["*norm*"]), matches("blocks.0.w", ["blocks.0"]), matches("head.w", ["blocks"])
    (True, True, False)
    """
    return any(fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*") for pattern in patterns)


def require_matches(argument: str, patterns: Sequence[str], paths: Sequence[str]) -> None:
    """Refuse a pattern that means no array. Raises `ArgumentError`, with the nearest path there is."""
    for pattern in patterns:
        if not any(matches(path, [pattern]) for path in paths):
            why = "no array of the model has such a path"
            raise ArgumentError(must(argument, "name arrays of the model", pattern, why, nearest(pattern, paths)))


def require_patterns(argument: str, given: object) -> tuple[str, ...]:
    """`given` as patterns: one of them, or several. Raises `ArgumentError` for anything else.

    >>> require_patterns("frozen", "layers.0.*"), require_patterns("frozen", ["a", "b"])
    (('layers.0.*',), ('a', 'b'))
    """
    found = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (None,)
    if not all(isinstance(one, str) and one for one in found):
        why, remedy = "arrays of a model are meant by their paths", f"{argument}=('layers.0.*',)"
        raise ArgumentError(must(argument, "be patterns of paths", given, why, remedy))
    return found  # type: ignore[return-value]
