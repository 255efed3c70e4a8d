"""Files of the results store: written whole or not at all, read as one table."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.ipc
import pyarrow.parquet as pq
from pyarrow import fs

from benchmark.errors import StoreError
from benchmark.paths import StorePaths
from benchmark.store.checksum import sealed
from benchmark.store.schema import REQUIRED, SCHEMA

T = TypeVar("T", str, Path)

ORDER = ("run_id", "sequence", "finished_at")
"""Columns by which `newest` chooses."""
PLAIN = pa.schema([field.remove_metadata() for field in SCHEMA], metadata=SCHEMA.metadata)
"""The schema without units and meanings, which would double a file of one row; only the anchor has them."""
ROW_FORMAT: Mapping[str, Any] = {
    "compression": {"config": "zstd", "latency_ns.list.element": "zstd"},
    "use_dictionary": False,
    "write_statistics": False,
    "write_page_checksum": True,
    "store_schema": False,
}
"""Format of a single row, a third smaller: only long columns are compressed, and arrow's own copy of the
schema, which repeats Parquet's, is left out."""
PART_FORMAT: Mapping[str, Any] = {
    "compression": "zstd",
    "row_group_size": 8192,
    "write_page_checksum": True,
}
_READING = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)

_ROW = pa.struct(list(PLAIN))
_MISFITS = (pa.ArrowException, TypeError, ValueError, OverflowError)
_WHOLE = [field.name for field in PLAIN if pa.types.is_integer(getattr(field.type, "value_type", field.type))]


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Convert rows to a table of the schema, together: one by one takes ten times as long.

    Raises:
        StoreError: a column is unknown, missing or of the wrong type.
    """
    plain = [_plain(values) for values in rows]
    try:
        return _converted(plain)
    except _MISFITS:
        for values in plain:
            try:
                _converted([values])
            except _MISFITS as error:
                raise StoreError(f"{_subject(values)}: {_misfit(values)}") from error
        raise


def _plain(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row as arrow takes it.

    Raises:
        StoreError: a column is unknown or missing.
    """
    subject = _subject(values)
    if unknown := sorted(set(values) - set(SCHEMA.names)):
        raise StoreError(
            f"{subject} has columns that the schema lacks: {', '.join(unknown)}: "
            "put them into `config`, or add them to benchmark/store/schema.py"
        )
    if missing := [name for name in REQUIRED if values.get(name) is None]:
        raise StoreError(f"{subject} lacks {', '.join(missing)}: they must not be null")
    if not re.fullmatch(r"[\w-]+", str(values["run_id"])):
        raise StoreError(f"{subject}: its run_id is also a file name, so use letters, digits, - and _")
    return {name: _entries(value) for name, value in values.items()}


def _converted(plain: Sequence[Mapping[str, Any]]) -> pa.Table:
    if any(_is_fractional(values.get(name)) for values in plain for name in _WHOLE):
        raise TypeError  # arrow would cut the fraction off in silence
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(pa.array(plain, _ROW))], PLAIN)


def _subject(values: Mapping[str, Any]) -> str:
    return f"the row of run {values.get('run_id')}"


def packed(table: pa.Table) -> bytes:
    """A row as bytes, a tenth of the memory of a table."""
    data: bytes = table.to_batches()[0].serialize().to_pybytes()
    return data


def unpacked(rows: Iterable[bytes]) -> pa.Table:
    """Reverse of `packed`."""
    return pa.Table.from_batches([pa.ipc.read_record_batch(row, PLAIN) for row in rows], PLAIN)


def serialised(table: pa.Table, form: Mapping[str, Any]) -> bytes:
    """Parquet file in memory, since a broken remote stream would publish a part of the file."""
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, **form)
    return sealed(stream.getvalue().to_pybytes())


def publish(data: bytes, target: Path, paths: StorePaths) -> list[int]:
    """Write a file whole or not at all, synced to disk; return its identity."""
    temporary = paths.temporary / uuid.uuid4().hex
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            published = identity(os.fstat(stream.fileno()))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return published


def identity(state: os.stat_result) -> list[int]:
    """Inode and time of the last change: equal for an unchanged file."""
    return [state.st_ino, state.st_mtime_ns]


def read(
    files: Sequence[str],
    filesystem: fs.FileSystem,
    projection: Any = None,
    where: pc.Expression | None = None,
) -> pa.Table:
    """Read files as one table, rows that pass `where`; columns that files lack are null."""
    return _dataset(files, filesystem).to_table(columns=projection, filter=where)


def read_few(
    files: Sequence[str], filesystem: fs.FileSystem, projection: Any, where: pc.Expression
) -> pa.Table:
    """As `read`, for few rows of many: only row groups that contain matches are read."""
    pieces = [
        piece
        for file in _dataset(files, filesystem).get_fragments(where)
        for piece in file.split_by_row_group(where, PLAIN)
        if piece.scanner(PLAIN, columns=[], filter=where).count_rows()
    ]
    found = ds.FileSystemDataset(pieces, PLAIN, _READING, filesystem)
    return found.to_table(columns=projection, filter=where)


def read_recent(
    files: Sequence[str], filesystem: fs.FileSystem, projection: Any, where: pc.Expression, most: int
) -> pa.Table:
    """As `read_few`, but older parts are skipped once `most` rows are found."""
    merged = parts(files)
    found = [PLAIN.empty_table().select(projection)]
    for chosen in (
        [file for file in files if file not in merged],
        *([part] for part in sorted(merged)[::-1]),
    ):
        found.append(read_few(chosen, filesystem, projection, where))
        if sum(map(len, found)) >= most:
            break
    return pa.concat_tables(found)


def row_groups(file: Path) -> Iterator[Callable[[], pa.Table]]:
    """What reads each group of rows of a file; pages are checked."""
    (whole,) = _dataset([str(file)], fs.LocalFileSystem()).get_fragments()
    for piece in whole.split_by_row_group():
        yield partial(piece.to_table, PLAIN)


def parts(files: Iterable[T]) -> set[T]:
    """Files of several rows; their names sort by the order of writing."""
    return {file for file in files if Path(file).name.startswith("part-")}


def newest(rows: pa.Table) -> pa.Table:
    """Row of each run that was written last, in the order of writing."""
    return rows.take(pa.array(last(rows)))


def last(rows: pa.Table) -> np.ndarray:
    """Indices of the rows that `newest` keeps, in the order of writing.

    Rows of older versions have no `sequence` and come first. Among equal ones the time at which they finished
    decides: commands that write into a bucket at the same time count alike. Then the last read is the last,
    since runs follow parts.
    """
    sequence = pc.fill_null(rows["sequence"], -1).to_numpy()
    moments = pc.fill_null(rows["finished_at"].cast(pa.int64()), 0).to_numpy()
    order = np.lexsort((moments, sequence))
    ranked = pa.table({"run_id": rows["run_id"].take(pa.array(order)), "rank": np.arange(len(order))})
    found = ranked.group_by("run_id").aggregate([("rank", "max")])["rank_max"].to_numpy()
    kept: np.ndarray = order[np.sort(found)]
    return kept


def highest(rows: pa.Table) -> int:
    """Highest sequence among rows; 0 where none has one."""
    return pc.max(rows["sequence"]).as_py() or 0


def version(schema: pa.Schema) -> int:
    """Schema version of a file; 0 where it has none."""
    return int((schema.metadata or {}).get(b"schema_version", b"0"))


def _dataset(files: Sequence[str], filesystem: fs.FileSystem) -> ds.Dataset:
    return ds.dataset(list(files), schema=PLAIN, format=_READING, filesystem=filesystem)


def _entries(value: Any) -> Any:
    return list(value.items()) if isinstance(value, Mapping) else value


def _is_fractional(value: Any) -> bool:
    return value is not None and type(value) is not int and np.asarray(value).dtype.kind == "f"


def _misfit(plain: Mapping[str, Any]) -> str:
    """Find the value that arrow refused; its own error names only the type."""
    for field in PLAIN:
        value = plain.get(field.name)
        if not _fits(field, value):
            return f"column {field.name} is {field.type}, but got {value!r:.80}"
    return "its columns fit the schema, but not the row"


def _fits(field: pa.Field, value: Any) -> bool:
    try:
        pa.array([value], field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return not (field.name in _WHOLE and _is_fractional(value))
