"""A folder of rows on this host. A crash at any point loses no row and counts none twice.

A journal names a new part and its inputs before the part appears; `recover` completes what a journal lists.
Everything here works under the store's lock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from benchmark.paths import StorePaths
from benchmark.sealed import opened, sealed
from benchmark.store.parquet import PART_FORMAT, identity, publish, serialised

logger = logging.getLogger(__name__)

_LEFTOVER_S = 86_400
"""Age from which a temporary file is one that a killed writer left."""


class LocalFolder:
    """What a compaction changes, see `compaction.Folder`."""

    def __init__(self, paths: StorePaths) -> None:
        self.paths = paths

    def publish(self, rows: pa.Table, part: Path) -> None:
        """Store rows as a part."""
        publish(serialised(rows, PART_FORMAT), part, self.paths)

    def replace(self, inputs: Mapping[Path, list[int]], rows: pa.Table, part: Path) -> None:
        """Publish rows as a part, then remove their input files."""
        journal = self.paths.journal / f"{part.stem}.json"
        entry = {"part": part.name, "inputs": [[path.name, *state] for path, state in inputs.items()]}
        publish(sealed(entry), journal, self.paths)
        self.publish(rows, part)
        self._finish(journal)

    def remove(self, inputs: Mapping[Path, list[int]]) -> None:
        """Remove files, unless a newer row has replaced one."""
        for path, state in inputs.items():
            _remove(path, self.paths.temporary / f"{path.name}.aside", state)

    def set_aside(self, file: Path) -> Path | str:
        """Move a damaged file to where nothing reads it; return its new place."""
        self.paths.damaged.mkdir(exist_ok=True)
        aside = self.paths.damaged / f"{file.name}.{uuid.uuid4().hex[:8]}"
        file.rename(aside)
        return aside

    def recover(self) -> None:
        """Complete interrupted compactions, and delete temporary files of killed writers."""
        for journal in self.paths.journal.glob("*.json"):
            self._finish(journal)
        for path in self.paths.temporary.iterdir():
            with contextlib.suppress(FileNotFoundError):  # a living writer published it just now
                if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                    path.unlink()

    def _finish(self, journal: Path) -> None:
        """Remove the inputs of a published part; an unpublished part has no effect.

        A damaged journal is set aside. Rows that it would have removed are there twice, and count once.
        """
        try:
            entry = opened(journal.read_bytes())
        except ValueError:
            aside = self.set_aside(journal)
            logger.warning(
                "a journal of the store was damaged, and is set aside as %s: no row is lost", aside
            )
            return
        if (self.paths.root / entry["part"]).exists():
            self.remove({self.paths.root / name: state for name, *state in entry["inputs"]})
        journal.unlink()


def _remove(path: Path, aside: Path, state: list[int]) -> None:
    """Remove an input unless a newer row replaced it.

    It may be replaced at any moment, so it is moved aside and checked again before it is deleted.
    """
    if not aside.exists() and path.exists() and identity(path.stat()) == state:
        path.rename(aside)
    if aside.exists():
        if identity(aside.stat()) != state:
            with contextlib.suppress(FileExistsError):  # a still newer row took its place
                os.link(aside, path)
        aside.unlink()
