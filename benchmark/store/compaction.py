"""Merge the files of single runs into parts. A crash at any point loses no row and counts none twice.

A journal names a new part and its inputs before the part appears. The inputs are removed afterwards;
`recover` completes what a journal lists. Everything here works on a local folder, under the store's lock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from benchmark.paths import StorePaths
from benchmark.sealed import opened, sealed
from benchmark.store import selection
from benchmark.store.parquet import (
    ORDER,
    PART_FORMAT,
    highest,
    identity,
    last,
    newest,
    publish,
    read,
    serialised,
    unpacked,
    version,
)
from benchmark.store.schema import SCHEMA_VERSION
from benchmark.store.soundness import SoundFiles

logger = logging.getLogger(__name__)

_SMALL_BYTES, _SMALL_PARTS = 256 << 10, 16
"""From this number on, parts below this size are merged: about 15,000 short rows in memory at most."""
_LEFTOVER_S = 86_400
"""Age from which a temporary file is one that a killed writer left."""

Kept = tuple[list[int], bytes]
"""Identity of a row's file, and the row itself, packed in memory."""


def merge(paths: StorePaths, kept: Mapping[str, Kept], sound: SoundFiles) -> int:
    """Merge files of single runs, and small parts where there are many; return the number of merged files.

    `kept` holds rows by the name of their file, which needn't be read again. Unmerged parts cost nothing,
    whatever their size. Damaged files stay.
    """
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
    _replace(paths, {path: inputs[path] for path in (*unread, *known)}, rows, new_part(paths, highest(rows)))
    return len(unread) + len(known)


def new_part(paths: StorePaths, number: int) -> Path:
    """File name of a new part whose highest sequence is this number.

    Names sort by it; the letter puts them after those of older versions, which begin with a time.
    """
    return paths.part(f"s{number:012d}-{uuid.uuid4().hex[:8]}")


def tidy(paths: StorePaths, sound: SoundFiles) -> int:
    """Rewrite parts with replaced rows or an older schema; return their number."""
    parts = sound.among(_parts(paths))
    rewritten = 0
    for path, counts in zip(parts, _counting(parts), strict=True):
        if counts.all() and _version(path) >= SCHEMA_VERSION:
            continue
        if counts.any():
            rows = read([str(path)], fs.LocalFileSystem()).filter(pa.array(counts))
            _replace(paths, {path: identity(path.stat())}, rows, _renamed(paths, path, rows))
        else:  # all its rows are replaced by newer ones in other parts
            path.unlink()
        rewritten += 1
    return rewritten


def separate(paths: StorePaths, folder_of: Callable[[str], StorePaths], sound: SoundFiles) -> int:
    """Move rows that belong to another folder, as older versions stored them; return the number of files.

    They appear there before they are removed here: until then they are in the store twice, with one run_id.
    """
    local, moved = fs.LocalFileSystem(), 0
    for path in sound.among((*_parts(paths), *_runs(paths))):
        state = identity(path.stat())
        every = selection.origins(read([str(path)], local, list(selection.COLUMNS)))
        strays = {origin for origin in pc.unique(every).to_pylist() if folder_of(origin) != paths}
        if not strays:
            continue
        rows, moved = read([str(path)], local), moved + 1
        for origin in strays:
            home, some = folder_of(origin), rows.filter(pc.equal(every, origin))
            publish(serialised(some, PART_FORMAT), _renamed(home, path, some), home)
        rest = rows.filter(pc.invert(pc.is_in(every, pa.array(sorted(strays)))))
        if len(rest):
            _replace(paths, {path: state}, rest, _renamed(paths, path, rest))
        else:
            _remove(path, paths.temporary / f"{path.name}.aside", state)
    return moved


def rewrite(paths: StorePaths, change: Callable[[pa.Table], pa.Table], sound: SoundFiles) -> int:
    """Replace each file whose rows `change` changes; return their number. Replaced rows are changed too."""
    rewritten = 0
    for path in sound.among((*_parts(paths), *_runs(paths))):
        state, rows = identity(path.stat()), read([str(path)], fs.LocalFileSystem())
        if not (changed := change(rows)).equals(rows):
            _replace(paths, {path: state}, changed, _renamed(paths, path, rows))
            rewritten += 1
    return rewritten


def recover(paths: StorePaths) -> None:
    """Complete interrupted compactions, and delete temporary files of killed writers."""
    for journal in paths.journal.glob("*.json"):
        _finish(paths, journal)
    for path in paths.temporary.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a living writer published it just now
            if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                path.unlink()


def set_aside(file: Path, paths: StorePaths) -> Path:
    """Move a damaged file to where nothing reads it; return its new place."""
    paths.damaged.mkdir(exist_ok=True)
    aside = paths.damaged / f"{file.name}.{uuid.uuid4().hex[:8]}"
    file.rename(aside)
    return aside


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


def _replace(paths: StorePaths, inputs: Mapping[Path, list[int]], rows: pa.Table, part: Path) -> None:
    """Publish rows as a part, then remove their input files."""
    journal = paths.journal / f"{part.stem}.json"
    entry = {"part": part.name, "inputs": [[path.name, *state] for path, state in inputs.items()]}
    publish(sealed(entry), journal, paths)
    publish(serialised(rows, PART_FORMAT), part, paths)
    _finish(paths, journal)


def _finish(paths: StorePaths, journal: Path) -> None:
    """Remove the inputs of a published part; an unpublished part has no effect.

    A damaged journal is set aside. Rows that it would have removed are in the store twice, and count once.
    """
    try:
        entry = opened(journal.read_bytes())
    except ValueError:
        aside = set_aside(journal, paths)
        logger.warning("a journal of the store was damaged, and is set aside as %s: no row is lost", aside)
        return
    if (paths.root / entry["part"]).exists():
        for name, *state in entry["inputs"]:
            _remove(paths.root / name, paths.temporary / f"{name}.aside", state)
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
