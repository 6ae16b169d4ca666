"""Data sets with a name: one inside the package, others from a folder of yours or downloaded once and verified.

Where `mnist` and `fashion-mnist` come from, first match wins:

    1. the folder named by LADLE_DATA: its sub-folder mnist, fashion-mnist or fashion_mnist (or that folder itself)
    2. the per-user cache, where an earlier download lies
    3. the mirrors below, through pooch; what arrives is used only if the sha256 of its unpacked bytes is right
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.npy import one_line
from ladle.data import idx, npy
from ladle.data.dataset import Data, build

FOLDER_VARIABLE = "LADLE_DATA"
MIRROR_VARIABLE = "LADLE_MIRROR"
"""Where set, the only place to download from: `$LADLE_MIRROR/<name>/<file>`."""

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


LABELLED = "each image comes with its class"


@dataclass(frozen=True)
class Set:
    """A named data set.

    - `mirrors`: addresses of folders that hold `FILES`; empty for what lies in the package.
    - `sha256`: of each of `FILES`, unpacked: gzip wrappers differ between mirrors, what is inside must not.
    - `classes`: names to show for classes 0, 1, ...; empty where the numbers are the names.
    """

    description: str
    rows: int
    mirrors: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


REGISTRY: Mapping[str, Set] = {
    "digits": Set("handwritten digits, 8 x 8 grey images, 10 classes (UCI, CC BY 4.0)", 1797),
    "mnist": Set(
        "handwritten digits, 28 x 28 grey images, 10 classes",
        70_000,
        mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
        sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion-mnist": Set(
        "articles of clothing, 28 x 28 grey images, 10 classes (Zalando Research, MIT)",
        70_000,
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        ),
        sha256=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        classes=(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
    ),
}  # fmt: skip


class Known(NamedTuple):
    """A line of `ladle data`: `where` is "in the package", a folder, or "downloaded on first use"."""

    name: str
    description: str
    rows: int
    where: str


def known() -> list[Known]:
    """Every data set that has a name, and where it would come from now.

    >>> known()[0].name, known()[0].rows, known()[0].where
    ('digits', 1797, 'in the package')
    """
    return [Known(name, entry.description, entry.rows, _where(name, entry)) for name, entry in REGISTRY.items()]


def known_name(text: str) -> str | None:
    """The registered spelling of a name, or None.

    >>> known_name("Fashion_MNIST"), known_name("digits.csv")
    ('fashion-mnist', None)
    """
    name = text.lower().replace("_", "-")
    return name if name in REGISTRY else None


def load_known(name: str, *, valid: float, seed: int, kind: str | None) -> Data:
    """`Data` of a registered name. Raises `DataError` where it is neither at hand nor to be had."""
    options: dict[str, Any] = {"valid": valid, "seed": seed, "kind": kind}
    if name == "digits":
        return _digits(options)
    entry = REGISTRY[name]
    (x, y, test_x, test_y), where = _four_files(name, entry)
    note = f"{name}: {entry.rows:,} images, {where}."
    data = build(x, y, name=name, test=(test_x, test_y), notes=(note,), why=LABELLED, **options)
    named = data.kind == "classification" and len(entry.classes) == len(data.classes)
    return replace(data, classes=entry.classes) if named else data


def _digits(options: dict[str, Any]) -> Data:
    held = npy.read_npz(Path(__file__).with_name("digits.npz"))
    note = "digits: 1,797 images of 8 x 8 from the UCI repository (CC BY 4.0), counts from 0 to 16, divided by 16."
    return build(held["x"].astype(np.float32) / 16, held["y"], name="digits", notes=(note,), why=LABELLED, **options)


def _four_files(name: str, entry: Set) -> tuple[list[np.ndarray], str]:
    folder = _own_folder(name)
    if folder is not None:
        return [idx.read(_plain_or_zipped(folder, file)) for file in FILES], f"from {FOLDER_VARIABLE}"
    contents = [_fetch(name, file, entry.mirrors, sha256) for file, sha256 in zip(FILES, entry.sha256, strict=True)]
    return [
        idx.parse(content, Path(file)) for content, file in zip(contents, FILES, strict=True)
    ], "downloaded and verified"


def _own_folder(name: str) -> Path | None:
    """The folder of the user's that holds the set, or None. Raises `DataError` where LADLE_DATA names no folder."""
    given = os.environ.get(FOLDER_VARIABLE)
    if not given:
        return None
    folder = Path(given)
    if not folder.is_dir():
        because = "there is no such folder"
        raise DataError(
            must(FOLDER_VARIABLE, "name a folder", given, because, f"{FOLDER_VARIABLE}=FOLDER or leaving it unset")
        )
    spellings = (name, name.replace("-", "_"))
    candidates = [folder / spelling for spelling in spellings] + ([folder] if folder.name in spellings else [])
    return next((candidate for candidate in candidates if candidate.is_dir()), None)


def _plain_or_zipped(folder: Path, file: str) -> Path:
    plain = folder / file.removesuffix(".gz")
    return plain if plain.exists() else folder / file


def _cache(name: str) -> Path:
    import pooch

    return Path(pooch.os_cache("ladle")) / name


def _where(name: str, entry: Set) -> str:
    if not entry.mirrors:
        return "in the package"
    folder = _own_folder(name)
    if folder is not None:
        return str(folder)
    cache = _cache(name)
    return str(cache) if all((cache / file).exists() for file in FILES) else "downloaded on first use"


def _fetch(name: str, file: str, mirrors: tuple[str, ...], sha256: str) -> bytes:
    """The unpacked bytes of one file, from the cache or the first mirror that serves them right."""
    cached, failures = _cache(name) / file, []
    if cached.exists():
        try:
            return _verified(cached, sha256)
        except DataError as error:
            failures.append(f"cache: {error}")
    own = os.environ.get(MIRROR_VARIABLE)
    for mirror in (f"{own.rstrip('/')}/{name}",) if own else mirrors:
        try:
            return _download(f"{mirror}/{file}", cached, sha256)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors, DataError is a ValueError
            failures.append(_reason(mirror, error))
    because = f"{file} could not be had ({one_line('; '.join(failures), 300)})"
    remedy = f"{FOLDER_VARIABLE}=FOLDER where FOLDER/{name}/ holds the four idx .gz files"
    raise DataError(must("data", "be at hand or to be downloaded", name, because, remedy))


def _download(url: str, cached: Path, sha256: str) -> bytes:
    """Download beside `cached`, verify, and only then move it there: the cache never holds anything unverified."""
    import pooch

    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
        arrived = Path(folder) / cached.name
        pooch.HTTPDownloader(progressbar=False, timeout=30)(url, str(arrived), None)
        content = _verified(arrived, sha256)
        os.replace(arrived, cached)
    return content


def _verified(path: Path, sha256: str) -> bytes:
    try:
        content = idx.read_bytes(path)
    except DataError:
        content = b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError("its checksum is wrong")
    return content


def _reason(mirror: str, error: Exception) -> str:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status is not None:
        return f"{mirror}: HTTP status {status}"
    if isinstance(error, DataError):
        return f"{mirror}: {error}"
    if type(error).__module__.startswith("requests"):
        return f"{mirror}: {type(error).__name__}"
    return f"{mirror}: {one_line(error)}"
