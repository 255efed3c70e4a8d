"""Compiled artefacts, weights and reference answers by content key: built once, never seen half-written.

Layout: `<root>/<key>/` holds an entry's files and its manifest; builds happen in `<root>/.tmp` and arrive by
rename; entries that don't match their manifest are moved to `<root>/.damaged`. Nothing is unpickled here:
only torch does so, with Inductor's artefact, which is its own cache.
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
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from benchmark.cache.manifest import (
    KEY,
    WORTH_WAITING_S,
    Kind,
    Manifest,
    Stamps,
    check_hashes,
    content_key,
    entry_key,
    fsync,
    seal,
    stamp,
)
from benchmark.cache.workdirs import delete, is_abandoned, work_name
from benchmark.errors import CacheError
from benchmark.paths import CachePaths
from benchmark.records import frozen

log = logging.getLogger(__name__)


@frozen
class Entry:
    """A finished entry, ready to be loaded from its folder."""

    folder: Path
    manifest: Manifest
    hit: bool
    """False where this call built it."""
    used_at: float
    """Last use, in seconds since the epoch."""

    @property
    def bytes(self) -> int:
        """Size of all files but the manifest."""
        return sum(file.bytes for file in self.manifest.files.values())


class Entries(Protocol):
    """Where stages get what they need."""

    def get_or_build(
        self, kind: Kind, made_of: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]
    ) -> Entry:
        """Return the entry made of these parts, as `CompileCache` does."""


class CompileCache:
    """Entries by content key in one folder, which processes and hosts may share.

    What it keeps in memory are the stamps of entries whose hashes it has checked itself.
    """

    def __init__(self, root: str | Path) -> None:
        if "://" in str(root):
            raise CacheError(f"cache.root={root} is a URL: the cache works on files, so choose a folder")
        self.root = Path(root).expanduser().absolute()
        self._paths = CachePaths(root=self.root)
        self._trusted: dict[str, Stamps] = {}
        # Locks live on the local disk: on network file systems they are slow at best.
        here = content_key({"root": self.root.resolve()})
        self._locks = Path(tempfile.gettempdir()) / f"benchmark-locks-{os.getuid()}" / here

    def prepare(self) -> None:
        """Make the folders and clear away what dead builders left.

        Raises:
            CacheError: the folder can't be written.
        """
        with self._writing():
            for folder in (self._paths.temporary, self._paths.damaged):
                folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._paths.temporary):
                pass  # mode bits prove nothing: the mount and its user mapping have a say too
        self._sweep()

    def find(self, key: str) -> Entry | None:
        """Return the entry if it is there and sound; a damaged one is set aside with a warning.

        Sizes are checked always, hashes on the first use of an entry and whenever a file has changed since.

        Raises:
            CacheError: `key` can't be a key.
        """
        folder = self._folder(key)
        with suppress(CacheError):
            return self._sound(folder)
        with self._alone(key, wait=False) as alone:
            # Whoever holds the key is mending it right now: for us it is not there.
            return self._sound_or_set_aside(folder) if alone else None

    def get_or_build(
        self, kind: Kind, made_of: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]
    ) -> Entry:
        """Return the entry made of these parts; if there is none, `build` writes it into the folder it gets.

        One process per host builds a key while the others wait. What `build` returns are the manifest's
        facts; what it raises passes through, and nothing stays behind.

        Raises:
            CacheError: the cache can't be written, or the build left a link or a special file.
        """
        key = entry_key(kind, made_of)
        if found := self.find(key):
            return found
        with self._alone(key, wait=True):
            if found := self._sound_or_set_aside(self._folder(key)):
                return found
            building = self._paths.temporary / work_name()
            try:
                with self._writing():
                    building.mkdir(parents=True)
                started = time.perf_counter()
                facts = build(building)
                made_s = time.perf_counter() - started
                with self._writing():
                    manifest = seal(building, kind, key, made_of, made_s, facts)
                    return self._publish(building, manifest)
            finally:
                delete(building)

    def entries(self) -> list[Entry]:
        """List what is there, by key, without checking any file; unreadable entries are left out."""
        listed = []
        for folder in self._folders():
            used_at = self._used_at(folder)
            if used_at is not None:
                with suppress(CacheError):
                    manifest = self._manifest(folder)
                    listed.append(Entry(folder=folder, manifest=manifest, hit=True, used_at=used_at))
        return listed

    def verify(self) -> list[tuple[str, str]]:
        """Hash every file; return key and problem of the damaged entries, which stay where they are."""
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

        Those in `keep` and those used within `min_age_s` seconds stay. What was set aside as damaged and
        what dead builders left goes in any case. A dry run removes nothing.

        Raises:
            CacheError: the cache can't be written.
        """
        entries = sorted(self.entries(), key=lambda entry: entry.used_at)
        excess = sum(entry.bytes for entry in entries) - limit_bytes
        removed = []
        for entry in entries:
            if excess <= 0:
                break
            # Asked anew, because deleting takes its time and somebody may have used the entry meanwhile.
            used_at = self._used_at(entry.folder)
            if entry.manifest.key in keep or used_at is None or time.time() - used_at < min_age_s:
                continue
            removed.append(entry)
            excess -= entry.bytes
            if not dry_run:
                self.remove(entry.manifest.key)
        if not dry_run:
            self._sweep()
            for leftover in self._paths.damaged.glob("*"):
                delete(leftover)
        return removed

    def remove(self, key: str) -> None:
        """Remove an entry at one stroke; one that is not there is no error.

        Raises:
            CacheError: `key` can't be a key, or the cache can't be written.
        """
        folder = self._folder(key)
        doomed = self._paths.temporary / work_name()
        with self._writing(), suppress(FileNotFoundError):
            self._paths.temporary.mkdir(exist_ok=True)
            folder.rename(doomed)
        delete(doomed)

    def _folder(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise CacheError(f"{key!r} is no cache key: 32 hex digits, as `benchmark cache ls` lists them")
        return self._paths.entry(key)

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return sorted(path for path in self.root.iterdir() if KEY.fullmatch(path.name) and path.is_dir())

    def _sweep(self) -> None:
        for leftover in self._paths.temporary.glob("*"):
            if is_abandoned(leftover):
                delete(leftover)

    def _used_at(self, folder: Path) -> float | None:
        """Last use in seconds since the epoch, None where the entry has gone or never was one."""
        try:
            return self._paths.manifest(folder).stat().st_mtime
        except OSError:
            return None

    def _manifest(self, folder: Path) -> Manifest:
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
            return str(damage) if folder.is_dir() else None  # else removed while we looked
        return None

    def _sound(self, folder: Path) -> Entry | None:
        """Check an entry and note its use; damage is raised as CacheError."""
        if not folder.is_dir():
            return None
        manifest = self._manifest(folder)
        found = stamp(folder, manifest)
        if self._trusted.get(folder.name) != found:
            check_hashes(folder, manifest)
            self._trusted[folder.name] = found
        with suppress(OSError):  # in a read-only cache the entry merely looks older than it is
            os.utime(self._paths.manifest(folder))
        return Entry(folder=folder, manifest=manifest, hit=True, used_at=time.time())

    def _sound_or_set_aside(self, folder: Path) -> Entry | None:
        """Look again, now that nobody else on this host touches the key."""
        try:
            return self._sound(folder)
        except CacheError as damage:
            aside = self._paths.damaged / f"{folder.name}-{uuid.uuid4().hex[:8]}"
            with suppress(OSError):  # removed by somebody meanwhile, or not ours to move
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
            if winner := self._sound_or_set_aside(folder):  # of another host, which our lock can't hold back
                return winner
            building.rename(folder)
        if manifest.made_s >= WORTH_WAITING_S:
            fsync(self.root)
        return Entry(folder=folder, manifest=manifest, hit=False, used_at=time.time())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"compile cache {self.root} cannot be written ({error}): free space there, mend its "
                "permissions, or choose another folder with cache.root="
            ) from error

    @contextmanager
    def _alone(self, key: str, *, wait: bool) -> Iterator[bool]:
        """Hold a key against all others on this host; yields False where it is held and we don't wait."""
        folder = self._locks
        lock = FileLock(folder / f"{key}.lock")
        try:
            if not folder.is_dir():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            if wait:
                log.info("another process builds cache entry %s: waiting for it", key)
                lock.acquire()
        except OSError as error:
            raise CacheError(
                f"no locks in {folder} ({error}): set TMPDIR to a local folder of yours"
            ) from error
        try:
            yield lock.is_locked
        finally:
            lock.release()
