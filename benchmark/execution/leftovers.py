"""Files that killed commands of this user left in temporary folders; the next command clears them.

Earlier versions left more: a folder of locks, and lock files in /tmp.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmark.cache.workdirs import delete, is_abandoned
from benchmark.execution.host_lock import holder_of
from benchmark.execution.interpreters import SOURCE
from benchmark.execution.server_connection import sockets
from benchmark.execution.warm_server import is_alive
from benchmark.host.mutex import PLACE

_HOLDER: Final = re.compile(r"benchmark-\w+-\d+\.json")
_UNFINISHED: Final = re.compile(r"benchmark-\w+\.new")
_OLD_S: Final = 24 * 3600.0
_EARLIER: Final = frozenset(
    {f"benchmark-locks-{os.getuid()}", *(f"benchmark-{name}.lock" for name in ("door", "host", "queue"))}
)
"""Names of locks of earlier versions."""


def clear() -> None:
    """Remove them; what can't be removed stays."""
    for left in leftovers():
        delete(left)


def leftovers() -> list[Path]:
    """Files and folders of this user whose commands have ended."""
    folders = {PLACE, Path(tempfile.gettempdir())}
    ours = [path for folder in sorted(folders) for path in _ours(folder)]
    return [path for path in ours if _is_left(path)] + [path for path in sockets() if not is_alive(path)]


def _ours(folder: Path) -> Iterator[Path]:
    """What this program has made there, by its name, as this user."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("benchmark-"):
                with suppress(OSError):  # it was removed just now
                    if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                        yield Path(entry.path)


def _is_left(path: Path) -> bool:
    name = path.name
    if name in _EARLIER:
        return sys.platform == "linux"
    if name.startswith(SOURCE):
        return is_abandoned(path, SOURCE)
    if _HOLDER.fullmatch(name):
        return holder_of(path) is None
    return bool(_UNFINISHED.fullmatch(name)) and time.time() - path.lstat().st_mtime > _OLD_S
