"""The folder of a comparison or a search: a new one, or one whose earlier results are to be removed first."""

from __future__ import annotations

import shutil
from pathlib import Path

from ladle.core import record

DRAWN = ("curves.png", "plan.png", "answers.png", "report.html")


def require_free(folder: Path, own: str, overwrite: bool) -> None:
    """Raises `ArgumentError` where earlier results are in `folder`; not where they are to be overwritten.

    - `own`: the file that the same verb leaves there. Results of another kind are never overwritten.
    """
    held = (folder / own).is_file()
    if not (held and overwrite):
        record.require_new(folder, "another folder, or overwrite=True" if held else "another folder")


def claim(folder: Path, own: str, overwrite: bool) -> None:
    """Make `folder`, see `require_free`. Of earlier results what the verb wrote is removed: its own files, and runs."""
    require_free(folder, own, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    for one in folder.iterdir() if overwrite else ():
        if one.name in (own, *DRAWN):
            one.unlink()
        elif (one / record.RUN_FILE).is_file() and not one.is_symlink():
            shutil.rmtree(one)
