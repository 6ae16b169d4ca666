"""`Tokens`: windows of one long row of tokens, cut when they are asked for. `text_tokens`: a text as characters."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ladle.core.errors import ArgumentError, DataError, ExampleError, must
from ladle.core.npy import damaged, one_line, require_file
from ladle.core.spec import require_count
from ladle.feed.source.memmap import Mapped
from ladle.feed.source.request import require_ids

LARGEST = 2**31 - 1
"""Largest token: windows are `i32`."""
MOST_BLOCKS = 2**20


@dataclass(frozen=True, eq=False)
class Tokens:
    """Example `i` is `length` tokens from token `i * stride` on, with the token after each; implements `Source`.

        x[i, t] = tokens[i * stride + t]        y[i, t] = tokens[i * stride + t + 1]        0 <= t < length

    - `tokens`: a flat file of whole numbers (`.bin`, of `dtype`), a one-dimensional `.npy` file, or an array. Files
      are mapped, not read. `dtype`: "uint8", "uint16" (the default) or "uint32"; files only, a `.npy` file says it.
    - `length`: tokens a window. `stride`: tokens from one window to the next; `length` by default, so that every
      token is predicted once. Tokens after the last whole window are left out: `describe` says how many.

    `take` gives `{"x": i32[k, length], "y": i32[k, length]}`. `blocks` are runs of neighbouring windows. Raises
    `DataError` for a file that is missing, empty, no whole number of tokens or shorter than one window, `ArgumentError`
    for another `dtype`, and `ExampleError` for windows that hold a token below 0 or above 2**31 - 1.

    >>> source = Tokens(np.arange(10, dtype=np.uint16), length=4)
    >>> len(source), source.take(np.array([1]))["y"].tolist()
    (2, [[5, 6, 7, 8]])
    """

    tokens: Any
    length: int
    dtype: str | None = None
    stride: int | None = None
    _row: np.ndarray = field(init=False, repr=False)
    _windows: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        length = require_count("length", self.length)
        stride = length if self.stride is None else require_count("stride", self.stride)
        if not isinstance(self.tokens, np.ndarray):
            object.__setattr__(self, "tokens", Path(self.tokens).absolute())
        tokens = _row(self.tokens, self.dtype)
        if len(tokens) <= length:
            why = "a window is that many tokens and the one after"
            raise DataError(
                must("tokens", f"be more than {length}", len(tokens), why, f"length={max(len(tokens) - 1, 1)}")
            )
        object.__setattr__(self, "stride", stride)
        object.__setattr__(self, "_row", tokens)
        object.__setattr__(self, "_windows", np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[::stride])

    gathers = True
    """Many rows cost little more than one: those of several batches may be taken at once."""

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Windows `ids` (`i64[k]`), in that order."""
        ids = require_ids(ids, len(self))
        windows = self._windows[ids]
        if windows.dtype.kind == "i" or windows.dtype.itemsize > 2:
            _check_tokens(windows, ids)
        pair = np.empty(
            (2, len(windows), self.length), np.int32
        )  # One allocation: fresh pages cost more than the copy.
        np.copyto(pair[0], windows[:, :-1], casting="unsafe")
        np.copyto(pair[1], windows[:, 1:], casting="unsafe")
        return {"x": pair[0], "y": pair[1]}

    @property
    def memory_bytes(self) -> int:
        """0 for a file: its pages belong to the system."""
        return self.tokens.nbytes if isinstance(self.tokens, np.ndarray) else 0

    @property
    def blocks(self) -> np.ndarray:
        """`i64[blocks]` windows in each run of about 65,536 tokens."""
        assert self.stride is not None
        windows = max(1, 65_536 // self.stride, -(-len(self) // MOST_BLOCKS))
        starts = np.arange(0, len(self), windows)
        return np.minimum(starts + windows, len(self)) - starts

    def place(self, id: int, leaf: str, index: tuple[int, ...]) -> str:
        """Where one number lies, in words."""
        assert self.stride is not None
        token = id * self.stride + (index[0] if index else 0) + (leaf == "y")
        return f"token {token:,} of {self.tokens.name if isinstance(self.tokens, Path) else 'the array'}"

    def describe(self) -> str:
        """One line to print before a run.

        >>> Tokens(np.arange(12), length=4).describe()
        '2 windows of 4 tokens, 4 apart; 3 of 11 next tokens at the end are in none'
        """
        assert self.stride is not None
        left = len(self._row) - 1 - ((len(self) - 1) * self.stride + self.length)
        apart = f"{len(self):,} windows of {self.length:,} tokens, {self.stride:,} apart"
        return f"{apart}; {left:,} of {len(self._row) - 1:,} next tokens at the end are in none"

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokens, (self.tokens, self.length, self.dtype, self.stride)


class Text(NamedTuple):
    """`tokens`: `u8[n]` or `i32[n]`, one a character. `characters`: token `i` stands for `characters[i]`."""

    tokens: np.ndarray
    characters: str


def text_tokens(path: str | Path) -> Text:
    """A UTF-8 text file as one token a character, characters numbered in the order of their code points.

    The whole text is in memory, with about nine bytes a character while it is read. Raises `DataError` for a file that
    is missing, empty or not UTF-8. For a corpus of many gigabytes, write the tokens to a `.bin` file instead.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = path.write_text("abba")
    >>> tokens, characters = text_tokens(path)
    >>> tokens.tolist(), characters
    ([0, 1, 1, 0], 'ab')
    """
    path = require_file(Path(path))
    try:
        text = path.read_bytes().decode("utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise damaged(path, f"it is no UTF-8 text: {one_line(error)}", remedy="saving it as UTF-8") from None
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    used = np.flatnonzero(np.bincount(points))
    number = np.zeros(int(used[-1]) + 1, np.uint8 if len(used) <= 256 else np.int32)
    number[used] = np.arange(len(used))
    return Text(number[points], "".join(map(chr, used)))


def _row(tokens: Path | np.ndarray, dtype: str | None) -> np.ndarray:
    """All tokens as one row of whole numbers, mapped where they are a file."""
    if isinstance(tokens, Path) and tokens.suffix.lower() != ".npy":
        return _flat(require_file(tokens), np.dtype(_known(dtype or "uint16")))
    if dtype is not None:
        why, remedy = "the tokens are of a type already", "leaving dtype out"
        raise ArgumentError(must("dtype", "be left out but for flat files", dtype, why, remedy))
    row = tokens if isinstance(tokens, np.ndarray) else Mapped(tokens).tree
    if row.ndim != 1 or row.dtype.kind not in "iu":
        got, why = f"an array of shape {row.shape} and type {row.dtype}", "a token is a number of a vocabulary"
        raise DataError(must("tokens", "be one row of whole numbers", got, why, "tokens.reshape(-1).astype(np.uint16)"))
    return row


def _known(dtype: str) -> str:
    if dtype not in ("uint8", "uint16", "uint32"):
        why, remedy = "a flat file holds nothing but tokens of these types", 'dtype="uint16"'
        raise ArgumentError(must("dtype", "be 'uint8', 'uint16' or 'uint32'", dtype, why, remedy))
    return dtype


def _flat(path: Path, dtype: np.dtype) -> np.ndarray:
    length_bytes = path.stat().st_size
    if length_bytes % dtype.itemsize:
        because = f"{length_bytes:,} bytes are no whole number of {dtype} tokens"
        raise damaged(path, because, remedy='a whole copy, or its own dtype ("uint8", "uint16", "uint32")')
    with open(path, "rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype)


def _check_tokens(windows: np.ndarray, ids: np.ndarray) -> None:
    bad = np.flatnonzero((windows.min(axis=1) < 0) | (windows.max(axis=1) > LARGEST))
    if bad.size:
        got, why = f"others in window {ids[bad[0]]} ({bad.size} such)", "windows are 32-bit numbers of a vocabulary"
        remedy = "the file's own dtype, or bad='skip'"
        raise ExampleError(must("tokens", f"be 0 to {LARGEST:,}", got, why, remedy), np.unique(ids[bad]))
