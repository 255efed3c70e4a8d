"""The results store: one Parquet file a run, appended without locks, merged into larger parts now and then.

Every file carries the whole schema and the folder holds nothing else, so pandas, DuckDB and Polars read
it without this module. What it adds: one row per run, the newest, also while a compaction is under way.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from pyarrow import fs

from benchmark import conditions
from benchmark.compaction import merge, recover
from benchmark.errors import StoreError
from benchmark.parquet_files import PLAIN, ROW_FORMAT, newest, publish, read, serialised, upload, version
from benchmark.paths import StorePaths
from benchmark.records import Row
from benchmark.schema import REQUIRED, SCHEMA, SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_ROOT: Final = "outputs/results"

_READ_ATTEMPTS = 50


class ResultsStore:
    """Rows in a local folder, or below a URL such as s3://bucket/prefix."""

    def __init__(self, root: str | Path, filesystem: fs.FileSystem | None = None) -> None:
        """Writes nothing; `filesystem` is for places that no URL spells, `root` is then a path on it.

        Raises:
            StoreError: the URL names no file system that can be reached.
        """
        self.name = str(root)
        self._filesystem, folder = _located(root) if filesystem is None else (filesystem, Path(root))
        self.paths = StorePaths(root=folder)

    @property
    def is_local(self) -> bool:
        """Whether the rows lie in a folder of this host: there alone they can be compacted."""
        return isinstance(self._filesystem, fs.LocalFileSystem)

    def prepare(self) -> None:
        """Make the store ready for `append`: folders, anchor, the end of a compaction that was killed.

        Raises:
            StoreError: rows can't be written there, or a newer version of this program wrote them.
        """
        with self._in_words("write", "make it a writable folder, or choose another store.root="):
            if self.is_local:
                for folder in (self.paths.root, self.paths.temporary, self.paths.journal):
                    folder.mkdir(parents=True, exist_ok=True)
            self._refuse_newer()
            if self.is_local:
                with contextlib.suppress(Timeout), FileLock(self.paths.compact_lock, timeout=0):
                    recover(self.paths)
            # Written even where it stands: an unwritable store shows itself now, not after a measurement.
            self._publish(serialised(SCHEMA.empty_table(), ROW_FORMAT), self.paths.anchor)

    def append(self, row: Row) -> None:
        """Store a row, on disk when this returns. A run's later row replaces its earlier one.

        Raises:
            StoreError: a column is unknown, missing or of the wrong type; or the file can't be written.
        """
        values = {**row.values, "schema_version": SCHEMA_VERSION}  # noqa: PD011 - no pandas here
        data = serialised(_one_row(values), ROW_FORMAT)
        with self._in_words("write", "free some space or make it writable, then run the missing cells"):
            self._publish(data, self.paths.run(row.run_id))

    def table(
        self,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,  # noqa: A002 - pyarrow's word for it
    ) -> pa.Table:
        """Newest row of every run, those that pass the filter, oldest first.

        Raises:
            StoreError: there is no store, or a file in it can't be read.
        """
        names = SCHEMA.names if columns is None else list(columns)
        projection: Any = list({*names, "run_id", "finished_at"})
        if filter is not None:
            # Asked of each row but applied after: else a run's older row would pass where its newest doesn't.
            projection = {name: ds.field(name) for name in projection} | {"passes": filter}
        with self._in_words("read", "move a damaged file away, or choose another store"):
            found = newest(self._scan(projection))
        return (found if filter is None else found.filter(found["passes"])).select(names)

    def frame(
        self,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,  # noqa: A002 - as in `table`
    ) -> pd.DataFrame:
        """`table` for pandas, see `to_frame`."""
        return to_frame(self.table(columns, filter))

    def statuses(self, campaign: str | None = None) -> dict[str, str]:
        """Status of every run, or of a campaign's runs, by run_id."""
        chosen = None if campaign is None else ds.field("campaign") == campaign
        found = self.table(["run_id", "status"], chosen)
        return dict(zip(found["run_id"].to_pylist(), found["status"].to_pylist(), strict=True))

    def compact(self) -> int:
        """Merge the files of single runs into one part; return how many files went into it.

        0 where nothing is to be merged, or another compaction is at it. Writers and readers go on meanwhile.
        Wherever the program dies, no row is lost and each counts once: a journal names the new part before
        it appears, its inputs are removed after, and `prepare` ends what a journal tells of.

        Raises:
            StoreError: the store is not a local folder, or can't be read or written.
        """
        if not self.is_local:
            raise StoreError(
                f"store {self.name} is not a local folder, and only there is compaction safe: "
                "run `store compact` where the store is a folder"
            )
        self._refuse_absent()
        self.prepare()
        with (
            self._in_words("compact", "make it writable, or move a damaged file away"),
            contextlib.suppress(Timeout),
            FileLock(self.paths.compact_lock, timeout=0),
        ):
            recover(self.paths)
            return merge(self.paths)
        return 0

    def _scan(self, projection: Any) -> pa.Table:
        self._refuse_absent()
        for attempt in range(_READ_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):  # removed since: its rows are in a new part
                return read(self._listing(), self._filesystem, projection)
            time.sleep(min(0.01 * attempt, 0.2))
        raise StoreError(f"results at {self.name} change faster than they can be read: try again")

    def _listing(self) -> list[str]:
        """Files that hold every row. While a part appears, one listing may miss it and its inputs too."""
        files = self._files()
        while _parts(files) != _parts(again := self._files()):
            files = again
        return files

    def _files(self) -> list[str]:
        found = self._filesystem.get_file_info(fs.FileSelector(self.paths.root.as_posix()))
        anchor = self.paths.anchor.name
        return sorted(info.path for info in found if info.extension == "parquet" and info.base_name != anchor)

    def _refuse_absent(self) -> None:
        if self._filesystem.get_file_info(self.paths.root.as_posix()).type != fs.FileType.Directory:
            raise StoreError(f"no results at {self.name}: run a benchmark first, or choose another store")

    def _refuse_newer(self) -> None:
        try:
            schema = pq.read_schema(self.paths.anchor.as_posix(), filesystem=self._filesystem)
        except (FileNotFoundError, pa.ArrowInvalid):  # a damaged anchor is written anew: it holds no rows
            return
        if version(schema) > SCHEMA_VERSION:
            raise StoreError(
                f"store {self.name} was written by schema {version(schema)}, this program knows "
                f"{SCHEMA_VERSION}: upgrade the program, or choose another store.root="
            )

    def _publish(self, data: bytes, target: Path) -> None:
        if self.is_local:
            publish(data, target, self.paths)
            return
        try:
            upload(data, target, self._filesystem)
        except FileNotFoundError:  # no object store, but one that wants folders
            self._filesystem.create_dir(target.parent.as_posix(), recursive=True)
            upload(data, target, self._filesystem)

    @contextlib.contextmanager
    def _in_words(self, verb: str, advice: str) -> Iterator[None]:
        """What the file system or Parquet says, as one line of ours."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise StoreError(f"can't {verb} results at {self.name}: {reason}: {advice}") from error


def load(root: str | Path = DEFAULT_ROOT, where: str | None = None) -> pd.DataFrame:
    """Rows for a notebook, simulated ones too: `load(where="model=vit batch<=4 simulated=false")`.

    Raises:
        ConfigError: the conditions can't be understood, see `conditions`.
        StoreError: there is no store, or it can't be read.
    """
    return ResultsStore(root).frame(filter=conditions.expression(conditions.parse(where or "")))


def to_frame(rows: pa.Table) -> pd.DataFrame:
    """Rows for pandas; whole numbers and truth values stay such where some are missing."""
    import pandas as pd

    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = rows.to_pandas(types_mapper=nullable.get, maps_as_pydicts="lossy")
    return frame


def _located(root: str | Path) -> tuple[fs.FileSystem, Path]:
    if isinstance(root, Path) or "://" not in root:
        return fs.LocalFileSystem(), Path(root).expanduser().absolute()
    try:
        filesystem, path = fs.FileSystem.from_uri(root)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(
            f"store {root} can't be opened: {reason}: give a folder, or s3://bucket/prefix"
        ) from error
    return filesystem, Path(path)


def _one_row(values: Mapping[str, Any]) -> pa.Table:
    who = f"the row of run {values.get('run_id')}"
    if unknown := sorted(set(values) - set(SCHEMA.names)):
        raise StoreError(
            f"{who} has columns that the schema lacks: {', '.join(unknown)}: "
            "put them into `config`, or add them to benchmark/schema.py"
        )
    if missing := [name for name in REQUIRED if values.get(name) is None]:
        raise StoreError(f"{who} lacks {', '.join(missing)}: no row may leave them null")
    if not re.fullmatch(r"[\w-]+", str(values["run_id"])):
        raise StoreError(f"{who}: its run_id is to name a file, so use letters, digits, - and _")
    return pa.Table.from_arrays([_array(who, field, values.get(field.name)) for field in PLAIN], schema=PLAIN)


def _array(who: str, field: pa.Field, value: Any) -> pa.Array:
    entries = list(value.items()) if isinstance(value, Mapping) else value
    whole = pa.types.is_integer(getattr(field.type, "value_type", field.type))
    try:
        if whole and np.asarray(value).dtype.kind == "f":
            raise TypeError  # noqa: TRY301 - arrow would cut the fraction off in silence
        return pa.array([entries], field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{who}: column {field.name} is {field.type}, but got {value!r:.80}") from error


def _parts(files: Sequence[str]) -> set[str]:
    return {file for file in files if Path(file).name.startswith("part-")}
