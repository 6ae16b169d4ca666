"""How typed memories of policies are written as JSON, and read back by any policy. The one place that knows.

    to_json    one flat mapping of names: the fields of all parts of a memory, those left out that say nothing
    recall     each part takes the names that it knows, from whoever wrote them

So another policy may go on with what it understands of a memory, and a checkpoint of before a part was added is one
where that part says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from ladle.core.memory import plain

Part = TypeVar("Part")


def named(memory: Any) -> Mapping[str, Any]:
    """What a memory holds, by name, be it a value or JSON; nothing of one that has no names.

    >>> named({"size": 64}), named(None), named([1, 2])
    ({'size': 64}, {}, {})
    """
    written = plain(memory)
    return written if isinstance(written, Mapping) else {}


def noted(part: Any) -> dict[str, Any]:
    """The fields of a part by name, as JSON has them; those that say nothing are left out."""
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    return {name: value for name, value in values.items() if value is not None and value != {}}


def recalled(kind: type[Part], memory: Any) -> Part:
    """A part from what a memory holds of it; its own defaults for the rest. All its fields have one."""
    names = named(memory)
    return kind(**{field.name: names[field.name] for field in fields(kind) if field.name in names})  # type: ignore[arg-type]
