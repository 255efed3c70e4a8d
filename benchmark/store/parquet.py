"""Files of the results store: written whole or not at all, read as one table."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.ipc
import pyarrow.parquet as pq
from pyarrow import fs

from benchmark.errors import StoreError
from benchmark.paths import StorePaths
from benchmark.store.schema import REQUIRED, SCHEMA

PLAIN = pa.schema([field.remove_metadata() for field in SCHEMA], metadata=SCHEMA.metadata)
"""Units and meanings would double the size of a file of one row: the anchor alone carries them."""
ROW_FORMAT: Mapping[str, Any] = {
    "compression": {"config": "zstd", "latency_ns.list.element": "zstd"},
    "use_dictionary": False,
    "write_statistics": False,
    "store_schema": False,
}
"""A single row costs by the column: so only the long ones are compressed, and arrow's own copy of the schema
is left out, which says nothing that Parquet's doesn't. A third less to write, to read and to keep."""
PART_FORMAT: Mapping[str, Any] = {"compression": "zstd", "row_group_size": 8192}

_ROW = pa.struct(list(PLAIN))
_WHOLE = [field.name for field in PLAIN if pa.types.is_integer(getattr(field.type, "value_type", field.type))]


def one_row(values: Mapping[str, Any]) -> pa.Table:
    """Spell a row in the schema.

    Raises:
        StoreError: a column is unknown, missing or of the wrong type.
    """
    who = f"the row of run {values.get('run_id')}"
    if unknown := sorted(set(values) - set(SCHEMA.names)):
        raise StoreError(
            f"{who} has columns that the schema lacks: {', '.join(unknown)}: "
            "put them into `config`, or add them to benchmark/store/schema.py"
        )
    if missing := [name for name in REQUIRED if values.get(name) is None]:
        raise StoreError(f"{who} lacks {', '.join(missing)}: no row may leave them null")
    if not re.fullmatch(r"[\w-]+", str(values["run_id"])):
        raise StoreError(f"{who}: its run_id is to name a file, so use letters, digits, - and _")
    plain = {name: _entries(value) for name, value in values.items()}
    try:
        if any(_is_fractional(plain.get(name)) for name in _WHOLE):
            raise TypeError  # noqa: TRY301 - arrow would cut the fraction off in silence
        return pa.Table.from_batches([pa.RecordBatch.from_struct_array(pa.array([plain], _ROW))], PLAIN)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{who}: {_misfit(plain)}") from error


def packed(table: pa.Table) -> bytes:
    """A row in a tenth of the memory that a table takes."""
    data: bytes = table.to_batches()[0].serialize().to_pybytes()
    return data


def unpacked(rows: Iterable[bytes]) -> pa.Table:
    """Rows as they were before `packed`."""
    return pa.Table.from_batches([pa.ipc.read_record_batch(row, PLAIN) for row in rows], PLAIN)


def serialised(table: pa.Table, form: Mapping[str, Any]) -> bytes:
    """Parquet in memory: a remote stream that breaks publishes what it has got so far."""
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, **form)
    data: bytes = stream.getvalue().to_pybytes()
    return data


def upload(data: bytes, target: Path, filesystem: fs.FileSystem) -> None:
    """Write an object in one piece."""
    with filesystem.open_output_stream(target.as_posix()) as stream:
        stream.write(data)


def publish(data: bytes, target: Path, paths: StorePaths) -> list[int]:
    """Whole or not at all, and on disk; return the identity of the file."""
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
    """Inode and time of the last change: whether a file is the one that was read."""
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
    """As `read`, for few rows of many: it looks where they lie first, and leaves the rest unread."""
    pieces = [
        piece
        for file in _dataset(files, filesystem).get_fragments(where)
        for piece in file.split_by_row_group(where, PLAIN)
        if piece.scanner(PLAIN, columns=[], filter=where).count_rows()
    ]
    found = ds.FileSystemDataset(pieces, PLAIN, ds.ParquetFileFormat(), filesystem)
    return found.to_table(columns=projection, filter=where)


def read_recent(
    files: Sequence[str], filesystem: fs.FileSystem, projection: Any, where: pc.Expression, most: int
) -> pa.Table:
    """As `read_few`; once `most` rows are found, older parts are left unread."""
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


def parts(files: Sequence[str]) -> set[str]:
    """Those files that came from a compaction; their names sort by time."""
    return {file for file in files if Path(file).name.startswith("part-")}


def newest(rows: pa.Table) -> pa.Table:
    """Last row of each run by `finished_at`; of equals the one read last: runs are read after parts."""
    return rows.take(pa.array(last(rows)))


def last(rows: pa.Table) -> np.ndarray:
    """Where the rows stand that `newest` keeps, in the order of time."""
    moments = pc.fill_null(rows["finished_at"].cast(pa.int64()), 0).to_numpy()
    order = np.argsort(moments, kind="stable")
    ranked = pa.table({"run_id": rows["run_id"].take(pa.array(order)), "rank": np.arange(len(order))})
    found = ranked.group_by("run_id").aggregate([("rank", "max")])["rank_max"].to_numpy()
    kept: np.ndarray = order[np.sort(found)]
    return kept


def version(schema: pa.Schema) -> int:
    """Schema version a file was written in; 0 where it does not say."""
    return int((schema.metadata or {}).get(b"schema_version", b"0"))


def _dataset(files: Sequence[str], filesystem: fs.FileSystem) -> ds.Dataset:
    return ds.dataset(list(files), schema=PLAIN, format="parquet", filesystem=filesystem)


def _entries(value: Any) -> Any:
    return list(value.items()) if isinstance(value, Mapping) else value


def _is_fractional(value: Any) -> bool:
    return value is not None and type(value) is not int and np.asarray(value).dtype.kind == "f"


def _misfit(plain: Mapping[str, Any]) -> str:
    """Which value it was that arrow refused, column by column: of the whole row it tells only the type."""
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
