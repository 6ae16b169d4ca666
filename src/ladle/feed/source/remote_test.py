from __future__ import annotations

import importlib.util
import io
import re
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.source.parquet import Parquet
from ladle.feed.source.remote import is_url, kept_folder, list_urls, localise, open_url, reaching, size_bytes


@pytest.fixture
def memory() -> Iterator[Any]:
    store = fsspec.filesystem("memory")
    yield store
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a server of this machine shows it."""

    class Quiet(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def send_head(self) -> Any:
            """The range that was asked for, as a file: what the standard library leaves out."""
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if asked is None:
                return super().send_head()
            whole = Path(self.translate_path(self.path)).read_bytes()
            start, stop = int(asked[1]), min(int(asked[2]) + 1, len(whole))
            self.send_response(206)
            self.send_header("Content-Length", str(stop - start))
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(whole)}")
            self.end_headers()
            return io.BytesIO(whole[start:stop])

    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def parquet_bytes(start: int) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": np.arange(start, start + 10.0)}), file, row_group_size=4)
    return file.getvalue()


def test_what_is_a_url():
    assert is_url("memory://a")
    assert not is_url(Path("a"))
    assert not is_url("C:/a")


def test_parquet_in_a_store(memory):
    for part in range(2):
        memory.pipe(f"/bucket/data/part-{part}.parquet", parquet_bytes(10 * part))
    memory.pipe("/bucket/data/readme.txt", b"text")
    for address in ("memory://bucket/data", "memory://bucket/data/", "memory://bucket/data/*.parquet"):
        source = Parquet(address)
        assert source.blocks.tolist() == [4, 4, 2, 4, 4, 2]
        assert source.take(np.array([19, 0, 10]))["x"].tolist() == [[19], [0], [10]]
    one = Parquet(["memory://bucket/data/part-1.parquet"])
    assert one.take(np.array([0]))["x"].tolist() == [[10]]
    assert one.place(3, "x", (0,)) == "row 3, column 'a' of part-1.parquet"


def test_folders_and_patterns_have_addresses(memory, tmp_path):
    memory.pipe("/b/2.parquet", b"x")
    memory.pipe("/b/1.parquet", b"x")
    assert list_urls("memory://b", (".parquet",)) == ["memory:///b/1.parquet", "memory:///b/2.parquet"]
    (tmp_path / "a.parquet").write_bytes(b"x")
    assert list_urls(f"file://{tmp_path}/*", (".parquet",)) == [f"file://{tmp_path}/a.parquet"]
    assert list_urls(f"file://{tmp_path}/a.parquet", (".parquet",)) == [f"file://{tmp_path}/a.parquet"]


def test_a_truncated_file_in_a_store_is_named(memory):
    memory.pipe("/bucket/a.parquet", parquet_bytes(0)[:-3])
    with pytest.raises(DataError, match="memory://bucket/a.parquet"):
        Parquet("memory://bucket/a.parquet")


def test_a_copy_is_made_once_and_whole(memory, tmp_path, monkeypatch):
    monkeypatch.setattr("ladle.feed.source.remote.CHUNK_BYTES", 7)
    memory.pipe("/bucket/x.bin", bytes(range(100)))
    copy = localise("memory://bucket/x.bin", tmp_path / "copies")
    assert copy.read_bytes() == bytes(range(100))
    assert copy.name.endswith("-x.bin")
    before = copy.stat().st_mtime_ns
    assert localise("memory://bucket/x.bin", tmp_path / "copies") == copy
    assert copy.stat().st_mtime_ns == before
    memory.pipe("/bucket/x.bin", b"another length")
    assert localise("memory://bucket/x.bin", tmp_path / "copies").read_bytes() == b"another length"
    memory.pipe("/other/x.bin", b"another place")
    assert localise("memory://other/x.bin", tmp_path / "copies") != copy


def test_a_copy_of_another_length_is_refused(memory, tmp_path, monkeypatch):
    memory.pipe("/bucket/x.bin", bytes(100))
    monkeypatch.setattr("ladle.feed.source.remote.size_bytes", lambda url: 99)
    with pytest.raises(DataError, match=r"arrive whole; got '100 bytes of memory://bucket/x.bin'"):
        localise("memory://bucket/x.bin", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_copy_from_a_server(served, tmp_path):
    pytest.importorskip("aiohttp")
    folder, address = served
    (folder / "x.bin").write_bytes(bytes(5000))
    assert localise(f"{address}/x.bin", tmp_path).stat().st_size == 5000
    assert size_bytes(f"{address}/x.bin") == 5000
    with pytest.raises(DataError, match=r"data must be there; got 'http://127.*missing.bin'"):
        localise(f"{address}/missing.bin", tmp_path)


def test_parquet_from_a_server_by_ranges(served):
    pytest.importorskip("aiohttp")
    folder, address = served
    for part in range(2):
        (folder / f"{part}.parquet").write_bytes(parquet_bytes(10 * part))
    source = Parquet([f"{address}/{part}.parquet" for part in range(2)])
    assert source.take(np.array([19, 0]))["x"].tolist() == [[19], [0]]


def test_a_server_that_is_not_there(tmp_path):
    pytest.importorskip("aiohttp")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/x.parquet"
        with pytest.raises(DataError, match="data must be reachable") as caught:
            localise(url, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["memory://nowhere/a.parquet", "memory://nowhere", "memory://nowhere/*.parquet"])
def test_what_is_missing_in_a_store(memory, address):
    with pytest.raises(DataError) as caught:
        Parquet(address)
    assert address in str(caught.value)
    assert "there is no such file or bucket" in str(caught.value) or "none of that kind is there" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PermissionError("denied\nmore"),
            "data must be readable by you; got 's3://b'; because the store refuses: denied",
        ),
        (ConnectionRefusedError("refused"), "because ConnectionRefusedError: refused; try the address and the network"),
        (RuntimeError(""), "because RuntimeError: no reason given"),
        (FileNotFoundError("b"), "there is no such file or bucket"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_goes_wrong_in_a_store_is_one_line(error, message):
    with pytest.raises(DataError) as caught, reaching("s3://b"):
        raise error
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stores_that_nobody_knows():
    with pytest.raises(ArgumentError, match=r"data must be in a store that is known; got 'nonsense://a'"):
        open_url("nonsense://a")


@pytest.mark.skipif(importlib.util.find_spec("s3fs") is not None, reason="s3fs is installed")
def test_a_store_whose_library_is_missing():
    with pytest.raises(ArgumentError, match=r"it needs a library.*try pip install s3fs"):
        Parquet("s3://bucket/a.parquet")


def test_where_copies_are_kept(monkeypatch):
    with pytest.raises(ArgumentError, match="cache must be given"):
        kept_folder("cache", "copies")
    monkeypatch.setenv("LADLE_CACHE", "/somewhere")
    assert kept_folder("cache", "copies") == Path("/somewhere/copies")
