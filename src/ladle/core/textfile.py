"""Files of text as UTF-8, whatever they are packed in and encoded as: their content shows it, not their name.

gzip, bzip2, xz           unpacked as they are read
UTF-8, UTF-16, UTF-32     by their mark, or by where the zero bytes lie
neither                   Windows-1252, as long as no byte says that it is something else
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
from pathlib import Path
from typing import IO, Any, NamedTuple

from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.npy import damaged, require_file

CHUNK_BYTES = 1 << 20
FAILURES = (OSError, EOFError, UnicodeError, lzma.LZMAError, gzip.zlib.error)  # type: ignore[attr-defined]
"""What a damaged packing or a wrong encoding raises."""

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_OPENERS: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open, "": open}
_OTHERS = {
    b"PK\x03\x04": ("a zip archive (or a spreadsheet)", "unpacking it, or saving the sheet as CSV"),
    b"PAR1": ("a Parquet file", "naming it .parquet"),
    b"\x28\xb5\x2f\xfd": ("packed with zstd", "unpacking it"),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", "saving the sheet as CSV"),
    b"SQLite": ("a database", "exporting the table as CSV"),
}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Coding(NamedTuple):
    """How the bytes of a file become letters. `packing`: gzip, bzip2, xz or "" for none."""

    packing: str
    encoding: str


def coding_of(path: Path, encoding: str | None = None) -> Coding:
    """Find out how a file is packed and encoded; reads all of it, unless `encoding` is given.

    Raises `DataError` for a file that is empty or of another format, whose packing is damaged, or whose encoding is
    none of the known ones; `ArgumentError` for an encoding that Python does not know.
    """
    require_file(path)
    with open(path, "rb") as file:
        magic = file.read(8)
    other = next((said for begin, said in _OTHERS.items() if magic.startswith(begin)), None)
    if other is not None:
        raise DataError(must("data", "be a text table", str(path), f"it is {other[0]}", other[1]))
    packing = next((name for begin, name in _PACKED.items() if magic.startswith(begin)), "")
    if encoding is not None:
        return Coding(packing, _known(encoding))
    try:
        return Coding(packing, _encoding(path, packing))
    except FAILURES as error:
        raise damaged(path, error) from None


def open_text(path: Path, coding: Coding, comment: str = "", quote: str = '"') -> IO[bytes]:
    """The text of a file as UTF-8 bytes, without a mark at its begin and without lines that begin with `comment`."""
    file = _OPENERS[coding.packing](path, "rb")
    plain = coding.encoding in ("utf-8", "ascii") and not comment
    return file if plain else io.BufferedReader(_Clean(file, coding.encoding, comment, quote), CHUNK_BYTES)


def head_of(path: Path, coding: Coding, most: int = CHUNK_BYTES) -> tuple[str, bool]:
    """The first `most` bytes of the text in whole lines, and whether that is all of it. Line ends are `\\n`."""
    with open_text(path, coding) as file:
        content = file.read(most + 1)
    text = content[:most].decode("utf-8", "replace")
    whole = len(content) <= most
    if not whole:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    return text.replace("\r\n", "\n").replace("\r", "\n"), whole


class _Clean(io.RawIOBase):
    def __init__(self, file: IO[bytes], encoding: str, comment: str, quote: str) -> None:
        super().__init__()
        self._file, self._comment, self._quote = file, comment, quote
        self._decode = codecs.getincrementaldecoder(encoding)("strict").decode
        self._ready, self._line, self._inside = b"", "", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            chunk = self._file.read(CHUNK_BYTES)
            text = self._decode(chunk, not chunk)
            self._ready = (self._kept(text, last=not chunk) if self._comment else text).encode()
            if not chunk:
                break
        taken, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def _kept(self, text: str, *, last: bool) -> str:
        """Whole lines that are no comment. Inside of quotes a line is part of a cell, whatever it begins with."""
        lines = (self._line + text).split("\n")
        self._line = "" if last else lines.pop()
        kept = []
        for at, line in enumerate(lines):
            if line.startswith(self._comment) and not self._inside:
                continue
            if self._quote and line.count(self._quote) % 2:
                self._inside = not self._inside
            kept.append(line if last and at == len(lines) - 1 else line + "\n")
        return "".join(kept)

    def close(self) -> None:
        self._file.close()
        super().close()


def _known(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        why = "Python knows no encoding of that name"
        raise ArgumentError(must("encoding", "be known", encoding, why, "encoding='utf-8'")) from None


def _encoding(path: Path, packing: str) -> str:
    """By its mark, by its zero bytes, else UTF-8 where all of it is, else Windows-1252."""
    with _OPENERS[packing](path, "rb") as file:
        first = file.read(CHUNK_BYTES)
        if not first:
            raise EOFError("the file is empty")
        marked = next((name for mark, name in _MARKS if first.startswith(mark)), None)
        if marked is not None:
            return marked
        if b"\0" in first[:4096]:
            even, odd = first[:4096:2].count(0), first[1:4096:2].count(0)
            if max(even, odd) < len(first[:4096]) // 8:
                raise damaged(path, "it holds zero bytes, so it is no text", remedy="a text table")
            return "utf-16-be" if even > odd else "utf-16-le"
        decode, chunk, bad, many, row = codecs.getincrementaldecoder("utf-8")("strict").decode, first, None, False, 1
        while True:
            try:
                text = decode(chunk, not chunk)
                many = many or not text.isascii()
            except UnicodeDecodeError as error:
                many = many or any(byte >= 0xC2 for byte in error.object[: error.start])
                bad = row + error.object[: error.start].count(b"\n"), error.object[error.start]
                break
            row += chunk.count(b"\n")
            if not chunk:
                return "utf-8"
            chunk = file.read(CHUNK_BYTES)
        if many:
            got, why = f"byte 0x{bad[1]:02x} in line {bad[0]}", "the letters before it are UTF-8, and this is none"
            raise DataError(must("data", "be in one encoding", got, why, "saving it as UTF-8, or encoding='latin-1'"))
        while chunk:
            if any(one in chunk for one in b"\x81\x8d\x8f\x90\x9d"):
                got, why = f"{path.name}, line {bad[0]}", "its bytes are neither UTF-8 nor Windows-1252"
                raise DataError(must("data", "be in a known encoding", got, why, "encoding='latin-1', or its own"))
            chunk = file.read(CHUNK_BYTES)
        return "cp1252"
