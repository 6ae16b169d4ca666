"""Damaged and hostile folders are refused by the name of the file, before anything is allocated for them.

Everything is asked of a model of JAX and of one of torch.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.model_files import MODEL_FILE, WEIGHTS_FILE, digest_of, sealed
from ladle.core.errors import ArgumentError, CheckpointError, DataError
from ladle.torch.built_in import mlp

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


NAMES = {"jax": ("params.0.weight", "params.0.bias"), "torch": ("1.weight", "1.bias")}
"""What each backend calls the weights of the first layer; torch has outputs first."""


def small(backend: str) -> Any:
    """A model 3-4-2."""
    return ladle.models.mlp(3, 4, 2) if backend == "jax" else mlp(3, 4, 2)


@pytest.fixture(scope="module", params=["jax", "torch"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = ladle.data.arrays(X, np.arange(40) % 2)
    run = ladle.fit(ladle.Task(small(request.param), None, data), size=20, until="1 epochs")
    return run.save(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def backend(folder: Path) -> str:
    return json.loads((folder / MODEL_FILE).read_text())["backend"]


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def told(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """model.json as an attacker would write it, its digest right."""
    facts = json.loads((folder / MODEL_FILE).read_text())
    facts.pop("digest")
    change(facts)
    (folder / MODEL_FILE).write_text(json.dumps(sealed(facts)))


def weighed(folder: Path, header: Any, numbers: bytes = b"", size: int | None = None) -> None:
    """A file of weights with any header, and model.json that vouches for it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", len(text) if size is None else size) + text + numbers)
    told(folder, lambda facts: facts.update(weights=digest_of(folder / WEIGHTS_FILE)))


def header_of(folder: Path) -> tuple[dict[str, Any], bytes]:
    data = (folder / WEIGHTS_FILE).read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


@pytest.mark.parametrize("name", [MODEL_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
def test_a_flipped_bit_is_refused_by_the_name_of_the_file(folder: Path, name: str, place: float) -> None:
    data = bytearray((folder / name).read_bytes())
    data[int(place * len(data))] ^= 4
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=name):
        ladle.load(folder)


@pytest.mark.parametrize("name", [MODEL_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("left", [0, 7, 200])
def test_a_file_that_was_cut_off(folder: Path, name: str, left: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:left])
    with pytest.raises(CheckpointError, match=name):
        ladle.load(folder)


@pytest.mark.parametrize("name", [MODEL_FILE, WEIGHTS_FILE])
def test_a_file_that_is_missing_or_no_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)  # To open it would wait for ever.
    with pytest.raises(CheckpointError, match=f"{name}.*is missing"):
        ladle.load(folder)


def kept(**changes: Any) -> dict[str, Any]:
    """The encoding of a table with one number, changed."""
    one = {"name": "a", "median": 0.0, "mean": 0.0, "sd": 1.0, "missing": 0, "date": False, **changes}
    said = {"delimiter": None, "quote": None, "encoding": None, "header": None, "decimal": None, "na": []}
    return {"numbers": [one], "words": [], "texts": [], "kinds": {}, "said": said}


WEIGHT, BIAS = 0, 1
Header = dict[str, Any]


def change_entry(at: int, **changes: Any) -> Callable[[Header, tuple[str, str]], Any]:
    """A change of the weights, or of the biases, of the first layer."""
    return lambda header, names: header[names[at]].update(changes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_entry(WEIGHT, shape=[2**40, 2**20]), "has shape"),
        (change_entry(WEIGHT, shape=[3, 5]), r"has shape \(3, 5\), and the model \((3, 4|4, 3)\)"),
        (change_entry(WEIGHT, dtype="F64"), "is of type F64, and the model wants F32"),
        (change_entry(WEIGHT, data_offsets=[0, 2**50]), "bytes and a shape of 48"),
        (change_entry(WEIGHT, data_offsets=[-8, 40]), "cannot be read: negative"),
        (change_entry(WEIGHT, shape=[True, 12]), "cannot be read: negative or fractional"),
        (change_entry(WEIGHT, shape="x"), "cannot be read"),
        (lambda header, names: header.pop(names[BIAS]), ".bias' is missing"),
        (lambda header, names: header.update({"../../etc/passwd": header[names[BIAS]]}), "etc/passwd.*model has not"),
        (lambda header, names: header.update({names[BIAS]: 7}), "cannot be read"),
        (change_entry(BIAS, data_offsets=[8, 24]), "do not lie end to end"),
    ],
    ids="huge shape dtype far negative truth word missing traversal number overlap".split(),
)
def test_a_header_that_lies(folder: Path, backend: str, change: Any, said: str) -> None:
    header, numbers = header_of(folder)
    change(header, NAMES[backend])
    weighed(folder, header, numbers)
    with pytest.raises(CheckpointError, match=said):
        ladle.load(folder)


@pytest.mark.parametrize(
    ("header", "size", "said"),
    [
        (b"{}", 2**63, "claims 9,223,372,036,854,775,808 bytes"),
        (b"{}", 10**9, "claims 1,000,000,000 bytes"),
        (b"[1, 2]", None, "no JSON object"),
        (b"{" * 100_000, None, "no JSON object"),
        (b"[" * 100_000, None, "no JSON object"),
        (b"\xff\xfe{}", None, "no JSON object"),
    ],
    ids="huge long list braces deep bytes".split(),
)
def test_a_header_that_is_none(folder: Path, header: bytes, size: int | None, said: str) -> None:
    weighed(folder, header, size=size)
    with pytest.raises(CheckpointError, match=said):
        ladle.load(folder)


def test_a_header_longer_than_weights_need(folder: Path) -> None:
    with open(folder / WEIGHTS_FILE, "wb") as file:
        file.write(struct.pack("<Q", 1 << 34))
        file.truncate((1 << 34) + 8)  # A hole: it takes no room on the disk.
    with pytest.raises(CheckpointError, match="more than weights need"):
        ladle.load(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda facts: facts.update(format=2), "has format 2, this ladle reads 1"),
        (lambda facts: facts["model"].update(widths=[3, 10**7, 10**7, 2]), "shape|makes no model|must be"),
        (lambda facts: facts["model"].update(widths=[3, -4, 2]), "widths must be"),
        (lambda facts: facts["model"].update(widths="12"), "must be"),
        (lambda facts: facts["model"].update(kind="os.system"), "model must be of a known kind"),
        (lambda facts: facts["model"].update(unknown=1), "makes no model"),
        (lambda facts: facts.update(model=None), "makes no model"),
        (lambda facts: facts.update(backend="../evil"), "backend must be a known name"),
        (lambda facts: facts.update(loss="eval"), "loss must be a known name"),
        (lambda facts: facts["form"].update(kind="other"), "makes no model"),
        (lambda facts: facts["form"]["inputs"].update(shape=[10**30]), "makes no model"),
        (lambda facts: facts["form"]["inputs"].update(dtype="object"), "makes no model|object"),
        (lambda facts: facts["form"].pop("classes"), "makes no model"),
        (lambda facts: facts["form"].update(kept={"numbers": [{"name": 1}]}), "makes no model"),
        (lambda facts: facts["form"].update(kept=kept(sd=0.0)), "makes no model: ValueError column a has no scale"),
        (lambda facts: facts["form"].update(kept=kept(median="x")), "makes no model"),
    ],
    ids="format huge negative text kind argument none backend loss form far object classes kept scale word".split(),
)
def test_a_description_that_makes_no_sense(folder: Path, change: Any, said: str) -> None:
    told(folder, change)
    with pytest.raises((CheckpointError, ArgumentError), match=said) as caught:
        ladle.load(folder)
    assert "\n" not in str(caught.value)


def test_names_of_files_are_never_read_from_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes((folder / WEIGHTS_FILE).read_bytes())
    (folder / WEIGHTS_FILE).unlink()
    told(folder, lambda facts: facts["weights"].update(file="../other.safetensors"))
    with pytest.raises(CheckpointError, match=f"{WEIGHTS_FILE}.*is missing"):
        ladle.load(folder)


def test_nothing_in_the_folder_is_run(folder: Path, tmp_path: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'was_here')!r}, 'w')\ntask = 1\n")
    told(
        folder,
        lambda facts: (
            facts["model"].update(kind="own", library="evil"),
            facts["facts"].update(task=f"{folder}/evil.py:task"),
        ),
    )
    with pytest.raises(ArgumentError, match="model must be given"):
        ladle.load(folder)
    assert not (tmp_path / "was_here").exists()


def test_rows_of_another_shape_are_refused(folder: Path, backend: str) -> None:
    model = ladle.load(folder)
    with pytest.raises(ArgumentError, match="x must have 3 values a row"):
        model.predict(X[:, :2])
    with pytest.raises(DataError):
        model.predict([["a", "b", "c"]])
    with pytest.raises(ArgumentError, match="model must be left out"):
        ladle.load(folder, model=small(backend))


def test_all_types_of_weights_come_back(tmp_path: Path) -> None:
    import ml_dtypes

    from ladle.api import weights
    from ladle.core.backend import Weight

    held = {name: np.arange(6).reshape(2, 3).astype(name) for name in weights.SIZES if name != "bfloat16"}
    held |= {"bfloat16": np.arange(4).astype(ml_dtypes.bfloat16), "scalar": np.float32(3) * np.ones(()), "none": X[:0]}
    held["turned"] = X.T
    weights.write(tmp_path / "w.safetensors", held)
    wanted = {name: Weight("", str(one.dtype), one.shape) for name, one in held.items()}
    found = weights.read(tmp_path / "w.safetensors", wanted)
    for name, one in held.items():
        assert found[name].dtype == one.dtype and found[name].shape == one.shape
        assert found[name].tobytes() == np.ascontiguousarray(one).tobytes()
    with pytest.raises(CheckpointError, match="weight a must be of a known type"):
        weights.write(tmp_path / "x.safetensors", {"a": np.array(["text"])})
