"""The seam between a store and the place where its rows are: a folder of this host, or a bucket."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from benchmark.paths import StorePaths
from benchmark.store.compaction import Folder, Kept


class Place(Protocol):
    """Where the rows of a store are. Paths are those of the files, or of their copies on this host."""

    root: Path
    in_order: bool
    """Whether a file beside the rows counts those that all commands write."""
    kept: dict[str, Kept]
    """Rows of this command by the name of their file, for the next compaction."""

    def has(self, paths: StorePaths) -> bool:
        """Whether a folder is there."""

    def anchor(self, paths: StorePaths) -> bytes | None:
        """The anchor of a folder; None if there is none, or it is damaged."""

    def prepare(self, paths: StorePaths, anchor: bytes) -> None:
        """Make a folder ready for rows, and write its anchor."""

    def add(self, row: pa.Table, paths: StorePaths) -> None:
        """Store a row."""

    def publish(self, data: bytes, file: Path, paths: StorePaths) -> None:
        """Store a file of several rows."""

    def keep(self, data: bytes, file: Path, paths: StorePaths) -> None:
        """Write a file beside the rows, or replace it."""

    def read(self, file: Path) -> bytes | None:
        """Content of a file beside the rows; None if there is none."""

    def files(self, folders: Sequence[StorePaths]) -> list[Path]:
        """Files that contain all rows, in the order of their names."""

    def fetch(self, files: Collection[Path]) -> None:
        """Make these files readable on this host.

        Raises:
            FileNotFoundError: one was merged meanwhile: list again.
        """

    def again(self) -> None:
        """List files anew the next time."""

    def copied(self, paths: StorePaths) -> None:
        """Make a folder on this host the same as what is stored."""

    def alone(self, paths: StorePaths) -> AbstractContextManager[Folder | None]:
        """Be the only one who changes a folder; None: another command does."""

    def folder(self, paths: StorePaths) -> Folder:
        """A folder into which rows of another one move."""

    def has_run(self, paths: StorePaths, run_id: str) -> bool:
        """Whether a run has a file of its own."""

    def parts(self, paths: StorePaths) -> Collection[str]:
        """Names of the files of several rows."""

    def address(self, file: Path) -> str:
        """The address of a file's object; empty where files have none."""
