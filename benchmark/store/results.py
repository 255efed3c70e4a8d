"""The results store: one Parquet file a run, appended without locks, merged into larger parts now and then.

Every file has the whole schema and the folder holds nothing else, so pandas, DuckDB and Polars can read it
without this module. They find measured rows: published and simulated ones lie in sibling folders, which have
`-published` or `-simulated` after the name. The module reads all three, and adds one row per run, the newest,
even during a compaction.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from pyarrow import fs

from benchmark.errors import StoreError
from benchmark.frames import with_columns
from benchmark.paths import StorePaths, at_home
from benchmark.records import Row
from benchmark.redaction import without_secrets
from benchmark.store import query, selection
from benchmark.store.compaction import Kept, merge, new_part, recover, separate, tidy
from benchmark.store.parquet import (
    ORDER,
    PART_FORMAT,
    ROW_FORMAT,
    highest,
    newest,
    one_row,
    packed,
    parts,
    publish,
    read,
    read_few,
    read_recent,
    serialised,
    upload,
    version,
)
from benchmark.store.repair import Flaw, Repair, flaws, mend
from benchmark.store.repeats import KEYS, SAMPLES
from benchmark.store.schema import SCHEMA, SCHEMA_VERSION
from benchmark.store.sequence import Sequence as Numbers
from benchmark.store.soundness import SoundFiles, flaw

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_ROOT: Final = at_home("outputs/results")

_READ_ATTEMPTS = 50
_MOST_KEPT, _MOST_BYTES = 2_000, 32 << 10
"""Most of its own rows that a store keeps in memory for the next compaction, and most bytes of each."""


class ResultsStore:
    """Rows in a local folder, or below a URL such as s3://bucket/prefix."""

    def __init__(self, root: str | Path, filesystem: fs.FileSystem | None = None) -> None:
        """Write nothing. With `filesystem`, for places without a URL, `root` is a path on it.

        Raises:
            StoreError: the URL names no reachable file system.
        """
        self.name = without_secrets(str(root))
        self._filesystem, folder = _located(root) if filesystem is None else (filesystem, Path(root))
        self.paths = StorePaths(root=folder)
        self.folders = tuple(map(self.paths.of, get_args(selection.Origin)))
        self._kept: dict[str, Kept] = {}
        self._sound = SoundFiles()
        self._numbers = Numbers(self.paths if self.is_local else None, self._highest)

    @property
    def is_local(self) -> bool:
        """Whether the rows are in a folder of this host: only there they can be compacted."""
        return isinstance(self._filesystem, fs.LocalFileSystem)

    @property
    def exists(self) -> bool:
        """Whether the store has been prepared.

        Raises:
            StoreError: it can't be read.
        """
        with self._in_words("read", "make it readable, or choose another store"):
            return self._has(self.paths)

    def _has(self, paths: StorePaths) -> bool:
        found = self._filesystem.get_file_info(paths.root.as_posix())
        return bool(found.type == fs.FileType.Directory)

    def prepare(self) -> None:
        """Make the store ready for `append`: create folders and anchor, complete an interrupted compaction.

        Raises:
            StoreError: the store is not writable, or a newer version of this program wrote it.
        """
        with self._in_words("write", "make it a writable folder, or choose another store.root="):
            self._refuse_part()
            for paths in self.folders:
                if paths == self.paths or self._has(paths):
                    self._prepare(paths)

    def _prepare(self, paths: StorePaths) -> None:
        if self.is_local:
            for folder in (paths.root, paths.temporary, paths.journal):
                folder.mkdir(parents=True, exist_ok=True)
        self._refuse_newer(paths)
        if self.is_local:
            with contextlib.suppress(Timeout), FileLock(paths.compact_lock, timeout=0):
                recover(paths)
        # Written even if it exists: an unwritable store fails now instead of after a measurement.
        self._publish(serialised(SCHEMA.empty_table(), PART_FORMAT), paths.anchor, paths)

    def append(self, *rows: Row) -> None:
        """Store rows, synced to disk. A later row of a run replaces the earlier one, whatever the clocks say.

        A single row gets its own file; several rows are one part, which takes no longer.

        Raises:
            StoreError: a column is unknown, missing or of the wrong type; or the file can't be written.
        """
        made = defaultdict(list)
        with self._in_words("write", "free some space or make it writable, then run the missing cells"):
            for row, number in zip(rows, self._numbers.take(len(rows)), strict=True):
                values = {**row.values, "schema_version": SCHEMA_VERSION, "sequence": number}  # noqa: PD011
                made[selection.origin(values)].append(one_row(values))
            for origin, tables in made.items():
                self._append(self._folder(origin), tables)

    def keep_answers(self, run_id: str, answers: pa.Table) -> None:
        """Store the answers of a run to the items of a data set, in a file beside the rows.

        Raises:
            StoreError: it can't be written.
        """
        with self._in_words("write", "free some space or make it writable, then run the missing cells"):
            if self.is_local:
                self.paths.answers(run_id).parent.mkdir(exist_ok=True)
            self._publish(serialised(answers, PART_FORMAT), self.paths.answers(run_id), self.paths)

    def answers(self, run_id: str) -> pa.Table:
        """Answers of a run to the items of a data set: a line an item.

        Raises:
            StoreError: it left none, or they can't be read.
        """
        with self._in_words("read", "name a run with scenario=accuracy"):
            return pq.read_table(self.paths.answers(run_id).as_posix(), filesystem=self._filesystem)

    def highest_sequence(self) -> int:
        """Number of the row that was written last: rows with a higher one are newer."""
        return self._numbers.highest()

    def _highest(self) -> int:
        if not self.exists:
            return 0
        return highest(self._scan(lambda files: read(files, self._filesystem, ["sequence"])))

    def _append(self, paths: StorePaths, tables: Sequence[pa.Table]) -> None:
        if len(tables) > 1:
            rows = newest(pa.concat_tables(tables).combine_chunks())
            self._publish(serialised(rows, PART_FORMAT), new_part(paths, highest(rows)), paths)
            return
        target = paths.run(tables[0]["run_id"][0].as_py())
        published = self._publish(serialised(tables[0], ROW_FORMAT), target, paths)
        if published and len(self._kept) < _MOST_KEPT and len(row_bytes := packed(tables[0])) <= _MOST_BYTES:
            self._kept[target.name] = (published, row_bytes)

    def _folder(self, origin: str) -> StorePaths:
        """Folder of rows of that origin; it exists from its first row on."""
        paths = self.paths.of(origin)
        if paths != self.paths and not self._has(paths):
            self._prepare(paths)
        return paths

    def table(
        self,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,  # noqa: A002 - pyarrow's word for it
        among: pc.Expression | None = None,
    ) -> pa.Table:
        """Newest row of every run that passes the filter, in the order of writing.

        `among` may use only columns with one value for all rows of a run: campaign, cell_id, environment_id.
        It is applied while reading, so that other rows are not read.

        Raises:
            StoreError: there is no store, or a file in it can't be read.
        """
        names = SCHEMA.names if columns is None else list(columns)
        projection: Any = _projected(names)
        if filter is not None:
            # Computed for each row, applied later: else an older row could pass where the newest does not.
            projection = {name: ds.field(name) for name in projection} | {"passes": filter}
        found = newest(self._scan(lambda files: read(files, self._filesystem, projection, among)))
        return (found if filter is None else found.filter(found["passes"])).select(names)

    def of_runs(
        self, run_ids: Collection[str], columns: Sequence[str] | None = None, campaign: str | None = None
    ) -> pa.Table:
        """Newest row of each of these runs, in the order of writing; runs without a row are left out.

        Only these rows are read, however many others there are. If all runs belong to one campaign, its name
        makes the search faster.

        Raises:
            StoreError: there is no store, or a file in it can't be read.
        """
        names = SCHEMA.names if columns is None else list(columns)
        named = {self.paths.run(run_id).name for run_id in run_ids}
        wanted = ds.field("run_id").isin(pa.array(list(run_ids), pa.string()))
        if campaign is not None:
            wanted &= ds.field("campaign") == campaign

        def reading(files: list[str]) -> pa.Table:
            return read_few(files, self._filesystem, _projected(names), wanted)

        def may_have(name: str) -> bool:
            return name in named or not name.startswith("run-")

        return newest(self._scan(reading, may_have)).select(names)

    def recent(self, columns: Sequence[str], filter: pc.Expression, most: int) -> pa.Table:  # noqa: A002
        """Rows that pass the filter, in the order of writing; older files are skipped once `most` are found.

        A sample: it may contain a replaced row as long as both rows are in the store.

        Raises:
            StoreError: there is no store, or a file in it can't be read.
        """
        wanted = _projected(columns)
        found = self._scan(lambda files: read_recent(files, self._filesystem, wanted, filter, most))
        return newest(found).select(list(columns))

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
        found = self.table(["run_id", "status"], among=chosen)
        return dict(zip(found["run_id"].to_pylist(), found["status"].to_pylist(), strict=True))

    def compact(self, *, thorough: bool = True) -> int:
        """Merge the files of single runs into one part; return the number of merged files.

        `thorough` also removes replaced rows from older parts. Otherwise they stay, hidden from `table` but
        not from plain readers, until the next thorough compaction. Without it, the cost doesn't depend on the
        size of the store, as the middle of a grid needs.

        0 where there is nothing to merge, or another compaction is running. Writers and readers continue. A
        crash at any point loses no row and counts none twice: a journal names the new part before it appears,
        its inputs are removed afterwards, and `prepare` completes what a journal lists.

        Raises:
            StoreError: the store is not a local folder, or can't be read or written.
        """
        self._refuse_remote("compact")
        self._refuse_absent()
        self.prepare()
        with self._in_words("compact", "make it writable, or run `store verify`"):
            # Measured rows first: older versions stored all rows there, so some may move to the others.
            merged = sum(
                self._compact(paths, thorough=thorough) for paths in self.folders if self._has(paths)
            )
        self._kept.clear()
        return merged

    def flaws(self) -> list[Flaw]:
        """Check every byte of every file; return what is damaged or isn't of this program.

        Raises:
            StoreError: there is no store, it is not a local folder, or it can't be read.
        """
        self._refuse_remote("verify")
        self._refuse_absent()
        with self._in_words("read", "make it readable, or choose another store"):
            return [*flaws(self.folders)]

    def repair(self) -> list[Repair]:
        """Set aside what `flaws` finds, so that no warning comes any more; return what each file held.

        Raises:
            StoreError: as for `flaws`, or the store can't be written, or a compaction is running.
        """
        self.prepare()
        repaired = []
        with self._in_words("repair", "make it writable"), contextlib.ExitStack() as locks:
            for paths in filter(self._has, self.folders):
                try:
                    locks.enter_context(FileLock(paths.compact_lock, timeout=0))
                except Timeout:
                    raise StoreError(f"a compaction of {self.name} is running: try again") from None
                found = flaws([paths])
                elsewhere = self.statuses().keys()
                repaired += [mend(one, paths, elsewhere) for one in found]
        return repaired

    def _compact(self, paths: StorePaths, *, thorough: bool) -> int:
        with contextlib.suppress(Timeout), FileLock(paths.compact_lock, timeout=0):
            recover(paths)
            merged = merge(paths, self._kept, self._sound)
            if thorough:
                merged += separate(paths, self._folder, self._sound) + tidy(paths, self._sound)
            return merged
        return 0

    def _scan(
        self, reading: Callable[[list[str]], pa.Table], chosen: Callable[[str], bool] = lambda _: True
    ) -> pa.Table:
        """Read the sound ones among the files whose names are chosen."""
        with self._in_words("read", "run `store verify`, or choose another store"):
            self._refuse_absent()
            for attempt in range(_READ_ATTEMPTS):
                with contextlib.suppress(FileNotFoundError):  # removed just now: its rows are in a new part
                    files = [file for file in map(Path, self._listing()) if chosen(file.name)]
                    return reading([*map(str, self._sound.among(files) if self.is_local else files)])
                time.sleep(min(0.01 * attempt, 0.2))
        raise StoreError(f"results at {self.name} change faster than they can be read: try again")

    def _listing(self) -> list[str]:
        """Files that contain all rows. While a part appears, one listing may miss both it and its inputs."""
        files = self._files()
        while parts(files) != parts(again := self._files()):
            files = again
        return files

    def _files(self) -> list[str]:
        found = [
            info
            for paths in self.folders
            for info in self._filesystem.get_file_info(
                fs.FileSelector(paths.root.as_posix(), allow_not_found=paths != self.paths)
            )
            if info.extension == "parquet" and info.base_name != paths.anchor.name
        ]
        return [info.path for info in sorted(found, key=attrgetter("base_name", "path"))]

    def _refuse_remote(self, verb: str) -> None:
        if not self.is_local:
            raise StoreError(
                f"can't {verb} store {self.name}, which is not a local folder: "
                f"run `store {verb}` on the host with the folder"
            )

    def _refuse_absent(self) -> None:
        if not self.exists:
            raise StoreError(f"no results at {self.name}: run a benchmark first, or choose another store")

    def _refuse_part(self) -> None:
        """Refuse the folder in which another store keeps its published or simulated rows."""
        name, _, origin = self.paths.root.name.rpartition("-")
        whole = StorePaths(root=self.paths.root.parent / name)
        is_part = origin in get_args(selection.Origin) and whole.of(origin) == self.paths
        if name and is_part and self._has(whole):
            raise StoreError(f"{self.name} holds the {origin} rows of a store: write to {whole.root} instead")

    def _refuse_newer(self, paths: StorePaths) -> None:
        try:
            if self.is_local and flaw(paths.anchor):
                return  # a damaged anchor is rewritten: it holds no rows
            schema = pq.read_schema(paths.anchor.as_posix(), filesystem=self._filesystem)
        except (FileNotFoundError, pa.ArrowInvalid):
            return
        if version(schema) > SCHEMA_VERSION:
            raise StoreError(
                f"store {self.name} was written by schema {version(schema)}, this program knows "
                f"{SCHEMA_VERSION}: upgrade the program, or choose another store.root="
            )

    def _publish(self, data: bytes, target: Path, paths: StorePaths) -> list[int] | None:
        """Write a file whole; return its identity, or None where the file system has none."""
        if self.is_local:
            return publish(data, target, paths)
        try:
            upload(data, target, self._filesystem)
        except FileNotFoundError:  # not an object store: it needs folders
            self._filesystem.create_dir(target.parent.as_posix(), recursive=True)
            upload(data, target, self._filesystem)
        return None

    @contextlib.contextmanager
    def _in_words(self, verb: str, advice: str) -> Iterator[None]:
        """Turn an error of the file system or Parquet into a StoreError of one line."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise StoreError(f"can't {verb} results at {self.name}: {reason}: {advice}") from error


def load(
    root: str | Path = DEFAULT_ROOT,
    where: str | None = None,
    *,
    simulated: bool = False,
    published: bool = False,
) -> pd.DataFrame:
    """Rows for a notebook: `load(where="model=vit batch<=4")`. Those measured, as all verbs show them.

    Simulated and published rows are in where they are asked for: `simulated=True`, `published=True`, or a
    condition on `simulated`, `source` or `document`.

    Raises:
        ConfigError: a condition is wrong, see `query`.
        StoreError: there is no store, or it can't be read.
    """
    conditions = query.parse(where or "")
    rows = ResultsStore(root).table(filter=query.expression(conditions))
    return to_frame(selection.shown(rows, conditions, simulated=simulated, published=published).rows)


def to_frame(rows: pa.Table) -> pd.DataFrame:
    """Rows for pandas; integer and boolean columns keep their type where values are missing."""
    import pandas as pd

    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = rows.to_pandas(types_mapper=nullable.get, maps_as_pydicts="lossy")
    return frame


def with_samples(frame: pd.DataFrame, store: ResultsStore) -> pd.DataFrame:
    """Add the latency of each call, where the processes of a cell need it: see `repeats.SAMPLES`."""
    few = frame["latency_p95_ms"].isna() & frame["samples"].notna()
    few &= frame["repeat"].notna() & frame.duplicated([*KEYS], keep=False)
    if not few.any():
        return frame
    found = store.of_runs([*frame["run_id"][few]], ["run_id", SAMPLES])
    samples = dict(zip(found["run_id"].to_pylist(), found[SAMPLES].to_numpy(), strict=True))
    return with_columns(frame, **{SAMPLES: frame["run_id"].map(samples)})


def nulls(frame: pd.DataFrame) -> pd.DataFrame:
    """Missing values as None: that equals itself, and JSON writes it as null."""
    return frame.astype(object).where(frame.notna(), None)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as mappings by column; missing values are None."""
    return [{str(name): value for name, value in row.items()} for row in nulls(frame).to_dict("records")]


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


def _projected(columns: Iterable[str]) -> list[str]:
    """Columns to read: the requested ones, and those that identify the newest rows."""
    return list({*columns, *ORDER})
