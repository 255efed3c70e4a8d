"""A store in a bucket: one object a row, read through copies on this host.

No object of rows ever changes: its name says its content. So a copy is as good as the object, a row that is
sent twice is there once, and a compaction needs no journal: a part appears, then its inputs are deleted.
Objects that can't be sent are kept in `outputs/unsent`, where this host reads them too.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pyarrow as pa

from benchmark.bucket.check import check, skewed
from benchmark.bucket.lease import Lease
from benchmark.bucket.objects import Bucket, Stored, endpoint_of
from benchmark.errors import BucketError
from benchmark.formatting import counted
from benchmark.paths import StorePaths, bucket_copies, unsent, write_whole
from benchmark.store.compaction import Kept
from benchmark.store.parquet import PART_FORMAT, ROW_FORMAT, packed, serialised
from benchmark.store.soundness import flaw

logger = logging.getLogger(__name__)

_LISTING_S: Final = 1.0
"""How long a listing counts as fresh; what this command writes is in it at once."""
_READERS: Final = 16
_NEXT_TRY_S: Final = 60.0
"""After a failure, rows are kept on this host for so long before the bucket is tried again."""


class BucketRows:
    """What a store needs of the place where its rows are, see `place.Place`."""

    in_order = False

    def __init__(self, address: str) -> None:
        """Connect to nothing yet.

        Raises:
            BucketError: the address is none of a bucket with a prefix.
        """
        self.bucket = Bucket(address)
        place = f"{self.bucket.address}{endpoint_of(address)}"
        self._copies, self._unsent = bucket_copies(place), unsent(place)
        self.root = self._copies / self.bucket.prefix
        self._listings: dict[StorePaths, tuple[float, list[Stored]]] = {}
        self._sizes: dict[Path, int] = {}
        self._as_sent = set[Path]()
        """Copies that this process made, or found undamaged."""
        self._next_try = 0.0
        self.kept: dict[str, Kept] = {}

    def has(self, paths: StorePaths) -> bool:
        """Whether a folder has an object."""
        return bool(self._listed(paths))

    def prepare(self, paths: StorePaths, anchor: bytes) -> None:
        """Test a new bucket, write the anchor, and send what could not be sent before.

        Raises:
            BucketError: the bucket can't be written, or lacks conditional writes.
        """
        if not self.has(paths) and (warning := self.check(paths)):
            logger.warning("%s", warning)
        self.bucket.put(self.key(paths.anchor), anchor)
        self._listings.pop(paths, None)
        self.send_kept()

    def check(self, paths: StorePaths) -> str:
        """Test whether the bucket does what a store needs; return what is wrong with the clock, or nothing.

        Raises:
            BucketError: it doesn't.
        """
        return skewed(check(self.bucket, self.key(paths.side)))

    def anchor(self, paths: StorePaths) -> bytes | None:
        """The anchor of a folder; None if there is none."""
        return self.read(paths.anchor)

    def add(self, row: pa.Table, paths: StorePaths) -> None:
        """Store a row, unless the same one is there. Where the bucket fails, keep it on this host.

        Raises:
            OSError: it can't be kept either.
        """
        what = hashlib.sha256(packed(row.drop_columns(["sequence"]).combine_chunks())).hexdigest()
        run_id = row["run_id"][0].as_py()
        self._send(serialised(row, ROW_FORMAT), paths.object(run_id, what[:16]), new=True)

    def publish(self, data: bytes, file: Path, paths: StorePaths) -> None:  # noqa: ARG002 - the seam's signature
        """Store a file of several rows, likewise."""
        self._send(data, file, new=True)

    def keep(self, data: bytes, file: Path, paths: StorePaths) -> None:  # noqa: ARG002
        """Write a file beside the rows, or replace it."""
        self._send(data, file, new=False)

    def read(self, file: Path) -> bytes | None:
        """Content of an object that isn't copied; None if there is none."""
        kept = self._unsent / self.key(file)
        if kept.is_file():
            return kept.read_bytes()
        found = self.bucket.get(self.key(file))
        return found.data if found else None

    def _send(self, data: bytes, file: Path, *, new: bool) -> None:
        """Write an object; one that is `new` only if it isn't there."""
        try:
            if time.monotonic() < self._next_try:
                self._keep(data, file)
                return
            if new:
                self.bucket.put_new(self.key(file), data)
            else:
                self.bucket.put(self.key(file), data)
        except BucketError as error:
            self._next_try = time.monotonic() + _NEXT_TRY_S
            self._keep(data, file)
            logger.warning(
                "%s; what can't be sent is kept in %s, and the next command with this store sends it",
                error,
                self._unsent,
            )
            return
        self.copy(file, data)
        self._listings = {paths: one for paths, one in self._listings.items() if paths.root != file.parent}

    def send_kept(self) -> int:
        """Send what could not be sent before; return the number of objects.

        Raises:
            BucketError: the bucket still can't be written.
        """
        kept = [file for file in self._unsent.rglob("*") if file.is_file() and not file.name.startswith(".")]
        for file in kept:
            with suppress(FileNotFoundError):  # another command has just sent it
                self.bucket.put(file.relative_to(self._unsent).as_posix(), file.read_bytes())
                file.unlink()
        if kept:
            self._listings.clear()
            logger.warning(
                "sent to %s: %s of earlier commands", self.bucket.address, counted(len(kept), "object")
            )
        return len(kept)

    def files(self, folders: Iterable[StorePaths]) -> list[Path]:
        """Files of rows, in the order of their names, not yet copied; those that could not be sent too."""
        found = []
        for paths in folders:
            listed = [one for one in self._listed(paths) if one.key.endswith(".parquet")]
            names = {self._copies / one.key: one.bytes for one in listed}
            names.pop(paths.anchor, None)
            self._sizes |= names
            found += [*names, *(self._unsent / self.key(paths.root)).glob("*.parquet")]
        return sorted(found, key=lambda file: (file.name, file))

    def fetch(self, files: Collection[Path]) -> None:
        """Copy the objects of these files that have no copy yet.

        Raises:
            FileNotFoundError: one was deleted since the listing: its rows are in a new part.
        """
        lacking = [file for file in files if file in self._sizes and not self._is_copied(file)]
        if not lacking:
            return
        with ThreadPoolExecutor(_READERS) as readers:
            for _ in readers.map(self._fetch, lacking):
                pass

    def again(self) -> None:
        """Forget listings: the next one asks the bucket."""
        self._listings.clear()

    def has_run(self, paths: StorePaths, run_id: str) -> bool:
        """Whether a run has an object of its own, by one request."""
        self.again()
        return bool(self.bucket.starting_with(self.key(paths.root), f"run-{run_id}."))

    def parts(self, paths: StorePaths) -> Collection[str]:
        """Keys of the objects of several rows, by one request."""
        return self.bucket.starting_with(self.key(paths.root), "part-")

    @contextmanager
    def alone(self, paths: StorePaths) -> Iterator[BucketFolder | None]:
        """Be the only host that changes a folder, as long as clocks agree; None: another one does."""
        with Lease(self.bucket, self.key(paths.compact_lock)) as lease:
            if lease.held:
                self.copied(paths)
            yield BucketFolder(self, paths) if lease.held else None

    def folder(self, paths: StorePaths) -> BucketFolder:
        """A folder into which rows of another one move."""
        return BucketFolder(self, paths)

    def copied(self, paths: StorePaths) -> None:
        """Make the copies of a folder those of what is in the bucket, and no others."""
        self.again()
        files = [file for file in self.files([paths]) if file.parent == paths.root]
        self.fetch(files)
        for stale in {*paths.root.glob("*.parquet")}.difference(files):
            stale.unlink(missing_ok=True)

    def delete(self, files: Collection[Path]) -> None:
        """Delete objects and their copies."""
        self.bucket.delete([self.key(file) for file in files])
        self.again()
        for file in files:
            file.unlink(missing_ok=True)

    def address(self, file: Path) -> str:
        """The address of a file's object."""
        return f"{self.bucket.address.removesuffix(self.bucket.prefix)}{self.key(file)}"

    def key(self, file: Path) -> str:
        """The key of a file's object."""
        return file.relative_to(self._copies).as_posix()

    def _listed(self, paths: StorePaths) -> list[Stored]:
        """Objects of a folder. While a part appears, one listing may miss both it and its inputs."""
        known = self._listings.get(paths)
        if known and time.monotonic() - known[0] < _LISTING_S:
            return known[1]
        found = self.bucket.listed(self.key(paths.root))
        while _parts(found) != _parts(again := self.bucket.listed(self.key(paths.root))):
            found = again
        self._listings[paths] = (time.monotonic(), again)
        return again

    def _is_copied(self, file: Path) -> bool:
        if file not in self._as_sent:
            with suppress(FileNotFoundError):
                if file.stat().st_size == self._sizes[file] and not flaw(file):
                    self._as_sent.add(file)
        return file in self._as_sent and file.exists()

    def _fetch(self, file: Path) -> None:
        found = self.bucket.get(self.key(file))
        if found is None:
            raise FileNotFoundError(file)
        self.copy(file, found.data)

    def copy(self, file: Path, data: bytes) -> None:
        """Keep a copy of an object of rows."""
        if file.suffix == ".parquet":
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, data)
            self._as_sent.add(file)

    def _keep(self, data: bytes, file: Path) -> None:
        kept = self._unsent / self.key(file)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, data)


class BucketFolder:
    """What a compaction changes, see `compaction.Folder`. An object's identity is its name."""

    def __init__(self, rows: BucketRows, paths: StorePaths) -> None:
        self.paths, self._rows = paths, rows

    def publish(self, rows: pa.Table, part: Path) -> None:
        """Store rows as a part.

        Raises:
            BucketError: it can't be written.
        """
        data = serialised(rows, PART_FORMAT)
        self._rows.bucket.put(self._rows.key(part), data)
        self._rows.copy(part, data)

    def replace(self, inputs: Mapping[Path, Sequence[int]], rows: pa.Table, part: Path) -> None:
        """Store rows as a part, then delete its inputs."""
        self.publish(rows, part)
        self.remove(inputs)

    def remove(self, inputs: Mapping[Path, Sequence[int]]) -> None:
        """Delete objects."""
        self._rows.delete([*inputs])

    def set_aside(self, file: Path) -> Path | str:
        """Move a damaged object to where nothing reads it; return its new address."""
        aside = self.paths.damaged / f"{file.name}.{uuid.uuid4().hex[:8]}"
        self._rows.bucket.put(self._rows.key(aside), file)
        self._rows.delete([file])
        return self._rows.address(aside)


def _parts(objects: Iterable[Stored]) -> set[str]:
    return {one.key for one in objects if one.key.rpartition("/")[2].startswith("part-")}
