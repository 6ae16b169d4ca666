from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.source.decode import Pixels
from ladle.feed.source.shards import TarShards
from ladle.feed.source.tar import members


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 6, 3)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def example(key: str, id: int) -> dict[str, bytes]:
    return {
        f"{key}.png": png(id),
        f"{key}.cls": str(id % 3).encode(),
        f"{key}.npy": npy(np.full(2, id, np.float32)),
        f"{key}.json": json.dumps({"box": [id, id + 0.5], "age": id}).encode(),
        f"{key}.txt": f"picture {id}".encode(),
    }


def tar(path: Path, files: dict[str, bytes], **of_member: Any) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if of_member:
            info = tarfile.TarInfo("odd.png")
            for attribute, value in of_member.items():
                setattr(info, attribute, value)
            archive.addfile(info)
    return path


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Seven examples in two tars: 4 and 3. The name of one is longer than a header holds."""
    found, id = [], 0
    for shard, count in enumerate((4, 3)):
        files: dict[str, bytes] = {}
        for _ in range(count):
            files |= example(f"a.folder/{'long' * 40 if id == 5 else ''}{id:03}", id)
            id += 1
        found.append(tar(tmp_path / f"{shard}.tar", files))
    return found


def test_members_of_one_name_are_one_example(shards):
    source = TarShards(shards, threads=1)
    rows = source.take(np.array([6, 0, 6, 5]))
    assert (len(source), source.blocks.tolist(), source.keys[0]) == (7, [4, 3], "a.folder/000")
    assert list(rows) == ["png", "cls", "npy", "json", "txt"]
    np.testing.assert_array_equal(rows["png"], [np.asarray(Image.open(io.BytesIO(png(id)))) for id in (6, 0, 6, 5)])
    assert (rows["cls"].tolist(), rows["cls"].dtype) == ([0, 0, 0, 2], np.int64)
    assert rows["npy"].tolist() == [[6, 6], [0, 0], [6, 6], [5, 5]]
    assert rows["json"]["age"].tolist() == [6, 0, 6, 5]
    assert rows["json"]["box"].tolist()[1] == [0, 0.5]
    assert rows["txt"].tolist() == ["picture 6", "picture 0", "picture 6", "picture 5"]


def test_no_rows_have_the_shape_of_rows(shards):
    rows = TarShards(shards).take(np.array([], np.int64))
    assert (rows["png"].shape, rows["json"]["box"].shape, rows["txt"].shape) == ((0, 4, 6, 3), (0, 2), (0,))


def test_fields_are_chosen_renamed_and_decoded_as_asked(shards):
    source = TarShards(
        shards, {"x": "jpg;png", "y": "cls", "t": "txt"}, decode={"txt": length}, images=Pixels("L", (2, 2)), threads=3
    )
    rows = pickle.loads(pickle.dumps(source)).take(np.array([3, 1]))
    assert {name: value.shape for name, value in rows.items()} == {"x": (2, 2, 2, 1), "y": (2,), "t": (2,)}
    assert rows["t"].tolist() == [9, 9]


def length(encoded: bytes) -> int:
    return len(encoded)


def test_all_bad_members_are_named_by_id_key_and_tar(tmp_path):
    files = {"0.png": png(0), "0.cls": b"1", "1.png": png(1)[:60], "1.cls": b"1", "2.png": png(2), "2.cls": b"one"}
    with pytest.raises(ExampleError, match="example 1 .'1' in .*a.tar.: image must be whole and readable") as caught:
        TarShards(tar(tmp_path / "a.tar", files)).take(np.arange(3))
    assert caught.value.ids == (1, 2)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ({"a.json": b"{1"}, "json must be valid"),
        ({"a.txt": b"\xff"}, "text must be UTF-8"),
        ({"a.npy": npy(np.array([{}], object))}, "which only pickle can read and pickle can run code"),
        ({"a.cls": b"9" * 30}, "class must be a whole number"),
        ({"a.json": b"null"}, "example 0 must be numbers or arrays of one shape; got 'None'"),
    ],
    ids=["json", "text", "objects", "number", "null"],
)
def test_members_that_are_not_what_their_name_says_are_refused(tmp_path, member, said):
    with pytest.raises(ExampleError, match=said):
        TarShards(tar(tmp_path / "a.tar", member)).take(np.array([0]))


@pytest.mark.parametrize(
    ("name", "of_member", "said"),
    [
        ("../evil.png", {}, "member must have a name inside the tar; got .*../evil.png"),
        ("a/../../evil.png", {}, "must have a name inside the tar"),
        ("/etc/passwd.png", {}, "must have a name inside the tar; got .*/etc/passwd.png"),
        ("C:\\evil.png", {}, "must have a name inside the tar"),
        (
            None,
            {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
            "member must be a file; .*it is a link to '/etc/pas",
        ),
        (None, {"type": tarfile.SYMTYPE, "linkname": "ok.png"}, "member must be a file"),
        (None, {"type": tarfile.LNKTYPE, "linkname": "../../x"}, "member must be a file"),
        (None, {"type": tarfile.CHRTYPE}, "member must be a plain file; .*devices"),
        (None, {"type": tarfile.FIFOTYPE}, "member must be a plain file"),
        ("a.pkl", {}, "member must not be a pickle; got .*a.pkl.*can run any code"),
        ("a.meta.PICKLE", {}, "member must not be a pickle"),
        ("a.pyd", {}, "member must not be a pickle"),
    ],
    ids="parent inner-parent absolute drive symlink inner-link hardlink device pipe pkl pickle pyd".split(),
)
def test_unsafe_members_are_refused(tmp_path, name, of_member, said):
    path = tar(tmp_path / "a.tar", {"ok.png": png(0)} | ({name: b"x"} if name else {}), **of_member)
    with pytest.raises(DataError, match=said):
        TarShards(path)


def test_no_part_of_a_tar_passes_for_a_whole_one(shards):
    data = shards[0].read_bytes()
    end = len(data.rstrip(b"\0"))
    for stop in [*range(0, end, end // 40), end]:
        shards[0].write_bytes(data[:stop])
        with pytest.raises(DataError, match="shard must be a whole tar file; got '.*0.tar'"):
            TarShards(shards)


def test_a_damaged_header_is_not_the_end(shards):
    data = bytearray(shards[0].read_bytes())
    third = list(members(shards[0]))[2].offset - 512
    data[third + 148] ^= 1  # Its checksum.
    shards[0].write_bytes(data)
    with pytest.raises(DataError, match=f"because the header at byte {third:,} of .* cannot be read"):
        TarShards(shards)


def test_a_tar_that_became_shorter_is_noticed(shards):
    source = TarShards(shards, {"x": "cls"})
    shards[1].write_bytes(shards[1].read_bytes()[:600])
    with pytest.raises(ExampleError, match="member must have 1 bytes; got 0; because the tar became shorter") as caught:
        source.take(np.arange(7))
    assert 6 in caught.value.ids


@pytest.mark.parametrize("start", [b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"], ids=["bzip2", "xz", "zstd"])
def test_compressed_tars_are_refused(tmp_path, start):
    (tmp_path / "a.tar").write_bytes(start + bytes(100))
    with pytest.raises(DataError, match="shard must be an uncompressed tar; .*try unpacking it once"):
        TarShards(tmp_path / "a.tar")


def test_a_plain_tar_may_begin_with_any_name(tmp_path):
    assert TarShards(tar(tmp_path / "a.tar", {"BZh9.cls": b"7"})).take(np.array([0]))["cls"].tolist() == [7]


def test_a_gzipped_tar_is_refused(shards):
    shards[0].write_bytes(gzip.compress(shards[0].read_bytes()))
    with pytest.raises(DataError, match="it is gzip, which can only be read from its start"):
        TarShards(shards[0])


@pytest.mark.parametrize(
    ("files", "fields", "said"),
    [
        ({}, None, "shard must have an example; got '.*a.tar'; because it holds no files"),
        (
            {"a.png": png(0), "a.cls": b"1", "b.png": png(1)},
            None,
            "example must have a member .cls; got \"'b' in .* png",
        ),
        (
            {"a.png": png(0), "b.png": png(1), "a.cls": b"1"},
            {"x": "png"},
            "member must have a name of its own; got \"'a'",
        ),
        ({"a.png": png(0), "a.PNG": png(1)}, None, "name of its own; got \"'a.png' twice"),
        ({"a.png": png(0)}, {"x": "jpg"}, "example must have a member .jpg"),
        (
            {"a.xyz": b"1"},
            None,
            "fields must be of extensions that can be decoded; got .'xyz'.*decode={\"xyz\": function}",
        ),
        ({"a.png": png(0)}, {"x": "png;npy"}, "one field has one way to decode it"),
    ],
    ids="empty lacking apart twice missing unknown two-ways".split(),
)
def test_shards_that_are_none_of_examples_are_refused(tmp_path, files, fields, said):
    with pytest.raises(ArgumentError, match=said):
        TarShards(tar(tmp_path / "a.tar", files), fields)


def test_an_index_is_kept_where_that_is_asked_for(shards, tmp_path):
    before = sorted(tmp_path.iterdir())
    plain = TarShards(shards)
    assert sorted(tmp_path.iterdir()) == before
    ids, folder = np.array([5, 0, 3]), tmp_path / "kept"
    for source in (TarShards(shards, index=folder), TarShards(shards, index=folder)):
        assert source.keys == plain.keys
        np.testing.assert_array_equal(source.take(ids)["png"], plain.take(ids)["png"])
    first, second = sorted(folder.iterdir())
    times = [first.stat().st_mtime_ns, second.stat().st_mtime_ns]
    TarShards(shards, index=folder)
    assert [first.stat().st_mtime_ns, second.stat().st_mtime_ns] == times


def test_an_index_of_another_tar_or_a_damaged_one_is_made_anew(shards, tmp_path):
    kept = TarShards(shards[0], {"y": "cls"}, index=tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    whole = file.read_bytes()
    for damage in (b"", whole[:99], whole[:-5]):
        file.write_bytes(damage)
        assert TarShards(shards[0], {"y": "cls"}, index=tmp_path / "kept").keys == kept.keys
    tar(shards[0], {"long.txt": bytes(9000), "new.cls": b"4"})
    changed = TarShards(shards[0], {"y": "cls;txt"}, decode={"txt": length, "cls": length}, index=tmp_path / "kept")
    assert changed.take(np.arange(2))["y"].tolist() == [9000, 1]


def test_missing_shards_are_named(tmp_path):
    with pytest.raises(DataError, match="shard must be a file that can be read; got '.*none.tar'"):
        TarShards([tmp_path / "none.tar"])
    with pytest.raises(ArgumentError, match="paths must name a tar file; got ..; "):
        TarShards([])


def test_a_member_that_claims_more_than_one_read_is_refused(tmp_path):
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("a.png")
    info.size = 2**31
    with open(path, "wb") as file:
        file.write(info.tobuf())
        file.truncate(2**31 + 4096)  # With holes: it takes no place on the disk.
    with pytest.raises(DataError, match="member must be below 2 GiB"):
        TarShards(path)
