"""Bytes that lie elsewhere: object stores, web servers, any filesystem that fsspec knows. This file alone knows fsspec.

is_url("s3://bucket/a.parquet")     whether a path is one of these
open_url(url)                       a file to read ranges of, as Arrow's readers want it
list_urls(url, (".parquet",))       the files that a folder or a pattern stands for
localise(url, folder)               a whole copy, for formats that are mapped into memory
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any

from ladle.core.errors import ArgumentError, DataError, LadleError, must
from ladle.core.host import cache_base
from ladle.core.npy import one_line

CHUNK_BYTES = 8 << 20
_NEEDS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp", "az": "adlfs"}


def is_url(path: object) -> bool:
    """Whether `path` names a filesystem before a `://`.

    >>> is_url("s3://bucket/key"), is_url("data/x.npy")
    (True, False)
    """
    return isinstance(path, str) and "://" in path


def open_url(url: str) -> Any:
    """A file of Arrow's (`pyarrow.NativeFile`) that reads the ranges it is asked for.

    Raises `DataError` where the store or the file cannot be reached, `ArgumentError` where a library is missing.
    """
    import pyarrow as pa

    store, path = _store(url)
    with reaching(url):
        return pa.PythonFile(store.open(path, "rb"), mode="r")


def size_bytes(url: str) -> int:
    """How long the file is. Raises as `open_url` does."""
    store, path = _store(url)
    with reaching(url):
        size = store.size(path)
    if size is None:
        why, remedy = "a copy without its length cannot be checked", "a server that sends Content-Length, or a copy"
        raise DataError(must("data", "be a file of known length", url, why, remedy))
    return int(size)


def list_urls(url: str, endings: tuple[str, ...]) -> list[str]:
    """The files that `url` stands for, sorted: itself, what a pattern with `*` matches, or what a folder holds.

    Raises as `open_url` does, and `DataError` where there is none.
    """
    store, path = _store(url)
    with reaching(url):
        if "*" in path:
            found = store.glob(path)
        elif path.lower().endswith(endings) and not store.isdir(path):
            return [url]
        else:
            found = [name for name in store.ls(path, detail=False) if str(name).lower().endswith(endings)]
    if not found:
        why = "none of that kind is there"
        raise DataError(must("data", f"be {' or '.join(endings)} files", url, why, "the address of a folder that has"))
    return sorted(str(store.unstrip_protocol(name)) for name in found)


def localise(url: str, folder: str | Path) -> Path:
    """A copy of the file in `folder`, made once: a second call returns it. The name holds a hash of the address.

    Copied in pieces of 8 MiB, checked against the length that the store says, and renamed when it is whole, so that a
    copy cut short is never taken for one. Raises as `open_url` does, and `DataError` for a copy of another length.
    """
    store, path = _store(url)
    length_bytes = size_bytes(url)
    name = path.rstrip("/").rpartition("/")[2]
    copy = Path(folder) / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}"
    if copy.is_file() and copy.stat().st_size == length_bytes:
        return copy
    copy.parent.mkdir(parents=True, exist_ok=True)
    partial = copy.with_name(f"{copy.name}.{os.getpid()}-{get_ident()}.part")
    try:
        with reaching(url), store.open(path, "rb") as source, open(partial, "wb") as target:
            while piece := source.read(CHUNK_BYTES):
                target.write(piece)
        copied = partial.stat().st_size
        if copied != length_bytes:
            why = f"the store says it has {length_bytes:,} bytes"
            raise DataError(must("data", "arrive whole", f"{copied:,} bytes of {url}", why, "trying again"))
        os.replace(partial, copy)
    finally:
        partial.unlink(missing_ok=True)
    return copy


def kept_folder(argument: str, name: str) -> Path:
    """`$LADLE_CACHE/name`, else `ladle/name` in the user's cache folder: where copies are kept unless told otherwise.

    Raises `ArgumentError` where `LADLE_CACHE` is off: then `argument` has to say where.
    """
    base = cache_base()
    if base is None:
        why, remedy = "a copy has to lie somewhere, and LADLE_CACHE is off", f'{argument}="data"'
        raise ArgumentError(must(argument, "be given", None, why, remedy))
    return base / name


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Whatever goes wrong in a store as one `DataError` line: each store has errors of its own, without a parent."""
    try:
        yield
    except LadleError:
        raise
    except FileNotFoundError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):  # How fsspec says "no connection".
            why = f"{type(cause).__name__}: {one_line(cause)}"
            raise DataError(must("data", "be reachable", url, why, "the address and the network")) from None
        why, remedy = "there is no such file or bucket", "the address of one that exists"
        raise DataError(must("data", "be there", url, why, remedy)) from None
    except PermissionError as error:
        why = f"the store refuses: {one_line(error)}"
        raise DataError(must("data", "be readable by you", url, why, "credentials that may read it")) from None
    except Exception as error:
        why = f"{type(error).__name__}: {one_line(error)}"
        raise DataError(must("data", "be reachable", url, why, "the address and the network")) from None


def _store(url: str) -> tuple[Any, str]:
    """The filesystem of a URL, and the path there."""
    scheme = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        why = "fsspec reads it, and is not installed"
        raise ArgumentError(must("data", "be on this machine", url, why, "pip install 'ladle[remote]'")) from None
    with reaching(url):
        try:
            return url_to_fs(url)
        except ImportError as error:
            why, remedy = f"it needs a library: {one_line(error)}", f"pip install {_NEEDS.get(scheme, scheme)}"
            raise ArgumentError(must("data", "be in a store that can be read", url, why, remedy)) from None
        except ValueError as error:
            why, remedy = one_line(error), "file://, http://, s3://, gs:// or memory://"
            raise ArgumentError(must("data", "be in a store that is known", url, why, remedy)) from None
