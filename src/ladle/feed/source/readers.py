"""What opens and decodes files of Arrow's formats, a group of rows at a time: Parquet row groups, Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ladle.core.errors import DataError, must
from ladle.core.npy import damaged, one_line, require_file
from ladle.feed.source.remote import is_url, list_urls, open_url, reaching

ENDINGS = (".parquet", ".pq", ".arrow", ".feather", ".ipc")


class DataFile(NamedTuple):
    """One file: its path or URL, the rows of each group, the Arrow schema, and what the reader keeps of its footer.

    `length_bytes`: of a local file when it was opened; 0 for a URL. `group_bytes`: of the largest group, unpacked.
    """

    file: str
    sizes: tuple[int, ...]
    schema: Any
    length_bytes: int
    group_bytes: int
    footer: Any = None
    footer_bytes: int = 0

    @property
    def name(self) -> str:
        return self.file.rpartition("/")[2]


class Reader(Protocol):
    """A format of files in groups of rows. Asked from several threads at once."""

    def open(self, file: str) -> DataFile: ...

    def read(self, shard: DataFile, group: int, names: list[str]) -> Any:
        """A `pyarrow.Table` of these columns of one group."""
        ...


@dataclass(frozen=True)
class RowGroups:
    """Row groups of Parquet files."""

    def open(self, file: str) -> DataFile:
        with _reading(file), self._file(file, None) as opened:
            footer = opened.metadata
            groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
            sizes = tuple(group.num_rows for group in groups)
            largest = max((group.total_byte_size for group in groups), default=0)
            schema = _named(opened.schema_arrow)
            return DataFile(file, sizes, schema, _length(file), largest, footer, footer.serialized_size)

    def read(self, shard: DataFile, group: int, names: list[str]) -> Any:
        # A file opened for each group: threads must not share what Arrow opens, and the footer is parsed already.
        _require_unchanged(shard)
        with _reading(shard.file), self._file(shard.file, shard.footer) as opened:
            return _valid(opened.read_row_group(group, columns=names, use_threads=False))

    def _file(self, file: str, footer: Any) -> Any:
        import pyarrow.parquet as pq

        if is_url(file):
            return pq.ParquetFile(open_url(file), metadata=footer, pre_buffer=True, page_checksum_verification=True)
        # Checked where the writer left checksums: damage inside a page would be numbers like any other.
        return pq.ParquetFile(file, metadata=footer, memory_map=True, page_checksum_verification=True)


@dataclass(frozen=True)
class RecordBatches:
    """Record batches of Arrow IPC files, which Feather files are too."""

    def open(self, file: str) -> DataFile:
        with _reading(file), self._file(file) as opened:
            batches = map(opened.get_batch, range(opened.num_record_batches))
            # The size of the buffers, not `nbytes`: that follows offsets, which a damaged file may have anywhere.
            facts = [(batch.num_rows, batch.get_total_buffer_size()) for batch in batches]
            largest = max((length_bytes for _, length_bytes in facts), default=0)
            return DataFile(file, tuple(rows for rows, _ in facts), _named(opened.schema), _length(file), largest)

    def read(self, shard: DataFile, group: int, names: list[str]) -> Any:
        import pyarrow as pa

        with (
            _reading(shard.file),
            self._file(shard.file, [shard.schema.get_field_index(name) for name in names]) as opened,
        ):
            return _valid(pa.Table.from_batches([opened.get_batch(group)]).select(names))

    def _file(self, file: str, fields: Sequence[int] | None = None) -> Any:
        import pyarrow as pa

        options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=None if fields is None else sorted(fields))
        return pa.ipc.open_file(open_url(file) if is_url(file) else pa.memory_map(file), options=options)


def reader_of(file: str) -> Reader:
    """The reader for a file, by its first bytes. Raises `DataError` for a file of another format."""
    with _reading(file), open_url(file) if is_url(file) else open(require_file(Path(file)), "rb") as opened:
        magic = opened.read(6)
    if magic[:4] == b"PAR1":
        return RowGroups()
    if magic == b"ARROW1":
        return RecordBatches()
    if magic[:4] == b"\xff\xff\xff\xff":
        remedy = "writing it with pyarrow.ipc.new_file, or as Parquet"
        raise damaged(file, "it is a stream of Arrow batches, which has no table of contents", remedy=remedy)
    raise damaged(file, f"it begins with {magic!r}, as neither Parquet nor Arrow files do", remedy="a .parquet file")


def files_of(files: Any) -> list[str]:
    """Every file that a path, a folder, a pattern or several of these stand for. Raises `DataError` for none."""
    if isinstance(files, Sequence) and not isinstance(files, str):
        found = [file for one in files for file in files_of(one)]
        if not found:
            raise DataError(must("files", "be at least one file", files, "there is nothing to read", '["a.parquet"]'))
        return found
    if is_url(files):
        return list_urls(files, ENDINGS)
    path = Path(files).absolute()
    if "*" in path.name:
        found = sorted(glob(str(path)))
    elif path.is_dir():
        found = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in ENDINGS)
    else:
        found = [str(require_file(path))]
    if not found:
        why = "none of that kind is there"
        raise DataError(must("files", f"be {' or '.join(ENDINGS)} files", str(path), why, "a folder that has some"))
    return found


@contextmanager
def _reading(file: str) -> Iterator[None]:
    """Whatever Arrow says of a file that it cannot read, as one `DataError` that names the file."""
    import pyarrow as pa

    try:
        with reaching(file) if is_url(file) else nullcontext():
            yield
    except DataError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError, OverflowError, SystemError, MemoryError) as error:
        raise damaged(file, one_line(error)) from None


def _valid(table: Any) -> Any:
    """`table`, whose offsets and codes all lie inside it: a damaged one could end the process. Free for numbers."""
    table.validate(full=True)
    return table


def _named(schema: Any) -> Any:
    """`schema`, whose names are text: Arrow decodes them when they are asked for."""
    assert schema.names is not None
    return schema


def _length(file: str) -> int:
    return 0 if is_url(file) else Path(file).stat().st_size


def _require_unchanged(shard: DataFile) -> None:
    if not is_url(shard.file) and (found := _length(shard.file)) != shard.length_bytes:
        raise damaged(shard.file, f"it had {shard.length_bytes:,} bytes when it was opened and has {found:,}")


def stored_bytes(type: Any) -> int:
    """Bytes of one value of an Arrow type once decoded; words are taken to be about 32."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(type):
        return type.list_size * stored_bytes(type.value_type)
    if pa.types.is_dictionary(type):
        return stored_bytes(type.index_type)
    try:
        return max(1, type.bit_width // 8)
    except ValueError:
        return 32
