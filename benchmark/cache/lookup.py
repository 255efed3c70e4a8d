"""Looking ahead: what the compile cache holds, without hashing, building or writing anything."""

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
    """Something that somebody who only looks doesn't find."""


class ReadOnlyCache:
    """The cache for those who only want to know what is there: it finds entries by their manifests."""

    def __init__(self, root: str | Path) -> None:
        self._paths = CachePaths(root=Path(root).expanduser().absolute())
        self._found: dict[str, Entry] = {}
        found = os.scandir(self._paths.root) if self._paths.root.is_dir() else ()
        self._names = {entry.name for entry in found}

    def get_or_build(
        self,
        kind: Kind,
        made_of: Mapping[str, Any],
        build: Callable[[Path], Mapping[str, Any]],  # noqa: ARG002 - the seam's signature
    ) -> Entry:
        """Return the entry if its manifest is there.

        Raises:
            NotCached: it isn't.
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
    """Stand in for a child: whoever needs one learns that the cache doesn't hold what it wants."""
    raise NotCached("not in the cache")
