"""Merge the files of single runs into parts. A crash at any point loses no row and counts none twice.

A journal names a new part and its inputs before the part appears. The inputs are removed afterwards;
`recover` completes what a journal lists. Everything here works on a local folder, under the store's lock.
"""

from __future__ import annotations

import contextlib
import json
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
from benchmark.store import selection
from benchmark.store.parquet import (
    PART_FORMAT,
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

_SMALL_BYTES, _SMALL_PARTS = 256 << 10, 16
"""From this number on, parts below this size are merged: about 15,000 short rows in memory at most."""
_LEFTOVER_S = 86_400
"""Age from which a temporary file is one that a killed writer left."""

Kept = tuple[list[int], bytes]
"""Identity of a row's file, and the row itself, packed in memory."""


def merge(paths: StorePaths, kept: Mapping[str, Kept]) -> int:
    """Merge files of single runs, and small parts where there are many; return the number of merged files.

    `kept` holds rows by the name of their file, which needn't be read again. Unmerged parts cost nothing,
    whatever their size.
    """
    runs, parts = _runs(paths), _parts(paths)
    small = [path for path in parts if path.stat().st_size < _SMALL_BYTES]
    chosen = [*(small if len(small) >= _SMALL_PARTS else []), *runs]
    if not chosen or (chosen == runs and len(runs) == 1 and not parts):  # nothing to merge
        return 0
    inputs = {path: identity(path.stat()) for path in chosen}
    known = [path for path in runs if path.name in kept and kept[path.name][0] == inputs[path]]
    unread = sorted(map(str, set(chosen).difference(known)))
    rows = [read(unread, fs.LocalFileSystem()), unpacked(kept[path.name][1] for path in known)]
    _replace(paths, inputs, newest(pa.concat_tables(rows).combine_chunks()), new_part(paths))
    return len(inputs)


def new_part(paths: StorePaths, moment: str | None = None) -> Path:
    """File name of a new part. Names sort by time: now, or that of the part which it replaces."""
    moment = moment or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return paths.part(f"{moment}-{uuid.uuid4().hex[:8]}")


def tidy(paths: StorePaths) -> int:
    """Rewrite parts with replaced rows or an older schema; return their number."""
    parts = _parts(paths)
    versions, identities = _identities(parts)
    rewritten = 0
    for path, written, counts in zip(parts, versions, _counting(identities), strict=True):
        if counts.all() and written >= SCHEMA_VERSION:
            continue
        if counts.any():
            rows = read([str(path)], fs.LocalFileSystem()).filter(pa.array(counts))
            _replace(paths, {path: identity(path.stat())}, rows, new_part(paths, _moment(path)))
        else:  # all its rows are replaced by newer ones in other parts
            path.unlink()
        rewritten += 1
    return rewritten


def separate(paths: StorePaths, folder_of: Callable[[str], StorePaths]) -> int:
    """Move rows that belong to another folder, as older versions stored them; return the number of files.

    They appear there before they are removed here: until then they are in the store twice, with one run_id.
    """
    local, moved = fs.LocalFileSystem(), 0
    for path in (*_parts(paths), *_runs(paths)):
        state = identity(path.stat())
        every = selection.origins(read([str(path)], local, list(selection.COLUMNS)))
        strays = {origin for origin in pc.unique(every).to_pylist() if folder_of(origin) != paths}
        if not strays:
            continue
        rows, moved = read([str(path)], local), moved + 1
        for origin in strays:
            home = folder_of(origin)
            part = serialised(rows.filter(pc.equal(every, origin)), PART_FORMAT)
            publish(part, new_part(home, _moment(path)), home)
        rest = rows.filter(pc.invert(pc.is_in(every, pa.array(sorted(strays)))))
        if len(rest):
            _replace(paths, {path: state}, rest, new_part(paths, _moment(path)))
        else:
            _remove(path, paths.temporary / f"{path.name}.aside", state)
    return moved


def recover(paths: StorePaths) -> None:
    """Complete interrupted compactions, and delete temporary files of killed writers."""
    for journal in paths.journal.glob("*.json"):
        _finish(paths, journal)
    for path in paths.temporary.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a living writer published it just now
            if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                path.unlink()


def _runs(paths: StorePaths) -> list[Path]:
    return sorted(paths.root.glob("run-*.parquet"))


def _parts(paths: StorePaths) -> list[Path]:
    return sorted(paths.root.glob("part-*.parquet"))


def _moment(part: Path) -> str | None:
    """Time in the name of a part; None for the file of a run."""
    kind, moment, *_ = part.stem.split("-")
    return moment if kind == "part" else None


def _identities(parts: Sequence[Path]) -> tuple[list[int], list[pa.Table]]:
    """Schema version of each part, and the columns that identify its newest rows."""
    versions, identities = [], []
    for path in parts:
        try:
            with pq.ParquetFile(path) as part:
                versions.append(version(part.schema_arrow))
                identities.append(part.read(["run_id", "finished_at"]))
        except pa.ArrowInvalid as error:  # arrow names no file
            raise pa.ArrowInvalid(f"{path.name}: {error}") from error
    return versions, identities


def _counting(identities: Sequence[pa.Table]) -> list[np.ndarray]:
    """Mask of each part: its rows that are the newest of their run."""
    if not identities:
        return []
    rows = pa.concat_tables(part.replace_schema_metadata() for part in identities)
    counts = np.ones(len(rows), bool)
    if pc.count_distinct(rows["run_id"]).as_py() < len(rows):
        counts[:] = False
        counts[last(rows)] = True
    return np.split(counts, np.cumsum([len(part) for part in identities])[:-1])


def _replace(paths: StorePaths, inputs: Mapping[Path, list[int]], rows: pa.Table, part: Path) -> None:
    """Publish rows as a part, then remove their input files."""
    journal = paths.journal / f"{part.stem}.json"
    entry = {"part": part.name, "inputs": [[path.name, *state] for path, state in inputs.items()]}
    publish(json.dumps(entry).encode(), journal, paths)
    publish(serialised(rows, PART_FORMAT), part, paths)
    _finish(paths, journal)


def _finish(paths: StorePaths, journal: Path) -> None:
    """Remove the inputs of a published part; an unpublished part has no effect."""
    entry = json.loads(journal.read_bytes())
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
