"""Who could have put files into a compile cache. Artefacts of most compilers are code that `load` runs.

Trusted is a folder that belongs to this user or to root and that no other user can write, and one that
`cache trust` marked. A folder that a group shares needs the mark.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmark.bucket.objects import is_address
from benchmark.errors import CacheError
from benchmark.host.machine import program
from benchmark.paths import trusted_caches, write_whole

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def refuse_foreign(root: Path) -> None:
    """Refuse a cache into which another user could have put code; one that doesn't exist yet is fine.

    Raises:
        CacheError: who could, and what to do.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        if (why := _writable_by_others(root.resolve())) and not is_marked(root):
            raise CacheError(
                f"compile cache {root} {why}, and artefacts are code: choose another folder with "
                f"cache.root=, or, if you trust all who can write there: {program()} cache trust {root}"
            )


def refuse_foreign_entry(root: Path, entry: Path) -> None:
    """Refuse an entry of which another user could have written a file.

    Raises:
        CacheError: which file, and who; or the entry can't be read.
    """
    if is_marked(root):
        return
    try:
        for path in (entry, *entry.rglob("*")):
            if why := _writable_by_others(path):
                raise CacheError(f"{path.name} {why}")
    except OSError as error:  # removed meanwhile
        raise CacheError(f"{entry.name} cannot be read ({error.strerror})") from error


def protect(folder: Path) -> None:
    """Let no other user write the files of a new entry, whatever the umask."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink() and (mode := path.stat().st_mode) & _OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)


def mark(place: str | Path) -> None:
    """Trust everyone who can write into this cache: a folder, or a bucket.

    Raises:
        CacheError: there is no such folder, or the mark can't be written.
    """
    folder, file = _name_of(place), trusted_caches()
    if not is_address(place) and not Path(place).is_dir():
        raise CacheError(f"cache trust {place}: there is no such folder")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(file, "".join(f"{one}\n" for one in dict.fromkeys([*_marked(), folder])).encode())
        file.chmod(0o600)
    except OSError as error:
        advice = "set XDG_CONFIG_HOME to a folder of yours"
        raise CacheError(f"can't write {file}: {error.strerror}: {advice}") from error


def is_marked(place: str | Path) -> bool:
    """Whether the user marked this cache as trusted."""
    return _name_of(place) in _marked()


def _name_of(place: str | Path) -> str:
    return str(place).rstrip("/") if is_address(place) else str(Path(place).resolve())


def _marked() -> Iterator[str]:
    file = trusted_caches()
    with suppress(OSError):
        if not (_writable_by_others(file.parent) or _writable_by_others(file)):
            yield from file.read_text(encoding="utf-8").splitlines()


def _writable_by_others(path: Path) -> str | None:
    """Who else could write a file or folder, in words; None: no one."""
    status = path.lstat()
    if status.st_uid not in {0, os.geteuid()}:
        return f"belongs to {_name(status.st_uid)}"
    if stat.S_ISLNK(status.st_mode):
        return None
    if status.st_mode & stat.S_IWOTH:
        return "is writable by everyone"
    if status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid):
        return f"is writable by the group {status.st_gid}"
    return None


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _is_private(group: int) -> bool:
    """Whether a group has no member but this user, as many systems make one for each user."""
    try:
        own, members = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return own.pw_gid == group and members.gr_name == own.pw_name and {*members.gr_mem} <= {own.pw_name}
