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
from pathlib import Path

import pyarrow.parquet as pq
from pyarrow import fs

from benchmark.parquet_files import PART_FORMAT, newest, publish, read, serialised, version
from benchmark.paths import StorePaths
from benchmark.schema import SCHEMA_VERSION

_SMALL_BYTES, _SMALL_PARTS = 32 << 20, 16
"""So many parts of less than so many bytes are merged into one."""
_LEFTOVER_S = 86_400
"""A temporary file this old was left by a writer that was killed."""


def merge(paths: StorePaths) -> int:
    """Merge what is worth merging; return the number of files that went into the new part."""
    runs = {path: _identity(path) for path in sorted(paths.root.glob("run-*.parquet"))}
    parts = {
        path: _identity(path) for path in _stale_parts(paths, {path.stem[len("run-") :] for path in runs})
    }
    inputs = {**parts, **runs}
    if not parts and len(runs) < 2:  # noqa: PLR2004 - one file is one file already
        return 0
    local = fs.LocalFileSystem()
    merged = newest(read([str(path) for path in inputs], local))
    part = paths.part(f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}")
    journal = paths.journal / f"{part.stem}.json"
    told = {"part": part.name, "inputs": [[path.name, *identity] for path, identity in inputs.items()]}
    publish(json.dumps(told).encode(), journal, paths)
    publish(serialised(merged, PART_FORMAT), part, paths)
    _finish(paths, journal)
    return len(inputs)


def _stale_parts(paths: StorePaths, run_ids: set[str]) -> list[Path]:
    """Parts to be written anew: with a run that was run again, of an older schema, or small and many."""
    stale, small = [], []
    for path in sorted(paths.root.glob("part-*.parquet")):
        with pq.ParquetFile(path) as part:
            outdated = version(part.schema_arrow) < SCHEMA_VERSION
            again = not run_ids.isdisjoint(part.read(["run_id"])["run_id"].to_pylist())
        if outdated or again:
            stale.append(path)
        elif path.stat().st_size < _SMALL_BYTES:
            small.append(path)
    return stale + (small if len(small) >= _SMALL_PARTS else [])


def recover(paths: StorePaths) -> None:
    """End compactions that were killed, and clear away files of writers that were."""
    for journal in paths.journal.glob("*.json"):
        _finish(paths, journal)
    for path in paths.temporary.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a living writer's, published meanwhile
            if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                path.unlink()


def _finish(paths: StorePaths, journal: Path) -> None:
    """Remove the inputs of a part that was published; one that was not never happened."""
    told = json.loads(journal.read_bytes())
    if (paths.root / told["part"]).exists():
        for name, *identity in told["inputs"]:
            _remove(paths.root / name, paths.temporary / f"{name}.aside", identity)
    journal.unlink()


def _remove(path: Path, aside: Path, identity: list[int]) -> None:
    """Remove an input unless it was replaced: a run that was run again keeps its file.

    Moved aside and looked at again before it is gone, because it may be replaced at any moment.
    """
    if not aside.exists() and path.exists() and _identity(path) == identity:
        path.rename(aside)
    if aside.exists():
        if _identity(aside) != identity:
            with contextlib.suppress(FileExistsError):  # a still newer row stands there
                os.link(aside, path)
        aside.unlink()


def _identity(path: Path) -> list[int]:
    """Inode and time of the last change: whether a file is the one that was read."""
    state = path.stat()
    return [state.st_ino, state.st_mtime_ns]
