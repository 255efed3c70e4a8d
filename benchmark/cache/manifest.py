"""What names and describes an entry of the compile cache: content key, manifest, checksums."""

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

from pydantic import NonNegativeFloat, NonNegativeInt, TypeAdapter, ValidationError

from benchmark.errors import CacheError
from benchmark.paths import CachePaths
from benchmark.records import frozen

Kind = Literal["weights", "reference", "artifact", "peak"]
Stamps = dict[str, tuple[int, int]]
"""File name to (bytes, modification time in nanoseconds): unless they change, a file is hashed only once."""

KEY = re.compile(r"[0-9a-f]{32}")
BLOCK_BYTES = 4 << 20
WORTH_WAITING_S = 1.0
"""A build that took so long is brought to disk before it counts as made."""


def content_key(parts: Mapping[str, Any]) -> str:
    """Name a content by what decides it: 32 hex digits of SHA-256 over canonical JSON.

    Raises:
        TypeError: a part that has no one spelling in JSON.
        ValueError: a float that is not a number or infinite.
    """
    text = json.dumps(_plain(parts, "parts"), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def entry_key(kind: Kind, made_of: Mapping[str, Any]) -> str:
    """Key under which `CompileCache.get_or_build` keeps such an entry; for looking ahead without building."""
    return content_key({"kind": kind, "made_of": made_of})


def _plain(value: Any, where: str) -> Any:
    """Reduce to JSON's own types; a path becomes its string, a tuple a list."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}: only finite numbers can be part of a cache entry")
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
    """What a file of an entry must look like."""

    bytes: NonNegativeInt
    sha256: str


@frozen
class Manifest:
    """What an entry is and what it was made of; lies in its folder as JSON."""

    kind: Kind
    key: str
    made_of: Mapping[str, Any]
    """What the key was computed from."""
    files: Mapping[str, FileFacts]
    """By name relative to the entry's folder, with `/` on every system."""
    made_s: NonNegativeFloat
    """Seconds the build took."""
    facts: Mapping[str, Any]
    """Whatever the builder wants to be remembered; `label` is shown to people."""
    created_at: str
    """ISO 8601, UTC."""
    hostname: str

    def to_json(self) -> str:
        """Spell the manifest as it lies on disk."""
        return _MANIFEST.dump_json(self, indent=1).decode() + "\n"

    @staticmethod
    def read(path: Path) -> Manifest:
        """Read a manifest back.

        Raises:
            CacheError: it is missing or not a manifest.
        """
        try:
            return _MANIFEST.validate_json(path.read_bytes())
        except FileNotFoundError:
            raise CacheError(f"{path.name} is missing") from None
        except (OSError, ValidationError) as error:
            raise CacheError(f"{path.name} cannot be read: {' '.join(str(error).split())[:200]}") from error


_MANIFEST = TypeAdapter(Manifest)


def seal(  # noqa: PLR0913, PLR0917 - whatever a manifest tells
    building: Path, kind: Kind, key: str, made_of: Mapping[str, Any], made_s: float, facts: Mapping[str, Any]
) -> Manifest:
    """Write the manifest of a finished build, and bring to disk what took long to make.

    The rest the system writes when it likes: should power fail before, sizes and hashes show what is lost.
    """
    durable = made_s >= WORTH_WAITING_S
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
        if durable:
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
    target.write_text(manifest.to_json(), encoding="utf-8")
    if durable:
        fsync(target)
        fsync(building)
    return manifest


def stamp(folder: Path, manifest: Manifest) -> Stamps:
    """Stamp every file; one that is missing or has another size is raised as CacheError."""
    stamps = {}
    for name, file in manifest.files.items():
        try:
            found = (folder / name).stat()
        except OSError as error:
            raise CacheError(f"{name} cannot be found ({error.strerror})") from error
        if found.st_size != file.bytes:
            raise CacheError(f"{name} has {found.st_size} bytes instead of {file.bytes}")
        stamps[name] = (found.st_size, found.st_mtime_ns)
    return stamps


def check_hashes(folder: Path, manifest: Manifest) -> None:
    """Read every file; one whose content has changed is raised as CacheError."""
    for name, file in manifest.files.items():
        try:
            digest = sha256(folder / name)
        except OSError as error:
            raise CacheError(f"{name} cannot be read ({error.strerror})") from error
        if digest != file.sha256:
            raise CacheError(f"{name} has the right size but not the content it was written with")


def sha256(path: Path) -> str:
    """Digest of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def fsync(path: Path) -> None:
    """Bring a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
