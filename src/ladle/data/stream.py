"""`streamed`: data that stays where it is. The training part is a source, read as needed; the rest is in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.foreign import rows_of
from ladle.core.protocols import Source
from ladle.data.dataset import Data, digest
from ladle.data.holdout import Without, held_out


def streamed(
    source: Source,
    *,
    valid: float | int | Mapping[str, Any] = 0.05,
    classes: Sequence[str] | int | None = None,
    name: str = "source",
    seed: int = 0,
) -> Data:
    """`Data` whose training part is a `ladle.feed` source: larger than memory, decoded as it is read, or made.

    **Arguments**

    - `source`: rows as `{"x": ..., "y": ...}` (any other tree, for a task of plain functions). Values are kept as they
      are: nothing is scaled or filled in.
    - `valid`: share (at most 20,000 examples) or number of examples to set aside and keep in memory, drawn with `seed`;
      from a source in blocks, as runs of a few blocks. Or the validation part itself, as a tree of arrays.
    - `classes`: names of the classes, or how many there are; found from the validation part where left out.

    `digest` is of the names, types, number and a sample of 64 rows, not of every byte.

    >>> class Points:
    ...     def __len__(self): return 1000
    ...     def take(self, ids): return {"x": np.float32(ids)[:, None], "y": (ids % 3).astype(np.int32)}
    >>> data = streamed(Points(), valid=100, name="points")
    >>> data.rows, len(data.valid["y"]), data.outputs, data.kind
    (900, 100, 3, 'classification')
    """
    if not hasattr(source, "take"):
        why, remedy = "rows are read as they are needed", "ladle.data.arrays(X, y), or ladle.feed.as_source(...) of it"
        raise DataError(must("source", "have rows to take by number", type(source).__name__, why, remedy))
    if isinstance(valid, Mapping):
        train, held, note = source, rows_of(dict(valid), "valid"), "Validation part as given."
    else:
        ids = held_out(source, valid, seed)
        train = Without(source, ids) if len(ids) else source
        held = _arrays_only(source.take(ids)) if len(ids) else _none(source.take(np.arange(1)))
        note = f"{len(train):,} examples are read as they are needed; {len(ids):,} set aside to validate (seed {seed})."
    if not isinstance(held, Mapping):
        why = "a task names its inputs and targets"
        raise DataError(must("source", "take rows as a dict", type(held).__name__, why, '{"x": x, "y": y}'))
    row = train.take(np.arange(1))
    amounts, names = _target(held, row, classes, train)
    return Data(
        name=name,
        train=train,  # type: ignore[arg-type]
        valid=held,
        kind="regression" if amounts else "classification",
        classes=names,
        input_shape=tuple(np.shape(row["x"])[1:]) if "x" in row and not isinstance(row["x"], Mapping) else (),
        outputs=len(names) or 1,
        notes=(note,),
        digest=digest_of(name, train),
    )


def _target(
    held: Mapping[str, Any], row: Mapping[str, Any], classes: Sequence[str] | int | None, source: Source
) -> Any:
    """Whether targets are amounts, and the names of the classes where they are not."""
    y = row.get("y")
    if classes is None and (y is None or np.asarray(y).dtype.kind not in "iub"):
        return True, ()
    if classes is None:
        seen = np.concatenate([np.ravel(np.asarray(part["y"])) for part in (held, row) if len(part.get("y", ()))])
        classes = int(seen.max()) + 1
        if not len(held.get("y", ())):
            classes = _classes(source)
    return False, tuple(str(k) for k in range(classes)) if isinstance(classes, int) else tuple(classes)


def _classes(source: Source) -> int:
    """How many classes there are, where no row is set aside that would show it: by a look at all of them."""
    highest, n = 0, len(source)
    for start in range(0, n, 65_536):
        highest = max(highest, int(np.max(np.asarray(source.take(np.arange(start, min(start + 65_536, n)))["y"]))))
    return highest + 1


def _none(row: Any) -> Any:
    """No rows of the same arrays; rows of many lengths have no array to leave empty."""
    if not isinstance(row, Mapping):
        return row
    kept = {name: leaf for name, leaf in row.items() if not is_dataclass(leaf)}
    return {name: _none(leaf) if isinstance(leaf, Mapping) else leaf[:0] for name, leaf in kept.items()}


def _arrays_only(held: Any) -> Any:
    """`held`, where all of it is arrays: a validation part is used whole, so its rows must be of one shape."""
    ragged = [name for name, leaf in held.items() if is_dataclass(leaf)] if isinstance(held, Mapping) else []
    if ragged:
        why = "rows of many lengths are padded by the feed, and the validation part does not go through it"
        remedy = 'valid={"tokens": padded, "mask": mask, "y": y}, or valid=0'
        raise DataError(must("valid", "be arrays", f"{ragged[0]} of many lengths", why, remedy))
    return held


def digest_of(name: str, source: Source) -> str:
    """Of a sample: reading everything would take as long as an epoch."""
    n = len(source)
    ids = np.linspace(0, n - 1, min(n, 64)).astype(np.int64)
    if getattr(source, "reads_blocks", False):  # Rows from all over would read half of the data.
        ids = np.concatenate([np.arange(min(n, 32)), np.arange(max(n - 32, 0), n)])
    sample = source.take(np.unique(ids))
    facts = f"{name} {n} ".encode()
    return hashlib.sha256(facts + digest(dict(_arrays(sample))).encode()).hexdigest()


def _arrays(value: Any, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every array of some rows with where it is: of trees, and of the fields of rows of many lengths."""
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping | tuple):
        for name, branch in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _arrays(branch, f"{path}/{name}")
    elif (array := np.asarray(value)).dtype != object:
        yield path, array
