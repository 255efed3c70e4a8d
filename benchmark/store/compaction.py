"""Merge the files of single runs into parts. A crash at any point loses no row and counts none twice.

What it works on is a `Folder`: one of this host, or the copies of one in a bucket. In both a part appears
first, and its inputs are removed afterwards. Between the two, a row is there twice and counts once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from benchmark.paths import StorePaths
from benchmark.store import selection
from benchmark.store.parquet import ORDER, highest, identity, last, newest, read, unpacked, version
from benchmark.store.schema import SCHEMA_VERSION
from benchmark.store.soundness import SoundFiles

_SMALL_BYTES, _SMALL_PARTS = 256 << 10, 16
"""From this number on, parts below this size are merged: about 15,000 short rows in memory at most."""

Kept = tuple[list[int], bytes]
"""Identity of a row's file, and the row itself, packed in memory."""


class Folder(Protocol):
    """A folder of rows that can be changed, while others read it and write into it."""

    paths: StorePaths

    def publish(self, rows: pa.Table, part: Path) -> None:
        """Store rows as a part."""

    def replace(self, inputs: Mapping[Path, list[int]], rows: pa.Table, part: Path) -> None:
        """Store rows as a part, then remove their input files: those that still have their identity."""

    def remove(self, inputs: Mapping[Path, list[int]]) -> None:
        """Remove files that still have their identity."""

    def set_aside(self, file: Path) -> Path | str:
        """Move a damaged file to where nothing reads it; return its new place."""


def merge(folder: Folder, kept: Mapping[str, Kept], sound: SoundFiles) -> int:
    """Merge files of single runs, and small parts where there are many; return the number of merged files.

    `kept` holds rows by the name of their file, which needn't be read again. Unmerged parts cost nothing,
    whatever their size. Damaged files stay.
    """
    paths = folder.paths
    runs, parts = _runs(paths), _parts(paths)
    inputs = {path: identity(path.stat()) for path in (*parts, *runs)}
    known = [path for path in runs if path.name in kept and kept[path.name][0] == inputs[path]]
    small = [path for path in parts if path.stat().st_size < _SMALL_BYTES]
    merged = small if len(small) >= _SMALL_PARTS else []
    unread = sound.among(sorted({*merged, *runs}.difference(known)))
    if not (unread or known) or (not parts and len(unread) + len(known) == 1):  # nothing to merge
        return 0
    tables = [read([*map(str, unread)], fs.LocalFileSystem()), unpacked(kept[path.name][1] for path in known)]
    rows = newest(pa.concat_tables(tables).combine_chunks())
    merging = {path: inputs[path] for path in (*unread, *known)}
    folder.replace(merging, rows, new_part(paths, highest(rows)))
    return len(unread) + len(known)


def new_part(paths: StorePaths, number: int) -> Path:
    """File name of a new part whose highest sequence is this number.

    Names sort by it; the letter puts them after those of older versions, which begin with a time.
    """
    return paths.part(f"s{number:012d}-{uuid.uuid4().hex[:8]}")


def tidy(folder: Folder, sound: SoundFiles) -> int:
    """Rewrite parts with replaced rows or an older schema; return their number."""
    parts = sound.among(_parts(folder.paths))
    rewritten = 0
    for path, counts in zip(parts, _counting(parts), strict=True):
        if counts.all() and _version(path) >= SCHEMA_VERSION:
            continue
        state = {path: identity(path.stat())}
        if counts.any():
            rows = read([str(path)], fs.LocalFileSystem()).filter(pa.array(counts))
            folder.replace(state, rows, _renamed(folder.paths, path, rows))
        else:  # all its rows are replaced by newer ones in other parts
            folder.remove(state)
        rewritten += 1
    return rewritten


def separate(folder: Folder, folder_of: Callable[[str], Folder], sound: SoundFiles) -> int:
    """Move rows that belong to another folder, as older versions stored them; return the number of files.

    They appear there before they are removed here: until then they are in the store twice, with one run_id.
    """
    local, moved, paths = fs.LocalFileSystem(), 0, folder.paths
    for path in sound.among((*_parts(paths), *_runs(paths))):
        state = identity(path.stat())
        every = selection.origins(read([str(path)], local, list(selection.COLUMNS)))
        homes = {origin: folder_of(origin) for origin in pc.unique(every).to_pylist()}
        strays = {origin: home for origin, home in homes.items() if home.paths != paths}
        if not strays:
            continue
        rows, moved = read([str(path)], local), moved + 1
        for origin, home in strays.items():
            some = rows.filter(pc.equal(every, origin))
            home.publish(some, _renamed(home.paths, path, some))
        rest = rows.filter(pc.invert(pc.is_in(every, pa.array(sorted(strays)))))
        if len(rest):
            folder.replace({path: state}, rest, _renamed(paths, path, rest))
        else:
            folder.remove({path: state})
    return moved


def rewrite(folder: Folder, change: Callable[[pa.Table], pa.Table], sound: SoundFiles) -> int:
    """Replace each file whose rows `change` changes; return their number. Replaced rows are changed too."""
    rewritten, paths = 0, folder.paths
    for path in sound.among((*_parts(paths), *_runs(paths))):
        state, rows = identity(path.stat()), read([str(path)], fs.LocalFileSystem())
        if not (changed := change(rows)).equals(rows):
            folder.replace({path: state}, changed, _renamed(paths, path, rows))
            rewritten += 1
    return rewritten


def _runs(paths: StorePaths) -> list[Path]:
    return sorted(paths.root.glob("run-*.parquet"))


def _parts(paths: StorePaths) -> list[Path]:
    return sorted(paths.root.glob("part-*.parquet"))


def _renamed(paths: StorePaths, part: Path, rows: pa.Table) -> Path:
    """New name for rows of a part: its place in the order stays. A file of older versions keeps its time."""
    kind, place, *_ = part.stem.split("-")
    if kind == "part" and place[:1].isdecimal():
        return paths.part(f"{place}-{uuid.uuid4().hex[:8]}")
    return new_part(paths, highest(rows))


def _version(part: Path) -> int:
    return version(pq.read_schema(part))


def _counting(parts: Sequence[Path]) -> list[np.ndarray]:
    """Mask of each part: its rows that count, since no newer row of their run is in any part."""
    if not parts:
        return []
    each = [read([str(part)], fs.LocalFileSystem(), list(ORDER)) for part in parts]
    rows = pa.concat_tables(each)
    counts = np.ones(len(rows), bool)
    if pc.count_distinct(rows["run_id"]).as_py() < len(rows):
        counts[:] = False
        counts[last(rows)] = True
    return np.split(counts, np.cumsum([len(part) for part in each])[:-1])
