from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ladle.core.errors import DataError, ExampleError
from ladle.feed.source.images import ImageFolder


def saved(path: Path, height: int = 4, width: int = 6, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes; `dog` has an image in a folder of its own. Made in another order than that of names."""
    for seed, name in enumerate(["dog/b.png", "cat/z.PNG", "dog/a.png", "cat/a.png", "dog/more/c.png"]):
        saved(tmp_path / name, seed=seed)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / ".hidden.png").write_text("no image")
    (tmp_path / "readme.md").write_text("no class")
    return tmp_path


def test_classes_and_files_are_in_order_of_name(folder):
    source = ImageFolder(folder, threads=1)
    assert source.classes == ("cat", "dog")
    assert source.files == ["cat/a.png", "cat/z.PNG", "dog/a.png", "dog/b.png", "dog/more/c.png"]
    rows = source.take(np.array([4, 0, 4, 2]))
    assert (rows["x"].shape, rows["x"].dtype, rows["y"].dtype) == ((4, 4, 6, 3), np.uint8, np.int32)
    assert rows["y"].tolist() == [1, 0, 1, 1]
    expected = [np.asarray(Image.open(folder / source.files[id])) for id in (4, 0, 4, 2)]
    np.testing.assert_array_equal(rows["x"], expected)
    assert source.take(np.array([], np.int64))["x"].shape == (0, 4, 6, 3)


def test_threads_and_processes_change_nothing(tmp_path):
    for seed in range(100):
        saved(tmp_path / "a" / f"{seed:03}.png", height=60, width=40, seed=seed)
    ids = np.random.default_rng(0).integers(0, 100, 300)
    one, four = ImageFolder(tmp_path, threads=1), ImageFolder(tmp_path, threads=4)
    assert four._kind.heavy
    expected = one.take(ids)["x"]
    np.testing.assert_array_equal(four.take(ids)["x"], expected)
    again = pickle.loads(pickle.dumps(four))  # After its threads were started.
    np.testing.assert_array_equal(again.take(ids)["x"], expected)


def test_images_are_resized_and_grey_where_asked(folder):
    rows = ImageFolder(folder, size=(8, 2), mode="L").take(np.array([1]))
    assert rows["x"].shape == (1, 8, 2, 1)


def test_images_of_two_sizes_are_refused_by_name(folder):
    saved(folder / "dog" / "wide.png", width=9)
    with pytest.raises(
        DataError, match="be of one shape and type; got .*example 0 .cat/a.png.*4, 9, 3.*dog/wide.png"
    ) as caught:
        ImageFolder(folder).take(np.arange(6))
    assert not isinstance(caught.value, ExampleError)
    assert ImageFolder(folder, size=(4, 6)).take(np.arange(6))["x"].shape == (6, 4, 6, 3)


def test_all_images_that_cannot_be_read_are_named_by_id_and_file(folder):
    file = io.BytesIO()
    Image.new("RGB", (6, 4)).save(file, "JPEG")
    (folder / "cat" / "b.jpg").write_bytes(file.getvalue()[:-300])
    (folder / "dog" / "a.png").write_bytes(b"")
    os.remove((source := ImageFolder(folder)).root / "dog" / "b.png")
    with pytest.raises(ExampleError, match="example 1 .cat/b.jpg.: image must be whole and readable.*3 bad") as caught:
        source.take(np.arange(6))
    assert caught.value.ids == (1, 3, 4)
    assert source.take(np.array([0, 5]))["y"].tolist() == [0, 1]


def test_the_first_image_may_be_a_bad_one(folder):
    (folder / "cat" / "a.png").write_bytes(b"nothing")
    assert ImageFolder(folder).take(np.array([1]))["x"].shape == (1, 4, 6, 3)


def test_a_folder_of_bad_images_only_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "a" / name).write_bytes(b"nothing")
    with pytest.raises(ExampleError, match="example 0 .a/1.png.*2 bad examples in all"):
        ImageFolder(tmp_path)


def test_a_file_longer_than_its_pixels_could_be_is_not_read(folder):
    with open(folder / "cat" / "a.png", "r+b") as file:
        file.truncate(2**33)  # With holes: it takes no place on the disk.
    with pytest.raises(ExampleError, match="have at most 1,048,776 bytes; got 8589934592"):
        ImageFolder(folder, max_pixels=25).take(np.array([0]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: None, "root must have a folder for each class"),
        (lambda root: saved(root / "a.png"), "root must have a folder for each class"),
        (lambda root: (root / "empty").mkdir(), "class must have images; got \"none in '.*empty'"),
        (lambda root: (root / "a").symlink_to("/etc"), "root must hold its own files; got .*a' -> '/etc'"),
        (lambda root: [saved(root / "a" / "1.png"), (root / "a" / "b").symlink_to("..")], "hold its own files"),
        (lambda root: [saved(root / "a" / "1.png"), (root / "a" / "2.png").symlink_to("/etc/passwd")], "own files"),
    ],
    ids=["nothing", "no-class", "empty-class", "linked-class", "ring", "linked-file"],
)
def test_folders_that_are_none_of_classes_are_refused(tmp_path, make, said):
    make(tmp_path)
    with pytest.raises(DataError, match=said):
        ImageFolder(tmp_path)


def test_a_link_inside_the_folder_is_a_file_of_it(folder):
    (folder / "cat" / "same.png").symlink_to(folder / "dog" / "a.png")
    source = ImageFolder(folder)
    rows = source.take(np.array([1, 3]))["x"]
    assert source.files[1] == "cat/same.png"
    np.testing.assert_array_equal(rows[0], rows[1])


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="root must be a folder; got '.*nowhere'"):
        ImageFolder(tmp_path / "nowhere")
