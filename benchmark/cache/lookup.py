"""Read-only lookup in the compile cache: no hashing, no building, no writing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from benchmark.cache.compile_cache import Entry
from benchmark.cache.manifest import Kind, Manifest, entry_key
from benchmark.errors import CacheError, RunFailure
from benchmark.paths import CachePaths

T = TypeVar("T")


class NotCached(RunFailure):
    """Entry missing in a read-only lookup."""


class ReadOnlyCache:
    """Finds entries by their manifests, for commands that only plan."""

    def __init__(self, root: str | Path) -> None:
        self._paths = CachePaths(root=Path(root).expanduser().absolute())
        self._found: dict[str, Entry] = {}
        folders = os.scandir(self._paths.root) if self._paths.root.is_dir() else ()
        self._names = {folder.name for folder in folders}

    def get_or_build(
        self,
        kind: Kind,
        made_of: Mapping[str, Any],
        build: Callable[[Path], Mapping[str, Any]],  # noqa: ARG002 - the seam's signature
    ) -> Entry:
        """Return the entry if its manifest is there.

        Raises:
            NotCached: it is not there.
        """
        key = entry_key(kind, made_of)
        if key not in self._names:
            raise NotCached(f"{kind} is not in the cache")
        if key not in self._found:
            folder = self._paths.entry(key)
            try:
                manifest = Manifest.read(self._paths.manifest(folder))
            except CacheError as error:
                raise NotCached(str(error)) from error
            self._found[key] = Entry(folder=folder, manifest=manifest, hit=True, used_at=0)
        return self._found[key]


def cache_only(function: Callable[..., T], /, *arguments: Any) -> T:  # noqa: ARG001 - the seam's signature
    """Stand in for a child process: what needs one is not in the cache."""
    raise NotCached("not in the cache")
