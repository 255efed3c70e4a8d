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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from benchmark.bucket.objects import is_address
from benchmark.errors import BucketError, StoreError
from benchmark.frames import with_columns
from benchmark.paths import StorePaths, at_home
from benchmark.records import Row
from benchmark.redaction import without_secrets
from benchmark.store import query, selection
from benchmark.store.bucket_rows import BucketRows
from benchmark.store.compaction import merge, new_part, rewrite, separate, tidy
from benchmark.store.local_rows import LocalRows, folder_of
from benchmark.store.parquet import (
    ORDER,
    PART_FORMAT,
    highest,
    newest,
    read,
    read_few,
    read_recent,
    serialised,
    table_of,
    version,
)
from benchmark.store.place import Place
from benchmark.store.repair import Flaw, Repair, flaws, mend
from benchmark.store.repeats import KEYS, SAMPLES
from benchmark.store.schema import SCHEMA, SCHEMA_VERSION
from benchmark.store.sequence import Sequence as Numbers
from benchmark.store.soundness import SoundFiles

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_ROOT: Final = at_home("outputs/results")

_LOCAL: Final = fs.LocalFileSystem()
_READ_ATTEMPTS = 50


class ResultsStore:
    """Rows in a local folder, or in a bucket below an address such as s3://bucket/prefix.

    Methods raise BucketError where the bucket can't be reached or used.
    """

    def __init__(self, root: str | Path) -> None:
        """Write nothing, and connect to nothing.

        Raises:
            StoreError, BucketError: the address is none of a bucket.
        """
        self.name = without_secrets(str(root))
        self._place: Place = BucketRows(str(root)) if is_address(root) else LocalRows(folder_of(root))
        self.paths = StorePaths(root=self._place.root)
        self.folders = tuple(map(self.paths.of, get_args(selection.Origin)))
        self._sound = SoundFiles()
        self._prepared = set[StorePaths]()
        self._numbers = Numbers(self.paths if self._place.in_order else None, self._highest)

    @property
    def exists(self) -> bool:
        """Whether the store has been prepared.

        Raises:
            StoreError: it can't be read.
        """
        with self._in_words("read", "make it readable, or choose another store"):
            return self._place.has(self.paths)

    def prepare(self) -> None:
        """Make the store ready for `append`: create folders and anchor, complete an interrupted compaction.

        Raises:
            StoreError: the store is not writable, or a newer version of this program wrote it.
        """
        with self._in_words("write", "make it a writable folder, or choose another store.root="):
            self._refuse_part()
            for paths in self.folders:
                if paths == self.paths or self._place.has(paths):
                    self._prepare(paths)

    def _prepare(self, paths: StorePaths) -> None:
        self._refuse_newer(self._place.anchor(paths))
        # The anchor is written even if it exists: an unwritable store fails now, not after a measurement.
        self._place.prepare(paths, serialised(SCHEMA.empty_table(), PART_FORMAT))

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
                made[selection.origin(values)].append(values)
            for origin, table in [(origin, table_of(several)) for origin, several in made.items()]:
                self._append(self._folder(origin), table)

    def keep_answers(self, run_id: str, answers: pa.Table) -> None:
        """Store the answers of a run to the items of a data set, in a file beside the rows.

        Raises:
            StoreError: it can't be written.
        """
        self._keep(self.paths.answers(run_id), answers)

    def answers(self, run_id: str) -> pa.Table:
        """Answers of a run to the items of a data set: a line an item.

        Raises:
            StoreError: it left none, or they can't be read.
        """
        return self._kept(
            self.paths.answers(run_id), f"run {run_id} at {self.name} has no answers", "accuracy"
        )

    def keep_loads(self, run_id: str, loads: pa.Table) -> None:
        """Store the requests of a run's loads, as `keep_answers` does."""
        self._keep(self.paths.loads(run_id), loads)

    def loads(self, run_id: str) -> pa.Table:
        """Requests of a run's loads, as `answers`: a line a replication, a list a time."""
        return self._kept(self.paths.loads(run_id), f"run {run_id} at {self.name} has no loads", "server")

    def _keep(self, file: Path, table: pa.Table) -> None:
        with self._in_words("write", "free some space or make it writable, then run the missing cells"):
            self._place.keep(serialised(table, PART_FORMAT), file, self.paths)

    def _kept(self, file: Path, lacking: str, scenario: str) -> pa.Table:
        with self._in_words("read", advice := f"name a run with scenario={scenario}"):
            data = self._place.read(file)
            if data is None:
                raise StoreError(f"{lacking}: {advice}")
            return pq.read_table(pa.BufferReader(data))

    def copy_beside(self, run_id: str, target: ResultsStore) -> None:
        """Copy what lies beside the row of a run, its answers and its loads, into another store.

        Raises:
            StoreError: it can't be read or written.
        """
        for of in (StorePaths.answers, StorePaths.loads):
            with self._in_words("read", "make it readable, or choose another store"):
                data = self._place.read(of(self.paths, run_id))
            if data is not None:
                with target._in_words("write", "free some space or make it writable"):
                    target._place.keep(data, of(target.paths, run_id), target.paths)

    def findings(self, campaign: str) -> bytes | None:
        """What a nightly check of a campaign has kept, if there was one.

        Raises:
            StoreError: it can't be read.
        """
        with self._in_words("read", "make it readable, or choose another store"):
            return self._place.read(self.paths.nightly(campaign))

    def keep_findings(self, campaign: str, data: bytes) -> None:
        """Keep the findings of a nightly check beside the rows.

        Raises:
            StoreError: they can't be written.
        """
        with self._in_words("write", "free some space or make it writable"):
            self._place.keep(data, self.paths.nightly(campaign), self.paths)

    def highest_sequence(self) -> int:
        """Number of the row that was written last: rows with a higher one are newer."""
        return self._numbers.highest()

    def _highest(self) -> int:
        if not self.exists:
            return 0
        return highest(self._scan(lambda files: read(files, _LOCAL, ["sequence"])))

    def _append(self, paths: StorePaths, rows: pa.Table) -> None:
        if len(rows) > 1:
            rows = newest(rows)
            self._place.publish(serialised(rows, PART_FORMAT), new_part(paths, highest(rows)), paths)
        else:
            self._place.add(rows, paths)

    def _folder(self, origin: str) -> StorePaths:
        """Folder of rows of that origin; it exists from its first row on."""
        paths = self.paths.of(origin)
        if paths not in self._prepared:
            with contextlib.suppress(BucketError):  # the place keeps what it can't send now
                if paths != self.paths and not self._place.has(paths):
                    self._prepare(paths)
                self._prepared.add(paths)
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
        found = newest(self._scan(lambda files: read(files, _LOCAL, projection, among)))
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
        chosen = {*run_ids}
        wanted = ds.field("run_id").isin(pa.array(list(run_ids), pa.string()))
        if campaign is not None:
            wanted &= ds.field("campaign") == campaign

        def reading(files: list[str]) -> pa.Table:
            return read_few(files, _LOCAL, _projected(names), wanted)

        def may_have(file: Path) -> bool:
            run_id = StorePaths.run_id(file)
            return run_id is None or run_id in chosen

        return newest(self._scan(reading, may_have)).select(names)

    def recent(self, columns: Sequence[str], filter: pc.Expression, most: int) -> pa.Table:  # noqa: A002
        """Rows that pass the filter, in the order of writing; older files are skipped once `most` are found.

        A sample: it may contain a replaced row as long as both rows are in the store.

        Raises:
            StoreError: there is no store, or a file in it can't be read.
        """
        wanted = _projected(columns)
        found = self._scan(lambda files: read_recent(files, _LOCAL, wanted, filter, most))
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
            StoreError: the store can't be read or written.
        """
        self._refuse_absent()
        self.prepare()
        with self._in_words("compact", "make it writable, or run `store verify`"):
            # Measured rows first: older versions stored all rows there, so some may move to the others.
            merged = sum(
                self._compact(paths, thorough=thorough) for paths in self.folders if self._place.has(paths)
            )
        self._place.kept.clear()
        return merged

    def flaws(self) -> list[Flaw]:
        """Check every byte of every file; return what is damaged or isn't of this program.

        Raises:
            StoreError: there is no store, or it can't be read.
        """
        self._refuse_absent()
        with self._in_words("read", "make it readable, or choose another store"):
            for paths in self.folders:
                self._place.copied(paths)
            return [self._named(one) for one in flaws(self.folders)]

    def repair(self) -> list[Repair]:
        """Set aside what `flaws` finds, so that no warning comes any more; return what each file held.

        Raises:
            StoreError: as for `flaws`, or the store can't be written, or a compaction is running.
        """
        self.prepare()
        repaired = []
        with self._in_words("repair", "make it writable"):
            for paths in filter(self._place.has, self.folders):
                with self._place.alone(paths) as folder:
                    if folder is None:
                        raise StoreError(f"a compaction of {self.name} is running: try again")
                    found = flaws([paths])
                    elsewhere = self.statuses().keys()
                    mended = [mend(one, folder, elsewhere) for one in found]
                    repaired += [replace(one, flaw=self._named(one.flaw)) for one in mended]
        return repaired

    def rewrite(self, change: Callable[[pa.Table], pa.Table]) -> int:
        """Replace each file whose rows `change` changes, replaced rows too; return the number of files.

        Raises:
            StoreError: there is no store, it is being compacted, or it can't be read or written.
        """
        self._refuse_absent()
        self.prepare()
        files = 0
        with self._in_words("write", "make it writable"):
            for paths in filter(self._place.has, self.folders):
                with self._place.alone(paths) as folder:
                    if folder is None:
                        raise StoreError(
                            f"store {self.name} is being compacted: wait for the end of its runs"
                        )
                    files += rewrite(folder, change, SoundFiles())
        return files

    def _compact(self, paths: StorePaths, *, thorough: bool) -> int:
        with self._place.alone(paths) as folder:
            if folder is None:
                return 0
            merged = merge(folder, self._place.kept, self._sound)
            if thorough:
                merged += separate(
                    folder, lambda origin: self._place.folder(self._folder(origin)), self._sound
                )
                merged += tidy(folder, self._sound)
            return merged

    def _named(self, found: Flaw) -> Flaw:
        """A flaw with the name that a user knows."""
        return replace(found, address=self._place.address(found.file))

    def has_run(self, run_id: str) -> bool:
        """Whether a run has a file of its own; rows in files of several don't show."""
        return any(self._place.has_run(paths, run_id) for paths in self.folders)

    def parts(self) -> frozenset[str]:
        """Names of the files of several rows."""
        return frozenset(name for paths in self.folders for name in self._place.parts(paths))

    def _scan(
        self, reading: Callable[[list[str]], pa.Table], chosen: Callable[[Path], bool] = lambda _: True
    ) -> pa.Table:
        """Read the sound ones among the files whose names are chosen."""
        with self._in_words("read", "run `store verify`, or choose another store"):
            self._refuse_absent()
            for attempt in range(_READ_ATTEMPTS):
                with contextlib.suppress(FileNotFoundError):  # removed just now: its rows are in a new part
                    files = [*filter(chosen, self._place.files(self.folders))]
                    self._place.fetch(files)
                    return reading([*map(str, self._sound.among(files))])
                self._place.again()
                time.sleep(min(0.01 * attempt, 0.2))
        raise StoreError(f"results at {self.name} change faster than they can be read: try again")

    def _refuse_absent(self) -> None:
        if not self.exists:
            raise StoreError(f"no results at {self.name}: run a benchmark first, or choose another store")

    def _refuse_part(self) -> None:
        """Refuse the folder in which another store keeps its published or simulated rows."""
        name, _, origin = self.paths.root.name.rpartition("-")
        whole = StorePaths(root=self.paths.root.parent / name)
        is_part = origin in get_args(selection.Origin) and whole.of(origin) == self.paths
        if name and is_part and self._place.has(whole):
            raise StoreError(f"{self.name} holds the {origin} rows of a store: write to {whole.root} instead")

    def _refuse_newer(self, anchor: bytes | None) -> None:
        """Refuse a store of a newer schema. A damaged anchor is rewritten: it holds no rows."""
        try:
            found = version(pq.read_schema(pa.BufferReader(anchor))) if anchor else 0
        except pa.ArrowInvalid:
            return
        if found > SCHEMA_VERSION:
            raise StoreError(
                f"store {self.name} was written by schema {found}, this program knows "
                f"{SCHEMA_VERSION}: upgrade the program, or choose another store.root="
            )

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


def _projected(columns: Iterable[str]) -> list[str]:
    """Columns to read: the requested ones, and those that identify the newest rows."""
    return list({*columns, *ORDER})
