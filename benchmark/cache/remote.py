"""Entries of the compile cache in a bucket, which hosts share: pulled before a build, pushed after it.

`<prefix>/files/<sha256>` is a file, named by its content; `<prefix>/entries/<key>.json` is the manifest of
an entry. The manifest is written last and only if absent: an entry is there whole or not at all, and of two
hosts that build one at the same time the first wins. A pulled file counts only with its digest.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from benchmark.bucket.objects import Bucket, Found
from benchmark.cache import trust
from benchmark.cache.manifest import KEY, FileFacts, Manifest
from benchmark.errors import BucketError, CacheError
from benchmark.host.machine import program
from benchmark.paths import CachePaths

log = logging.getLogger(__name__)

OWN: Final = frozenset({"peak"})
"""Kinds of entries that only the host that made them can use."""
_TIMEOUT_S: Final = 3600.0
"""Longest transfer of one file."""
_READERS: Final = 8
_NEXT_TRY_S: Final = 60.0
"""After a failure the bucket isn't asked for so long."""


class RemoteCache:
    """Entries below an address such as s3://bucket/cache."""

    def __init__(self, address: str) -> None:
        """Connect to nothing yet.

        Raises:
            BucketError: the address is none of a bucket with a prefix.
        """
        self._bucket = Bucket(address, timeout_s=_TIMEOUT_S)
        self.address = self._bucket.address
        self._entries, self._files = (f"{self._bucket.prefix}/{name}" for name in ("entries", "files"))
        self._damaged: dict[str, str | None] = {}
        """Tags of the manifests of entries that were refused: what is built instead replaces them."""
        self._next_try = 0.0

    def list_keys(self) -> list[str]:
        """Keys of all entries.

        Raises:
            BucketError: the bucket can't be read.
        """
        names = [
            one.key.rpartition("/")[2].removesuffix(".json") for one in self._bucket.listed(self._entries)
        ]
        return [name for name in names if KEY.fullmatch(name)]

    def manifests(self) -> Iterator[Manifest]:
        """Manifests of all entries; damaged ones are left out.

        Raises:
            BucketError: the bucket can't be read.
        """
        with ThreadPoolExecutor(_READERS) as readers:
            for found in readers.map(lambda key: self._bucket.get(self._manifest(key)), self.list_keys()):
                try:
                    if found:
                        yield Manifest.parse(found.data, "its manifest")
                except CacheError as error:
                    log.warning("an entry of %s is left out: %s", self.address, error)

    def pull(self, key: str, folder: Path) -> Manifest | None:
        """Write the files of an entry and its manifest into an empty folder; None if there is no such entry.

        Raises:
            CacheError: the entry isn't what its manifest says, or may not be loaded from here.
            BucketError: the bucket can't be read.
            OSError: the folder can't be written.
        """
        found = self._bucket.get(self._manifest(key))
        if found is None:
            return None
        manifest = self._usable(key, found)
        try:
            for name in manifest.files:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._download(name, manifest.files[name], target)
        except CacheError:
            self._damaged[key] = found.tag
            raise
        CachePaths(root=folder.parent).manifest(folder).write_bytes(found.data)
        return manifest

    def usable(self, key: str) -> Manifest | None:
        """Manifest of an entry that `pull` would take; None if there is none.

        Raises:
            CacheError: the manifest is damaged, or its entry may not be loaded from here.
            BucketError: the bucket can't be read.
        """
        found = self._bucket.get(self._manifest(key))
        return self._usable(key, found) if found else None

    def _usable(self, key: str, found: Found) -> Manifest:
        try:
            manifest = _manifest_of(key, found.data)
        except CacheError:
            self._damaged[key] = found.tag
            raise
        if manifest.made_of.get("pickled") and not trust.is_marked(self.address):
            raise CacheError(
                "torch unpickles it, which can run any code: if you trust all who can write there: "
                f"{program()} cache trust {self.address}"
            )
        return manifest

    def push(self, folder: Path, manifest: Manifest) -> bool:
        """Write an entry unless it is there, or replace one that was refused; return whether it was written.

        Raises:
            BucketError: the bucket can't be written.
            CacheError: the entry has just been removed.
        """
        target = self._manifest(manifest.key)
        refused = manifest.key in self._damaged
        if not refused and self._bucket.get(target) is not None:
            return False
        for name, file in manifest.files.items():
            self._bucket.put(f"{self._files}/{file.sha256}", folder / name)
        try:
            data = CachePaths(root=folder.parent).manifest(folder).read_bytes()
        except OSError as error:
            raise CacheError(f"entry {manifest.key} can't be read: {error.strerror}: run it again") from error
        if refused:
            return self._bucket.replace(target, data, self._damaged.pop(manifest.key))
        return self._bucket.put_new(target, data)

    def try_pull(self, key: str, folder: Path) -> Manifest | None:
        """`pull`, for a build: what fails is said, and the entry is built here."""
        if time.monotonic() < self._next_try:
            return None
        try:
            return self.pull(key, folder)
        except BucketError as error:
            self._next_try = time.monotonic() + _NEXT_TRY_S
            log.warning("%s; what it would give is built here", error)
        except CacheError as error:
            log.warning("entry %s of %s is not used, and built here: %s", key, self.address, error)
        return None

    def try_push(self, folder: Path, manifest: Manifest) -> None:
        """`push`, for a build: what fails is said, and the entry stays here."""
        if manifest.kind in OWN or time.monotonic() < self._next_try:
            return
        try:
            self.push(folder, manifest)
        except (BucketError, CacheError) as error:
            self._next_try = time.monotonic() + _NEXT_TRY_S
            log.warning("%s; what is built here is not shared: `cache push` does it later", error)

    def _manifest(self, key: str) -> str:
        return f"{self._entries}/{key}.json"

    def _download(self, name: str, file: FileFacts, target: Path) -> None:
        """Write a file as its manifest has it; nothing beyond its size is read."""
        digest, size = hashlib.sha256(), 0
        with target.open("xb") as writing:
            for chunk in self._bucket.chunks(f"{self._files}/{file.sha256}"):
                size += len(chunk)
                if size > file.bytes:
                    break
                digest.update(chunk)
                writing.write(chunk)
        if size != file.bytes or digest.hexdigest() != file.sha256:
            raise CacheError(f"{name} is not the file that its manifest names")


def _manifest_of(key: str, data: bytes) -> Manifest:
    manifest = Manifest.parse(data, "its manifest")
    if manifest.key != key or manifest.kind in OWN:
        raise CacheError(f"its manifest belongs to the {manifest.kind} {manifest.key}")
    for name in manifest.files:
        _refuse_outside(name)
    return manifest


def _refuse_outside(name: str) -> None:
    """Refuse the name of a file that doesn't lead into its entry, or to a manifest.

    Raises:
        CacheError: it leads elsewhere.
    """
    steps = name.split("/")
    if not name.isprintable() or "\\" in name or {"", ".", ".."} & {*steps} or name == "manifest.json":
        raise CacheError(f"{name!r} leads out of the entry")
