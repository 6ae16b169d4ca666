"""`require_alike`: ranks that would compute different numbers are refused, by all of them, before any work."""

from __future__ import annotations

import hashlib
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly
from ladle.core.errors import ArgumentError, must
from ladle.core.sources import PACKAGE, package_files
from ladle.core.world import World


def require_alike(world: World, assembly: Assembly, asked: Any) -> None:
    """Refuse a rank with other data, versions, code or settings than rank 0. Rank 0's word counts.

    - `asked`: what the user asked for, a value whose `repr` tells all of it.
    """
    if world.size == 1:
        return
    told = world.gathered(_facts(assembly, asked))
    for rank, found in enumerate(told):
        for name, wanted in told[0].items():
            if found[name] != wanted:
                got, why = found[name], "ranks would compute different numbers, and nothing would say so"
                be = f"have the {name} of rank 0, {wanted!r}"
                raise ArgumentError(must(f"rank {rank}", be, got, why, f"the same {name} on all hosts"))


def _facts(assembly: Assembly, asked: Any) -> dict[str, str]:
    """What has to be equal, in the order in which it is told."""
    facts = assembly.facts()
    data = facts["data"]
    shapes = {name: (one.dtype, one.shape) for name, one in assembly.engine.weight_types().items()}
    return {
        "versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "data": f"{data['name']}, {data['rows']:,} rows, {str(data['digest'])[:12]}",
        "lane": data["lane"],
        "code": _code(),
        "model": f"{facts['model']}, {_digest(repr(shapes).encode())}",
        "settings": _settings(asked, facts["loss"], facts["order"], assembly.optimizer.name, assembly.optimizer.hyper),
    }


def _settings(*asked: Any) -> str:
    """A digest of values as they show themselves, but for where they lie in memory."""
    return _digest(re.sub(r"0x[0-9a-f]+", "", repr(asked)).encode())


@cache
def _code() -> str:
    """A digest of ladle's own files and of the user's: the script that runs, the file of the task, what they import."""
    files = package_files()
    files += [Path(module.__file__ or "") for _, module in sorted(sys.modules.items()) if _of_user(module)]
    return _digest(b"\0".join(path.read_bytes() for path in files if path.is_file()))


def _of_user(module: Any) -> bool:
    """Whether it is a script, a task or a library of the user's: not installed, and not of ladle."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return False
    homes = (sys.prefix, sys.base_prefix, str(PACKAGE))
    return not str(Path(file).resolve()).startswith(tuple(f"{Path(home).resolve()}/" for home in homes))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=6).hexdigest()
