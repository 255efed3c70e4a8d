"""Files of the results store: written whole or not at all, read as one table."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from benchmark.paths import StorePaths
from benchmark.schema import SCHEMA

PLAIN = pa.schema([field.remove_metadata() for field in SCHEMA], metadata=SCHEMA.metadata)
"""Units and meanings would double the size of a file of one row: the anchor alone carries them."""
ROW_FORMAT: Mapping[str, Any] = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
PART_FORMAT: Mapping[str, Any] = {"compression": "zstd", "row_group_size": 8192}


def serialised(table: pa.Table, form: Mapping[str, Any]) -> bytes:
    """Parquet in memory: a remote stream that breaks publishes what it has got so far."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **form)
    return buffer.getvalue()


def upload(data: bytes, target: Path, filesystem: fs.FileSystem) -> None:
    """Write an object in one piece."""
    with filesystem.open_output_stream(target.as_posix()) as stream:
        stream.write(data)


def publish(data: bytes, target: Path, paths: StorePaths) -> None:
    """Whole or not at all, and on disk."""
    temporary = paths.temporary / uuid.uuid4().hex
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(files: Sequence[str], filesystem: fs.FileSystem, projection: Any = None) -> pa.Table:
    """Read files as one table; columns they lack are null."""
    data = ds.dataset(list(files), schema=PLAIN, format="parquet", filesystem=filesystem)
    return data.to_table(columns=projection)


def newest(rows: pa.Table) -> pa.Table:
    """Last row of each run by `finished_at`; of equals the one read last: runs are read after parts."""
    moments = pc.fill_null(rows["finished_at"].cast(pa.int64()), 0).to_numpy()
    order = np.argsort(moments, kind="stable")
    ranked = pa.table({"run_id": rows["run_id"].take(pa.array(order)), "rank": np.arange(len(order))})
    last = ranked.group_by("run_id").aggregate([("rank", "max")])["rank_max"].to_numpy()
    return rows.take(pa.array(order[np.sort(last)]))


def version(schema: pa.Schema) -> int:
    """Schema version a file was written in; 0 where it does not say."""
    return int((schema.metadata or {}).get(b"schema_version", b"0"))
