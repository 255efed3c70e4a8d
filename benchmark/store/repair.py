"""Find damaged and foreign files of a store, set them aside, and say which rows are lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.paths import StorePaths
from benchmark.records import frozen
from benchmark.sealed import opened
from benchmark.store.compaction import Folder, new_part
from benchmark.store.parquet import highest, row_groups
from benchmark.store.soundness import FOREIGN, flaw

_ENDING: Final = ".parquet"


@frozen
class Flaw:
    """A file that isn't read, or whose content isn't used."""

    file: Path
    reason: str
    run_ids: tuple[str, ...] = ()
    """Runs that have a row in it, as far as they can be read."""
    unnamed: int | None = 0
    """Rows in it whose runs can't be read; null: not even their number is known."""
    address: str = ""
    """Of the object whose copy the file is, where the store is in a bucket."""

    @property
    def name(self) -> str:
        """The file or the object, for people."""
        return self.address or str(self.file)


@frozen
class Repair:
    """A file that was set aside."""

    flaw: Flaw
    aside: Path | str
    lost: tuple[str, ...]
    """Runs without a row now."""
    older: tuple[str, ...]
    """Runs that now count with an earlier row of theirs, or the same one from another file."""


def flaws(folders: Collection[StorePaths]) -> Iterator[Flaw]:
    """What is wrong in the folders of a store."""
    for paths in folders:
        for file in sorted(paths.root.iterdir()) if paths.root.is_dir() else ():
            if file.name.startswith("."):
                continue
            if file.suffix != _ENDING or not file.is_file():
                yield Flaw(file=file, reason="it is no file of rows")
            elif reason := flaw(file):
                yield _with_runs(file, reason, paths)
        for journal in sorted(paths.journal.glob("*.json")):
            try:
                opened(journal.read_bytes())
            except (OSError, ValueError) as error:
                yield Flaw(file=journal, reason=f"a journal: {error}")


def mend(found: Flaw, folder: Folder, elsewhere: Collection[str]) -> Repair:
    """Set a file aside; rows that are known to be intact go into a new one.

    `elsewhere` are the runs that have a row in a sound file.
    """
    kept = set[str]()
    if found.file.name.startswith("part-") and (rows := _intact(found.file)):
        kept = {*rows["run_id"].to_pylist()}
        folder.publish(rows, new_part(folder.paths, highest(rows)))
    gone = [run for run in found.run_ids if run not in kept]
    return Repair(
        flaw=found,
        aside=folder.set_aside(found.file),
        lost=tuple(run for run in gone if run not in elsewhere),
        older=tuple(run for run in gone if run in elsewhere),
    )


def _with_runs(file: Path, reason: str, paths: StorePaths) -> Flaw:
    if file == paths.anchor or reason.startswith(FOREIGN):  # neither holds a row
        return Flaw(file=file, reason=reason)
    if run_id := StorePaths.run_id(file):
        return Flaw(file=file, reason=reason, run_ids=(run_id,))
    try:
        found = pq.read_table(file, columns=["run_id"], page_checksum_verification=True)["run_id"].to_pylist()
    except (OSError, pa.ArrowException, KeyError):
        return Flaw(file=file, reason=reason, unnamed=_rows(file) if file.name.startswith("part-") else 0)
    return Flaw(file=file, reason=reason, run_ids=tuple(map(str, found)))


def _rows(file: Path) -> int | None:
    try:
        return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException):
        return None


def _intact(file: Path) -> pa.Table | None:
    """Rows of the groups whose pages have their checksums, where the pages of another group have not.

    Where no page differs from its checksum, the damage may be anywhere, so that no row is trusted.
    """
    intact, damaged = list[pa.Table](), False
    try:
        for group in row_groups(file):
            try:
                intact.append(group())
            except (OSError, pa.ArrowException):
                damaged = True
    except (OSError, pa.ArrowException):  # the footer
        return None
    return pa.concat_tables(intact) if damaged and intact else None
