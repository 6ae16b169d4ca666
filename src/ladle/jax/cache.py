"""The persistent compilation cache: compiled programs of earlier runs, in a folder only the user can write.

Whoever can write a compilation cache can run code in every process that reads it, so a folder that others own or may
write is refused, not repaired.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import jax

from ladle.core.errors import ArgumentError, must
from ladle.core.host import cache_base


def cache_folder() -> Path:
    """`compiled/` in `$LADLE_CACHE`, else in `ladle/` of the user's cache folder."""
    return (cache_base() or Path("off")) / "compiled"  # Where it is off, nobody asks.


def use_compilation_cache(folder: Path | None = None) -> Path | None:
    """Let JAX keep compiled programs in `folder`. Returns it, or None where the user configured JAX or switched it off.

    `LADLE_CACHE=off` switches it off. Raises `ArgumentError` where the folder is open to others.
    """
    if os.environ.get("LADLE_CACHE") == "off" or jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    folder = folder or cache_folder()
    try:
        private_folder(folder)
    except OSError:
        return None  # A read-only home is no reason not to train; compilation is then paid each time.
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Small programs count too: a command-line run compiles a dozen of a tenth of a second each.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def private_folder(folder: Path) -> Path:
    """Make `folder` for this user alone, or refuse it where somebody else owns it or may write it."""
    for part in (folder.parent, folder):  # mkdir gives its mode to the last folder alone.
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    open_to_others = bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    if stat.S_ISLNK(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()) or open_to_others:
        raise ArgumentError(
            must(
                "LADLE_CACHE",
                "be a folder that you alone can write",
                f"{folder} (mode {stat.filemode(found.st_mode)})",
                "compiled programs in it are run as code",
                f"'chmod go-w {folder}', another folder, or LADLE_CACHE=off",
            )
        )
    return folder
