"""Read-only lookup in the compile cache: no hashing, no building, no writing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from benchmark.cache.compile_cache import Entry
from benchmark.cache.manifest import Kind, Manifest, entry_key
from benchmark.cache.remote import RemoteCache
from benchmark.errors import BucketError, CacheError, RunFailure
from benchmark.paths import CachePaths

log = logging.getLogger(__name__)

T = TypeVar("T")


class NotCached(RunFailure):
    """Entry missing in a read-only lookup."""


class ReadOnlyCache:
    """Finds entries by their manifests, for commands that only plan; those of other hosts too."""

    def __init__(self, root: str | Path, remote: str | None = None) -> None:
        """`remote` is the address of the bucket from which a build would take what this folder lacks.

        Raises:
            BucketError: it is none of a bucket with a prefix.
        """
        self._paths = CachePaths(root=Path(root).expanduser().absolute())
        self._remote = None if remote is None else RemoteCache(remote)
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
        if key not in self._found:
            manifest = self._manifest(kind, key)
            self._found[key] = Entry(folder=self._paths.entry(key), manifest=manifest, hit=True, used_at=0)
        return self._found[key]

    def _manifest(self, kind: Kind, key: str) -> Manifest:
        try:
            if key in self._names:
                return Manifest.read(self._paths.manifest(self._paths.entry(key)))
            if self._remote and key in self._shared and (manifest := self._remote.usable(key)):
                return manifest
        except (CacheError, BucketError) as error:
            raise NotCached(str(error)) from error
        raise NotCached(f"{kind} is not in the cache")

    @cached_property
    def _shared(self) -> frozenset[str]:
        """Keys of the remote cache; none where it can't be read, which is said once."""
        try:
            return frozenset(self._remote.list_keys()) if self._remote else frozenset()
        except BucketError as error:
            log.warning("%s; what it holds counts as not compiled", error)
            return frozenset()


def cache_only(function: Callable[..., T], /, *arguments: Any) -> T:  # noqa: ARG001 - the seam's signature
    """Stand in for a child process: what needs one is not in the cache."""
    raise NotCached("not in the cache")
