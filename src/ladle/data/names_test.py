from __future__ import annotations

import gzip
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladle.core.errors import DataError
from ladle.data import names
from ladle.data.idx_test import encode
from ladle.data.loader import load

REAL = os.environ.get("LADLE_DATA")
real = pytest.mark.skipif(not REAL, reason="LADLE_DATA names no folder of real data")


def little_mnist() -> dict[str, bytes]:
    """The four files of a set of 40 + 10 images, gzipped."""
    random = np.random.default_rng(0)
    arrays = []
    for rows in (40, 10):
        arrays.append(random.integers(0, 256, (rows, 28, 28), np.uint8))
        arrays.append((np.arange(rows) % 10).astype(np.uint8))
    return {file: gzip.compress(encode(array)) for file, array in zip(names.FILES, arrays, strict=True)}


@dataclass
class Server:
    """A web server on this machine that serves `files` and remembers what it was asked for."""

    files: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server({f"/mnist/{file}": content for file, content in little_mnist().items()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            content = state.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no folder of data, no proxy, and checksums of the little set in place of the real ones."""
    for variable in (names.FOLDER_VARIABLE, names.MIRROR_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(names, "_cache", lambda name: tmp_path / "cache" / name)
    sums = tuple(hashlib.sha256(gzip.decompress(content)).hexdigest() for content in little_mnist().values())
    little = names.Set("small", 50, mirrors=("http://127.0.0.1:9/none",), sha256=sums)
    monkeypatch.setattr(names, "REGISTRY", {**names.REGISTRY, "mnist": little})
    return tmp_path / "cache"


def test_digits() -> None:
    data = load("digits")
    assert data.input_shape == (8, 8) and data.outputs == 10 and data.test is None
    assert data.rows == 1438 and len(data.valid["y"]) == 359
    x, y = (np.concatenate([data.train[key], data.valid[key]]) for key in "xy")
    assert x.dtype == np.float32 and x.min() == 0 and x.max() == 1
    np.testing.assert_array_equal(x * 16, np.round(x * 16))
    # Class counts of optdigits.tes as published by the UCI repository.
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.abs(np.bincount(data.valid["y"]) - 0.2 * np.bincount(y)).max() <= 1


def test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    reference, data = datasets.load_digits(), load("digits")
    ours = np.concatenate([data.train["x"], data.valid["x"]]).reshape(-1, 64) * 16
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, reference.data.tolist()))


def test_digits_carry_their_licence() -> None:
    text = Path(names.__file__).with_name("digits_licence.txt").read_text()
    assert "CC BY 4.0" in text and "10.24432/C50P49" in text and "Alpaydin" in text


def test_download_is_verified_and_kept(server: Server, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.MIRROR_VARIABLE, f"{server.url}/")
    assert names.known()[1].where == "downloaded on first use"
    data = load("mnist")
    assert data.rows == 32 and data.test is not None and len(data.test["y"]) == 10
    assert "downloaded and verified" in data.notes[0]
    assert sorted(path.name for path in (own_cache / "mnist").iterdir()) == sorted(names.FILES)
    assert names.known()[1].where == str(own_cache / "mnist")
    server.files.clear()
    assert load("mnist").digest == data.digest
    assert len(server.asked) == 4


def test_corrupted_download_is_refused_and_not_kept(
    server: Server, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.MIRROR_VARIABLE, server.url)
    path = f"/mnist/{names.FILES[0]}"
    content = bytearray(gzip.decompress(server.files[path]))
    content[1000] ^= 1
    for wrong in (gzip.compress(bytes(content)), server.files[path][:-20], b"<html>not found</html>"):
        server.files[path] = wrong
        with pytest.raises(DataError, match=r"its checksum is wrong.*LADLE_DATA=FOLDER") as caught:
            load("mnist")
        assert "\n" not in str(caught.value)
        assert list((own_cache / "mnist").iterdir()) == []


def test_missing_on_the_server(server: Server, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.MIRROR_VARIABLE, server.url)
    del server.files[f"/mnist/{names.FILES[3]}"]
    with pytest.raises(DataError, match=r"t10k-labels.* HTTP status 404.*LADLE_DATA=FOLDER"):
        load("mnist")


def test_no_network(own_cache: Path) -> None:
    with pytest.raises(DataError, match=r"mnist.*ConnectionError.*LADLE_DATA=FOLDER") as caught:
        load("mnist")
    assert "\n" not in str(caught.value)


def test_the_next_mirror_is_tried(server: Server, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    little = names.REGISTRY["mnist"]
    mirrors = (f"{server.url}/gone", f"{server.url}/mnist")
    both = names.Set(little.description, little.rows, mirrors=mirrors, sha256=little.sha256)
    monkeypatch.setattr(names, "REGISTRY", {"mnist": both})
    assert load("mnist").rows == 32
    assert len(server.asked) == 8


def test_damaged_cache_is_downloaded_again(server: Server, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.MIRROR_VARIABLE, server.url)
    load("mnist")
    (own_cache / "mnist" / names.FILES[0]).write_bytes(b"damaged")
    assert load("mnist").rows == 32
    assert len(server.asked) == 5


@pytest.mark.parametrize("folder", ["mnist", "data/mnist"])
@pytest.mark.parametrize("zipped", [True, False])
def test_folder_of_the_users(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, folder: str, zipped: bool
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    for file, content in little_mnist().items():
        name, held = (file, content) if zipped else (file.removesuffix(".gz"), gzip.decompress(content))
        (tmp_path / folder / name).write_bytes(held)
    monkeypatch.setenv(names.FOLDER_VARIABLE, str(tmp_path / folder.split("/")[0]))
    data = load("MNIST")
    assert data.rows == 32 and "from LADLE_DATA" in data.notes[0]
    assert not own_cache.exists()


def test_folder_that_lacks_a_file(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv(names.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz'; because there is no such file"):
        load("mnist")
    monkeypatch.setenv(names.FOLDER_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"LADLE_DATA must name a folder"):
        load("mnist")


def test_registry_is_complete() -> None:
    for name, entry in names.REGISTRY.items():
        assert names.known_name(name) == name
        if entry.mirrors:
            assert len(entry.sha256) == len(names.FILES) and all(len(digest) == 64 for digest in entry.sha256)


@real
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_sets(name: str) -> None:
    data = load(name)
    assert (data.rows, len(data.valid["y"]), data.input_shape) == (48_000, 12_000, (28, 28))
    assert data.test is not None and len(data.test["y"]) == 10_000
    assert data.train["x"].max() == 1 and data.train["x"].dtype == np.float32
    assert data.classes[0] == ("0" if name == "mnist" else "T-shirt/top")
    assert names.known()[1].where.startswith(REAL or "")


@real
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_files_have_the_registered_checksums(name: str) -> None:
    folder = names._own_folder(name)
    assert folder is not None
    for file, sha256 in zip(names.FILES, names.REGISTRY[name].sha256, strict=True):
        assert hashlib.sha256(gzip.decompress((folder / file).read_bytes())).hexdigest() == sha256
