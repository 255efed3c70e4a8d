"""A store in a folder of this host: one file a run, appended without locks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa
from filelock import FileLock, Timeout

from benchmark.errors import StoreError
from benchmark.paths import StorePaths
from benchmark.redaction import without_secrets
from benchmark.store.compaction import Kept
from benchmark.store.local_folder import LocalFolder
from benchmark.store.parquet import ROW_FORMAT, packed, parts, publish, serialised
from benchmark.store.soundness import flaw

_MOST_KEPT: Final = 2_000
_MOST_BYTES: Final = 32 << 10
"""Most of its own rows that a store keeps in memory for the next compaction, and most bytes of each."""


class LocalRows:
    """What a store needs of the place where its rows are, see `place.Place`."""

    in_order = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kept: dict[str, Kept] = {}

    def has(self, paths: StorePaths) -> bool:
        """Whether a folder is there."""
        return paths.root.is_dir()

    def prepare(self, paths: StorePaths, anchor: bytes) -> None:
        """Make a folder ready: create it and its anchor, complete an interrupted compaction."""
        for folder in (paths.root, paths.temporary, paths.journal):
            folder.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout), FileLock(paths.compact_lock, timeout=0):
            LocalFolder(paths).recover()
        publish(anchor, paths.anchor, paths)

    def anchor(self, paths: StorePaths) -> bytes | None:
        """The anchor of a folder; None if there is none, or it is damaged."""
        try:
            return None if flaw(paths.anchor) else paths.anchor.read_bytes()
        except FileNotFoundError:
            return None

    def add(self, row: pa.Table, paths: StorePaths) -> None:
        """Store a row; it replaces the earlier one of its run."""
        target = paths.run(row["run_id"][0].as_py())
        published = publish(serialised(row, ROW_FORMAT), target, paths)
        if len(self.kept) < _MOST_KEPT and len(row_bytes := packed(row)) <= _MOST_BYTES:
            self.kept[target.name] = (published, row_bytes)

    def publish(self, data: bytes, file: Path, paths: StorePaths) -> None:
        """Store a file of several rows."""
        publish(data, file, paths)

    def read(self, file: Path) -> bytes | None:
        """Content of a file beside the rows; None if there is none."""
        return file.read_bytes() if file.is_file() else None

    def keep(self, data: bytes, file: Path, paths: StorePaths) -> None:
        """Write a file beside the rows, or replace it."""
        for folder in (file.parent, paths.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        publish(data, file, paths)

    def files(self, folders: Sequence[StorePaths]) -> list[Path]:
        """Files that contain all rows. While a part appears, one listing may miss both it and its inputs."""
        files = _files(folders)
        while parts(files) != parts(again := _files(folders)):
            files = again
        return files

    def fetch(self, files: Collection[Path]) -> None:
        """Nothing to do: they are here."""

    def again(self) -> None:
        """Nothing to do: every listing is new."""

    @contextmanager
    def alone(self, paths: StorePaths) -> Iterator[LocalFolder | None]:
        """Be the only one who changes a folder; None: another command does."""
        lock = FileLock(paths.compact_lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield None
            return
        try:
            folder = LocalFolder(paths)
            folder.recover()
            yield folder
        finally:
            lock.release()

    def folder(self, paths: StorePaths) -> LocalFolder:
        """A folder into which rows of another one move."""
        return LocalFolder(paths)

    def has_run(self, paths: StorePaths, run_id: str) -> bool:
        """Whether a run has a file of its own."""
        return paths.run(run_id).exists()

    def parts(self, paths: StorePaths) -> Collection[str]:
        """Names of the files of several rows."""
        return [part.name for part in paths.root.glob("part-*.parquet")]

    def copied(self, paths: StorePaths) -> None:
        """Nothing to do: they are here."""

    def address(self, file: Path) -> str:  # noqa: ARG002 - it has none
        """No address: a file has a name."""
        return ""


def folder_of(root: str | Path) -> Path:
    """A local folder.

    Raises:
        StoreError: it is an address that no library here opens.
    """
    if isinstance(root, str) and "://" in root:
        if root.startswith("file://"):
            return Path(url2pathname(urlsplit(root).path))
        raise StoreError(
            f"store {without_secrets(root)} can't be opened: it is no bucket: give a folder, or s3://bucket/prefix"
        )
    return Path(root).expanduser().absolute()


def _files(folders: Sequence[StorePaths]) -> list[Path]:
    found = [
        file
        for number, paths in enumerate(folders)
        if number == 0 or paths.root.is_dir()
        for file in paths.root.iterdir()
        if file.suffix == ".parquet" and file != paths.anchor
    ]
    return sorted(found, key=attrgetter("name", "parent"))
