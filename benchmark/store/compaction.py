"""Merge the files of single runs into parts: wherever the program dies, no row is lost and each counts once.

A journal names the new part before it appears, its inputs are removed after, and `recover` ends what a
journal tells of. Everything here works on a local folder, under the store's lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from benchmark.paths import StorePaths
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
"""So many parts of less than so many bytes are merged into one: some 15,000 short rows in memory at most."""
_LEFTOVER_S = 86_400
"""A temporary file this old was left by a writer that was killed."""

Kept = tuple[list[int], bytes]
"""A row still in memory, packed, and the identity of the file it was written to."""


def merge(paths: StorePaths, kept: Mapping[str, Kept]) -> int:
    """Merge the files of single runs, and small parts where there are many; return how many files went in.

    `kept` holds rows by the name of their file: those are not read again. Parts that are left alone cost
    nothing, however many rows they hold.
    """
    runs, parts = sorted(paths.root.glob("run-*.parquet")), _parts(paths)
    small = [path for path in parts if path.stat().st_size < _SMALL_BYTES]
    chosen = [*(small if len(small) >= _SMALL_PARTS else []), *runs]
    if not chosen or (chosen == runs and len(runs) == 1 and not parts):  # one file is one file already
        return 0
    inputs = {path: identity(path.stat()) for path in chosen}
    known = [path for path in runs if path.name in kept and kept[path.name][0] == inputs[path]]
    unread = sorted(map(str, set(chosen).difference(known)))
    rows = [read(unread, fs.LocalFileSystem()), unpacked(kept[path.name][1] for path in known)]
    _replace(paths, inputs, newest(pa.concat_tables(rows).combine_chunks()), new_part(paths))
    return len(inputs)


def new_part(paths: StorePaths, moment: str | None = None) -> Path:
    """File for a new part; names sort by time, which is now unless it takes the place of an older one."""
    moment = moment or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return paths.part(f"{moment}-{uuid.uuid4().hex[:8]}")


def tidy(paths: StorePaths) -> int:
    """Rewrite parts that hold rows of runs that were run again, or an older schema; return how many."""
    parts = _parts(paths)
    versions, identities = _identities(parts)
    rewritten = 0
    for path, written, counts in zip(parts, versions, _counting(identities), strict=True):
        if counts.all() and written >= SCHEMA_VERSION:
            continue
        if counts.any():
            rows = read([str(path)], fs.LocalFileSystem()).filter(pa.array(counts))
            _replace(paths, {path: identity(path.stat())}, rows, new_part(paths, path.stem.split("-")[1]))
        else:  # each of its rows has a newer one in another part
            path.unlink()
        rewritten += 1
    return rewritten


def recover(paths: StorePaths) -> None:
    """End compactions that were killed, and clear away files of writers that were."""
    for journal in paths.journal.glob("*.json"):
        _finish(paths, journal)
    for path in paths.temporary.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a living writer's, published meanwhile
            if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                path.unlink()


def _parts(paths: StorePaths) -> list[Path]:
    return sorted(paths.root.glob("part-*.parquet"))


def _identities(parts: Sequence[Path]) -> tuple[list[int], list[pa.Table]]:
    """For each part the schema version it was written in, and what tells which of its rows count."""
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
    """For each part, which of its rows are the newest of their run."""
    if not identities:
        return []
    rows = pa.concat_tables(part.replace_schema_metadata() for part in identities)
    counts = np.ones(len(rows), bool)
    if pc.count_distinct(rows["run_id"]).as_py() < len(rows):
        counts[:] = False
        counts[last(rows)] = True
    return np.split(counts, np.cumsum([len(part) for part in identities])[:-1])


def _replace(paths: StorePaths, inputs: Mapping[Path, list[int]], rows: pa.Table, part: Path) -> None:
    """Publish rows as a part, and remove the files that they come from."""
    journal = paths.journal / f"{part.stem}.json"
    told = {"part": part.name, "inputs": [[path.name, *state] for path, state in inputs.items()]}
    publish(json.dumps(told).encode(), journal, paths)
    publish(serialised(rows, PART_FORMAT), part, paths)
    _finish(paths, journal)


def _finish(paths: StorePaths, journal: Path) -> None:
    """Remove the inputs of a part that was published; one that was not never happened."""
    told = json.loads(journal.read_bytes())
    if (paths.root / told["part"]).exists():
        for name, *state in told["inputs"]:
            _remove(paths.root / name, paths.temporary / f"{name}.aside", state)
    journal.unlink()


def _remove(path: Path, aside: Path, state: list[int]) -> None:
    """Remove an input unless it was replaced: a run that was run again keeps its file.

    Moved aside and looked at again before it is gone, because it may be replaced at any moment.
    """
    if not aside.exists() and path.exists() and identity(path.stat()) == state:
        path.rename(aside)
    if aside.exists():
        if identity(aside.stat()) != state:
            with contextlib.suppress(FileExistsError):  # a still newer row stands there
                os.link(aside, path)
        aside.unlink()
