from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.blocks import Blocks
from ladle.feed.source.tokens import Tokens, text_tokens


@given(
    st.integers(1, 9),
    st.none() | st.integers(1, 12),
    st.integers(2, 60),
    st.sampled_from(["uint8", "uint16", "uint32", "npy", "array"]),
    st.data(),
)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_windows_are_the_slices(tmp_path, length, stride, total, kind, data):
    total += length
    tokens = np.random.default_rng(total).integers(0, 200, total)
    path, dtype = tmp_path / "t.bin", kind
    if kind in ("npy", "array"):
        path, dtype = tmp_path / "t.npy", None
        np.save(path, tokens)
    else:
        tokens.astype(kind).tofile(path)
    source = Tokens(tokens if kind == "array" else path, length, dtype, stride)
    step = stride or length
    starts = [start for start in range(0, total, step) if start + length + 1 <= total]
    assert len(source) == len(starts)
    ids = np.array(data.draw(st.lists(st.integers(0, len(source) - 1), max_size=9)), np.int64)
    taken = source.take(ids)
    assert taken["x"].dtype == taken["y"].dtype == np.int32
    assert taken["x"].shape == taken["y"].shape == (len(ids), length)
    for row, id in enumerate(ids):
        assert taken["x"][row].tolist() == tokens[starts[id] : starts[id] + length].tolist()
        assert taken["y"][row].tolist() == tokens[starts[id] + 1 : starts[id] + length + 1].tolist()
    assert Blocks.of(source).epoch_size == len(source)


def test_copies_travel_by_path(tmp_path):
    np.arange(10_000, dtype=np.uint16).tofile(tmp_path / "t.bin")
    sent = pickle.dumps(Tokens(tmp_path / "t.bin", 8))
    assert len(sent) < 1000
    assert pickle.loads(sent).take(np.array([2]))["x"].tolist() == [list(range(16, 24))]


def test_what_is_said_before_a_run(tmp_path):
    np.zeros(1000, np.uint8).tofile(tmp_path / "t.bin")
    source = Tokens(tmp_path / "t.bin", 64, "uint8")
    assert source.describe() == "15 windows of 64 tokens, 64 apart; 39 of 999 next tokens at the end are in none"
    assert source.place(2, "y", (3,)) == "token 132 of t.bin"
    assert source.memory_bytes == 0
    assert Tokens(np.zeros(8, np.uint16), 3).memory_bytes == 16


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, {}, "there is no such file"),
        (b"", {}, "the file is empty"),
        (b"abc", {}, "3 bytes are no whole number of uint16 tokens"),
        (b"abcd", {"length": 2}, "tokens must be more than 2; got 2;"),
        (b"abcd", {"dtype": "int64"}, "dtype must be 'uint8', 'uint16' or 'uint32'; got 'int64'"),
        (b"abcd", {"stride": 0}, "stride must be at least 1"),
        (b"abcd", {"length": 0}, "length must be at least 1"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_bad_files_and_arguments(tmp_path, content, options, message):
    if content is not None:
        (tmp_path / "t.bin").write_bytes(content)
    with pytest.raises(ArgumentError) as caught:
        Tokens(tmp_path / "t.bin", **{"length": 1, **options})
    assert message in str(caught.value)


def test_rows_that_are_no_tokens():
    with pytest.raises(ArgumentError, match=r"ids must be in 0 \.\. 1; got 2"):
        Tokens(np.zeros(3, np.uint8), 1).take(np.array([2]))
    with pytest.raises(DataError, match="tokens must be one row of whole numbers; got 'an array of shape"):
        Tokens(np.zeros((3, 3), np.uint8), 1)
    with pytest.raises(DataError, match="float64"):
        Tokens(np.zeros(3), 1)
    with pytest.raises(ArgumentError, match="dtype must be left out but for flat files"):
        Tokens(np.zeros(3, np.uint8), 1, "uint8")


@pytest.mark.parametrize("bad", [-1, 2**31])
def test_tokens_that_do_not_fit_are_named(bad):
    row = np.arange(20)
    row[8] = bad
    source = Tokens(row, 4)
    assert source.take(np.array([0, 3]))["x"].shape == (2, 4)
    with pytest.raises(ExampleError, match="others in window 2 ") as caught:
        source.take(np.array([0, 2, 1, 2]))
    assert caught.value.ids == (1, 2)


def test_text(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes("né 🌊 né\r\n".encode())
    tokens, characters = text_tokens(path)
    assert "".join(characters[token] for token in tokens) == "né 🌊 né\r\n"
    assert tokens.dtype == np.uint8
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="it is no UTF-8 text"):
        text_tokens(path)
    path.write_text("".join(map(chr, range(32, 400))), encoding="utf-8")
    assert text_tokens(path).tokens.dtype == np.int32


@pytest.mark.skipif("LADLE_DATA" not in os.environ, reason="LADLE_DATA names no folder of data")
def test_shakespeare_has_65_characters():
    tokens, characters = text_tokens(Path(os.environ["LADLE_DATA"]) / "tiny_shakespeare" / "input.txt")
    assert (len(tokens), len(characters)) == (1_115_394, 65)
    text = "".join(characters[token] for token in Tokens(tokens, 13).take(np.array([0]))["x"][0])
    assert text == "First Citizen"
