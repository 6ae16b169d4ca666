"""`Joined`: several sources end to end, as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, ExampleError, must
from ladle.core.protocols import Source
from ladle.feed.arrays import leaves, map_tree
from ladle.feed.source.anything import as_source
from ladle.feed.source.places import Places, taken
from ladle.feed.source.request import all_bad, require_ids
from ladle.feed.source.wrapping import pass_on


@dataclass(frozen=True, eq=False)
class Joined:
    """Sources end to end; implements `ladle.core.protocols.Source`.

    Example `i` of the source number `s` has the id `starts[s] + i`. Rows that are dicts get one entry more, `source`:
    `i32[k]`, the number of the source each row is of.

    - `sources`: name -> source, or what `ladle.feed.as_source` makes one of. Their rows must be alike: same entries,
      shapes and types.
    - `starts`: `i64[sources + 1]`, the first id of each and, last, the number of examples.
    - `blocks`: `i64[...]`, where a source has some; a source without them is one block. `reads_blocks`: where one of
      them does. `memory_bytes`: their sum, where a source has some.

    One `take` is one `take` of each source that is asked. Raises `ArgumentError` for no source or one without examples,
    `DataError` where rows of two sources differ in structure, shape or type, and `ExampleError` with the ids of all
    bad examples, as numbered here.

    >>> from ladle.feed.arrays import Arrays
    >>> both = Joined({"a": Arrays({"x": np.arange(3)}), "b": Arrays({"x": np.arange(10, 12)})})
    >>> rows = both.take(np.array([4, 0, 3]))
    >>> len(both), rows["x"].tolist(), rows["source"].tolist()
    (5, [11, 0, 10], [1, 0, 1])
    """

    sources: Mapping[str, Source]
    starts: np.ndarray = field(init=False, repr=False)
    blocks: np.ndarray = field(init=False, repr=False)
    reads_blocks: bool = field(init=False, repr=False)
    memory_bytes: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", {name: as_source(source) for name, source in self.sources.items()})
        sizes = {name: len(source) for name, source in self.sources.items()}
        if not sizes or not all(sizes.values()):
            why, remedy = "there is nothing to draw from", 'Joined({"a": one, "b": other})'
            raise ArgumentError(must("sources", "be one or more, each with examples", sizes, why, remedy))
        object.__setattr__(self, "starts", np.cumsum([0, *sizes.values()], dtype=np.int64))
        reads_blocks = any(getattr(source, "reads_blocks", False) for source in self.sources.values())
        object.__setattr__(self, "reads_blocks", reads_blocks)
        # Set only where a source has them: who asks for optional attributes asks whether they are there.
        blocks = [getattr(source, "blocks", None) for source in self.sources.values()]
        if any(own is not None for own in blocks):
            each = [[size] if own is None else own for own, size in zip(blocks, sizes.values(), strict=True)]
            object.__setattr__(self, "blocks", np.concatenate(each).astype(np.int64))
        held = [getattr(source, "memory_bytes", None) for source in self.sources.values()]
        if any(own is not None for own in held):
            object.__setattr__(self, "memory_bytes", sum(own or 0 for own in held))
        pass_on(self, list(self.sources.values()), self._take_at)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def take(self, ids: np.ndarray) -> Any:
        """Rows `ids` (`i64[k]`), in that order, and `source` beside them where rows are dicts."""
        return self._take_at(ids, None)

    def _take_at(self, ids: np.ndarray, run: Places | None) -> Any:
        ids = require_ids(ids, len(self))
        of = self.source_of(ids)
        asked = np.unique(of) if len(ids) else np.zeros(1, np.int64)
        places = [np.flatnonzero(of == number) for number in asked]
        parts = self._parts(ids, asked.tolist(), places, run)
        rows = parts[0] if len(parts) == 1 else _placed(parts, places, len(ids), self._names(asked))
        return self._with_source(rows, of)

    def source_of(self, ids: np.ndarray) -> np.ndarray:
        """`i32[k]`: the number of the source that each id belongs to."""
        return (np.searchsorted(self.starts, ids, side="right") - 1).astype(np.int32)

    def _parts(self, ids: np.ndarray, asked: list[int], places: list[np.ndarray], run: Places | None) -> list[Any]:
        sources, parts, errors = list(self.sources.values()), [], []
        for number, where in zip(asked, places, strict=True):
            start = int(self.starts[number])
            try:
                own = None if run is None or not len(ids) else run._replace(position=run.position[where])
                numbers = ids[where] - start
                parts.append(sources[number].take(numbers) if own is None else taken(sources[number], numbers, own))
            except ExampleError as error:
                said = f"source {list(self.sources)[number]!r}: {error}"
                errors.append(ExampleError(said, [start + id for id in error.ids]))
        if errors:
            raise all_bad(errors)
        return parts

    def _names(self, asked: np.ndarray) -> list[str]:
        names = list(self.sources)
        return [names[number] for number in asked]

    def _with_source(self, rows: Any, of: np.ndarray) -> Any:
        if not isinstance(rows, Mapping):
            return rows
        if "source" in rows:
            why, remedy = "Joined adds an entry of that name", "another name for it"
            raise DataError(must("data", "have no entry 'source'", sorted(rows), why, remedy))
        return {**rows, "source": of}


def _placed(parts: list[Any], places: list[np.ndarray], count: int, names: list[str]) -> Any:
    """The rows of several parts, each at its places, in one tree."""
    kinds = [{path: (leaf.shape[1:], leaf.dtype) for path, leaf in leaves(part)} for part in parts]
    for name, kind in zip(names, kinds, strict=True):
        if kind != kinds[0]:
            path = next(path for path in {**kinds[0], **kind} if kinds[0].get(path) != kind.get(path))
            got = " and ".join(f"{_told(of.get(path))} in {who!r}" for who, of in ((names[0], kinds[0]), (name, kind)))
            what, why = f"data {path!r}" if path else "data", "rows of all sources stand in one array"
            raise DataError(must(what, "be alike in all sources", got, why, "one shape and type for all"))
    found = [dict(leaves(part)) for part in parts]
    whole = {path: np.empty((count, *shape), dtype) for path, (shape, dtype) in kinds[0].items()}
    for of, where in zip(found, places, strict=True):
        for path, array in of.items():
            whole[path][where] = array
    filled = iter(whole.values())
    return map_tree(lambda _: next(filled), parts[0])


def _told(kind: tuple[tuple[int, ...], np.dtype] | None) -> str:
    return f"{kind[1]} rows of shape {kind[0]}" if kind else "none"
