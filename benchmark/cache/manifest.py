"""Identity and description of a cache entry: content key, manifest, checksums."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import socket
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, TypeAdapter

from benchmark.errors import CacheError
from benchmark.paths import CachePaths
from benchmark.records import frozen
from benchmark.sealed import opened, sealed

Kind = Literal["weights", "reference", "artifact", "peak", "head", "answers"]
Stamps = dict[str, tuple[int, int]]
"""File name to (bytes, modification time in ns). A file whose stamp is unchanged isn't hashed again."""

KEY = re.compile(r"[0-9a-f]{32}")
BLOCK_BYTES = 4 << 20
SYNC_AFTER_S = 1.0
"""A build that took at least this long is synced to disk before its entry appears."""


def content_key(parts: Mapping[str, Any]) -> str:
    """Key of a content, from the parts that determine it: 32 hex digits of SHA-256 over canonical JSON.

    Raises:
        TypeError: a part has no unique spelling in JSON.
        ValueError: a float is not finite.
    """
    text = json.dumps(_plain(parts, "parts"), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def entry_key(kind: Kind, made_of: Mapping[str, Any]) -> str:
    """Key of an entry that `CompileCache.get_or_build` would make; used to look it up without building it."""
    return content_key({"kind": kind, "made_of": made_of})


def _plain(value: Any, where: str) -> Any:
    """Convert to JSON's types: a path becomes its string, a tuple a list."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}: a cache entry can only be made of finite numbers")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _plain(item, f"{where}.{name}") for name, item in value.items()}
    raise TypeError(
        f"{where} is {value!r}: turn it into strings, numbers, sequences or mappings with string keys"
    )


@frozen
class FileFacts:
    """Expected size and hash of a file of an entry."""

    bytes: NonNegativeInt
    sha256: str


@frozen
class Manifest:
    """What an entry is and what it was made of: a JSON file in its folder."""

    kind: Kind
    key: str
    made_of: Mapping[str, Any]
    """Parts from which the key was computed."""
    files: Mapping[str, FileFacts]
    """By name relative to the entry's folder, with `/` on every system."""
    made_s: NonNegativeFloat
    """Seconds the build took."""
    facts: Mapping[str, Any]
    """Facts that the builder returned; `cache ls` shows `label`."""
    created_at: str
    """ISO 8601, UTC."""
    hostname: str

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files.values())

    def to_json(self) -> bytes:
        """Manifest as it is written to disk, with its checksum."""
        return sealed(_MANIFEST.dump_python(self, mode="json"))

    @staticmethod
    def read(path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            CacheError: it is missing, isn't as it was written, or isn't made of what its key says.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise CacheError(f"{path.name} is missing") from None
        except OSError as error:
            raise CacheError(f"{path.name} cannot be read: {error}") from error
        return Manifest.parse(data, path.name)

    @staticmethod
    def parse(data: bytes, name: str) -> Manifest:
        """Manifest of these bytes; `name` is for messages.

        Raises:
            CacheError: it isn't as it was written, or isn't made of what its key says.
        """
        try:
            made = _MANIFEST.validate_json(json.dumps(opened(data)))
            key = entry_key(made.kind, made.made_of)
        except (ValueError, TypeError) as error:
            raise CacheError(f"{name} cannot be read: {' '.join(str(error).split())[:200]}") from error
        if made.key != key:
            raise CacheError(f"{name} is that of {key}, not of {made.key}")
        return made


_MANIFEST = TypeAdapter(Manifest)


def seal(  # noqa: PLR0913, PLR0917 - the fields of a manifest
    building: Path, kind: Kind, key: str, made_of: Mapping[str, Any], made_s: float, facts: Mapping[str, Any]
) -> Manifest:
    """Write the manifest of a finished build. A build that took long is synced to disk.

    Short builds are not synced: after a power failure sizes and hashes reveal what is lost.
    """
    sync = made_s >= SYNC_AFTER_S
    files = {}
    target = CachePaths(root=building.parent).manifest(building)
    for path in sorted(building.rglob("*")):
        name = path.relative_to(building).as_posix()
        if path == target or path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise CacheError(
                f"{kind}: the build left {name}: an entry holds plain files, none called {target.name}"
            )
        if path.is_file():
            files[name] = FileFacts(bytes=path.stat().st_size, sha256=sha256(path))
        if sync:
            fsync(path)
    manifest = Manifest(
        kind=kind,
        key=key,
        made_of=_plain(made_of, "made_of"),
        files=files,
        made_s=made_s,
        facts=_plain(facts, "facts"),
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        hostname=socket.gethostname(),
    )
    target.write_bytes(manifest.to_json())
    if sync:
        fsync(target)
        fsync(building)
    return manifest


def stamp(folder: Path, manifest: Manifest) -> Stamps:
    """Stamps of all files; raise CacheError unless they are exactly those of the manifest, in their sizes."""
    found = _files(folder)
    if extra := sorted(found.keys() - manifest.files.keys()):
        raise CacheError(f"{extra[0]} is not in its manifest")
    stamps = {}
    for name, file in manifest.files.items():
        if (status := found.get(name)) is None:
            raise CacheError(f"{name} cannot be found")
        if status.st_size != file.bytes:
            raise CacheError(f"{name} has {status.st_size} bytes instead of {file.bytes}")
        stamps[name] = (status.st_size, status.st_mtime_ns)
    return stamps


def _files(folder: Path) -> dict[str, os.stat_result]:
    """Files of an entry but its manifest, by their names in it.

    Raises:
        CacheError: the folder can't be read, or holds links or special files.
    """
    found, folders = dict[str, os.stat_result](), [folder]
    try:
        for inner in folders:
            with os.scandir(inner) as listed:
                for one in listed:
                    name = Path(one.path).relative_to(folder).as_posix()
                    if one.is_dir(follow_symlinks=False):
                        folders.append(Path(one.path))
                    elif not one.is_file(follow_symlinks=False):
                        raise CacheError(f"{name} is no plain file")
                    elif name != CachePaths(root=folder.parent).manifest(folder).name:
                        found[name] = one.stat(follow_symlinks=False)
    except OSError as error:
        raise CacheError(f"its files cannot be listed ({error.strerror})") from error
    return found


def check_hashes(folder: Path, manifest: Manifest) -> None:
    """Hash every file; raise CacheError if a content has changed."""
    for name, file in manifest.files.items():
        try:
            digest = sha256(folder / name)
        except OSError as error:
            raise CacheError(f"{name} cannot be read ({error.strerror})") from error
        if digest != file.sha256:
            raise CacheError(f"{name} has the right size but not the content it was written with")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def fsync(path: Path) -> None:
    """Sync a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
