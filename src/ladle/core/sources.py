"""ladle's own files, as two processes hold them against each other."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def package_files() -> list[Path]:
    """The files of Python that ladle is made of, tests apart, in one order everywhere."""
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.name.endswith("_test.py")]


@cache
def package_digest() -> str:
    """A digest of what is in them: equal where two processes run the same ladle."""
    return hashlib.blake2b(b"\0".join(path.read_bytes() for path in package_files()), digest_size=6).hexdigest()
