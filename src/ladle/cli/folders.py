"""Folders of runs that a command line names: that they are there, and their data still is."""

from __future__ import annotations

from pathlib import Path

from ladle.api.options import TaskOptions
from ladle.core.beside import folders_beside
from ladle.core.errors import ArgumentError, must


def require_folder(argument: str, folder: Path, holding: tuple[str, ...]) -> None:
    """Refuse a folder that is not there, with the nearest one beside it that has a file of `holding`."""
    if not folder.is_dir():
        why, remedy = "there is no such folder", folders_beside(folder, "a folder that a run printed", holding)
        raise ArgumentError(must(argument, "be the folder of a run", str(folder), why, remedy))


def require_data(task: TaskOptions, folder: Path) -> None:
    """Refuse to go on with the run in `folder` where its data is gone: where it was looked for, how to name it anew."""
    path = task.path()
    if path is None or path.exists():
        return
    why = f"it was looked for in {path.absolute().parent} and is not there"
    remedy = f"ladle train --resume {folder} PATH, with where it is now"
    raise ArgumentError(must("DATA", "be where the run left it", str(path), why, remedy))
