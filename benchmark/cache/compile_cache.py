"""Cache of compiled artefacts, weights, references and machine peaks by content key.

An entry is built once and appears whole. `<root>/<key>/` holds its files and its manifest. Builds happen in
`<root>/.tmp` and arrive by rename. Entries that don't match their manifest are moved to `<root>/.damaged`.
Nothing is unpickled here. Only torch unpickles, and only artefacts that are torch's own caches. A remote
cache, in a bucket, gives what other hosts have built.
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from benchmark.cache import trust
from benchmark.cache.manifest import (
    KEY,
    SYNC_AFTER_S,
    Kind,
    Manifest,
    Stamps,
    check_hashes,
    entry_key,
    fsync,
    seal,
    stamp,
)
from benchmark.cache.remote import RemoteCache
from benchmark.cache.workdirs import delete, is_abandoned, work_name
from benchmark.errors import CacheError
from benchmark.host.mutex import Mutex
from benchmark.paths import CachePaths
from benchmark.records import frozen
from benchmark.redaction import without_secrets

log = logging.getLogger(__name__)


@frozen
class Entry:
    """A finished entry, ready to load."""

    folder: Path
    manifest: Manifest
    hit: bool
    """Whether it was in the cache; false if this call built it."""
    used_at: float
    """Last use, in seconds since the epoch."""

    @property
    def bytes(self) -> int:
        """Size of all files except the manifest."""
        return self.manifest.total_bytes


class Entries(Protocol):
    """Where stages get their entries: the cache, or a read-only lookup in it."""

    def get_or_build(
        self, kind: Kind, made_of: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]
    ) -> Entry:
        """Return the entry made of these parts, as `CompileCache` does."""


class CompileCache:
    """Entries by content key in one folder, which processes and hosts may share.

    In memory it keeps only the stamps of the entries whose hashes it has checked.
    """

    def __init__(self, root: str | Path, remote: str | None = None) -> None:
        """With `remote`, the address of a bucket, what this folder lacks is taken from there if it has it.

        Raises:
            CacheError: the root is a URL.
            BucketError: `remote` is none of a bucket with a prefix.
        """
        if "://" in str(root):
            raise CacheError(
                f"cache.root={without_secrets(str(root))} is a URL: the cache works on files, so choose a "
                "folder; cache.remote= names a bucket that it shares with other hosts"
            )
        self.remote = None if remote is None else RemoteCache(remote)
        self.root = Path(root).expanduser().absolute()
        self._paths = CachePaths(root=self.root)
        self._trusted: dict[str, Stamps] = {}

    def prepare(self) -> None:
        """Create the folders, and delete the work folders of dead builders.

        A cache that is there but can't be written gets a warning: what is in it can be used.

        Raises:
            CacheError: the folder isn't there and can't be made, or another user can write it.
        """
        trust.refuse_foreign(self.root)
        try:
            with self._writing():
                self.root.mkdir(mode=0o755, parents=True, exist_ok=True)  # whatever the umask: see `trust`
                for folder in (self._paths.temporary, self._paths.damaged):
                    folder.mkdir(exist_ok=True)
                with tempfile.TemporaryFile(dir=self._paths.temporary):
                    pass  # mode bits don't show whether the mount allows writing
        except CacheError as error:
            if not self._folders():
                raise
            log.warning("only what is in it can be used: %s", error)
        else:
            self._sweep()

    def find(self, key: str) -> Entry | None:
        """Return the entry if it exists and is intact. A damaged one is moved aside with a warning.

        Sizes are checked always; hashes on the first use, and again when a file has changed.

        Raises:
            CacheError: `key` is not a valid key.
        """
        folder = self._folder(key)
        with suppress(CacheError):
            return self._intact(folder)
        with self._locked(key, wait=False) as locked:
            # Another process holds the key and is rebuilding the entry, so it counts as missing.
            return self._intact_or_moved_aside(folder) if locked else None

    def get_or_build(
        self, kind: Kind, made_of: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]
    ) -> Entry:
        """Return the entry made of these parts. If there is none, `build` writes its files into a folder.

        One process per host builds a key while the others wait. `build` returns the facts of the manifest.
        Its exceptions pass through, and its folder is deleted.

        Raises:
            CacheError: the cache can't be written, another user can write it, or the build left a link or a
                special file.
        """
        key = entry_key(kind, made_of)
        trust.refuse_foreign(self.root)
        if entry := self.find(key):
            return entry
        with self._locked(key, wait=True):
            if entry := self._intact_or_moved_aside(self._folder(key)) or self.pulled(key):
                return entry
            building = self._paths.temporary / work_name()
            try:
                with self._writing():
                    self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
                    building.mkdir(parents=True)
                started = time.perf_counter()
                facts = build(building)
                made_s = time.perf_counter() - started
                with self._writing():
                    manifest = seal(building, kind, key, made_of, made_s, facts)
                    trust.protect(building)
                    entry = self._publish(building, manifest)
                if self.remote and not entry.hit:
                    self.remote.try_push(entry.folder, manifest)
                return entry
            finally:
                delete(building)

    def local(self) -> CompileCache:
        """The same folder, without what other hosts have."""
        if self.remote is None:
            return self
        here = CompileCache(self.root)
        here._trusted = self._trusted
        return here

    def pulled(self, key: str) -> Entry | None:
        """Take an entry from the remote cache, if there is one that has it and may be used."""
        if self.remote is None:
            return None
        arriving = self._paths.temporary / work_name()
        try:
            with self._writing():
                arriving.mkdir(parents=True)
                manifest = self.remote.try_pull(key, arriving)
                if manifest is None:
                    return None
                trust.protect(arriving)
                return replace(self._publish(arriving, manifest), hit=True)
        finally:
            delete(arriving)

    def entries(self) -> list[Entry]:
        """List the entries by key without checking files. Unreadable entries are left out."""
        listed = []
        for folder in self._folders():
            used_at = self._used_at(folder)
            if used_at is not None:
                with suppress(CacheError):
                    manifest = self._manifest(folder)
                    listed.append(Entry(folder=folder, manifest=manifest, hit=True, used_at=used_at))
        return listed

    def verify(self) -> list[tuple[str, str]]:
        """Hash every file; return key and problem of each damaged entry. Damaged entries stay in place."""
        return [(folder.name, damage) for folder in self._folders() if (damage := self._damage(folder))]

    def gc(
        self,
        limit_bytes: int,
        keep: frozenset[str] = frozenset(),
        min_age_s: float = 60,
        *,
        dry_run: bool = False,
    ) -> list[Entry]:
        """Remove the least recently used entries until the rest fits the limit, and return them.

        Entries in `keep` and entries used within `min_age_s` seconds stay. Damaged entries that were moved
        aside or have no readable manifest, and work folders of dead builders, are always deleted. A dry run
        removes nothing.

        Raises:
            CacheError: the cache can't be written.
        """
        entries = sorted(self.entries(), key=lambda entry: entry.used_at)
        excess = sum(entry.bytes for entry in entries) - limit_bytes
        removed = []
        for entry in entries:
            if excess <= 0:
                break
            # Read again: deleting takes time, and another process may have used the entry meanwhile.
            used_at = self._used_at(entry.folder)
            if entry.manifest.key in keep or used_at is None or time.time() - used_at < min_age_s:
                continue
            removed.append(entry)
            excess -= entry.bytes
            if not dry_run:
                self.remove(entry.manifest.key)
        if not dry_run:
            self._sweep()
            readable = {entry.manifest.key for entry in self.entries()}
            unreadable = [folder for folder in self._folders() if folder.name not in readable]
            for leftover in (*self._paths.damaged.glob("*"), *unreadable):
                delete(leftover)
        return removed

    def remove(self, key: str) -> None:
        """Remove an entry atomically. A missing entry is no error.

        Raises:
            CacheError: `key` is not a valid key, or the cache can't be written.
        """
        folder = self._folder(key)
        doomed = self._paths.temporary / work_name()
        with self._writing(), suppress(FileNotFoundError):
            self._paths.temporary.mkdir(exist_ok=True)
            folder.rename(doomed)
        delete(doomed)

    def _folder(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise CacheError(f"{key!r} is no cache key: keys are 32 hex digits, see `cache ls --json`")
        return self._paths.entry(key)

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return sorted(path for path in self.root.iterdir() if KEY.fullmatch(path.name))

    def _sweep(self) -> None:
        for leftover in self._paths.temporary.glob("*"):
            if is_abandoned(leftover):
                delete(leftover)

    def _used_at(self, folder: Path) -> float | None:
        """Last use in seconds since the epoch; None if there is no such entry."""
        try:
            return self._paths.manifest(folder).stat().st_mtime
        except OSError:
            return None

    def _manifest(self, folder: Path) -> Manifest:
        if folder.is_symlink() or not folder.is_dir():
            raise CacheError("it is no folder")
        manifest = Manifest.read(self._paths.manifest(folder))
        if manifest.key != folder.name:
            raise CacheError(f"its manifest belongs to {manifest.key}")
        return manifest

    def _damage(self, folder: Path) -> str | None:
        try:
            manifest = self._manifest(folder)
            stamp(folder, manifest)
            check_hashes(folder, manifest)
        except CacheError as damage:
            return str(damage) if os.path.lexists(folder) else None  # else removed meanwhile
        return None

    def _intact(self, folder: Path) -> Entry | None:
        """Check an entry and record its use; raise CacheError if it is damaged."""
        if not os.path.lexists(folder):
            return None
        trust.refuse_foreign_entry(self.root, folder)
        manifest = self._manifest(folder)
        stamps = stamp(folder, manifest)
        if self._trusted.get(folder.name) != stamps:
            check_hashes(folder, manifest)
            self._trusted[folder.name] = stamps
        with suppress(OSError):  # in a read-only cache the entry only looks older than it is
            os.utime(self._paths.manifest(folder))
        return Entry(folder=folder, manifest=manifest, hit=True, used_at=time.time())

    def _intact_or_moved_aside(self, folder: Path) -> Entry | None:
        """Check again while this process holds the key; move a damaged entry aside."""
        try:
            return self._intact(folder)
        except CacheError as damage:
            aside = self._paths.damaged / f"{folder.name}-{uuid.uuid4().hex[:8]}"
            with suppress(OSError):  # already removed, or owned by another user
                self._paths.damaged.mkdir(exist_ok=True)
                folder.rename(aside)
                log.warning("damaged cache entry %s moved to %s: %s", folder.name, aside, damage)
            return None

    def _publish(self, building: Path, manifest: Manifest) -> Entry:
        folder = self._folder(manifest.key)
        self._trusted[manifest.key] = stamp(building, manifest)
        try:
            building.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if winner := self._intact_or_moved_aside(folder):  # of another host, which our lock doesn't stop
                return winner
            building.rename(folder)
        if manifest.made_s >= SYNC_AFTER_S:
            fsync(self.root)
        return Entry(folder=folder, manifest=manifest, hit=False, used_at=time.time())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"compile cache {self.root} cannot be written ({error}): free space there, change its "
                "permissions, or choose another folder with cache.root="
            ) from error

    @contextmanager
    def _locked(self, key: str, *, wait: bool) -> Iterator[bool]:
        """Lock a key on this host. Yields False if another process holds it and `wait` is false."""
        with self._writing():
            self.root.mkdir(parents=True, exist_ok=True)
            folder = self.root.stat()
        lock = Mutex(f"cache-{folder.st_dev:x}-{folder.st_ino:x}-{key}")
        if not lock.acquire(0) and wait:
            log.info("another process builds cache entry %s: waiting for it", key)
            lock.acquire()
        try:
            yield lock.is_held
        finally:
            lock.close()
