"""The file that gets the output of a run's children: of limited size, whatever a child writes.

The standard library is all that is imported here, as in the server that children are forked from.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

log = logging.getLogger(__name__)

MOST_BYTES: Final = 64 << 20
"""A longer file keeps its head and its tail, a quarter of this each."""
_PIECE: Final = MOST_BYTES // 4
_GAP: Final = "\n[%d bytes of output are missing here]\n"
_GAP_READ: Final = re.compile(rb"\n\[(\d+) bytes of output are missing here\]\n")
_LONGEST_GAP: Final = 100
_WORDS: Final = 4000
"""Bytes at the end of a file among which the last words are looked for."""


def prepare(file: Path) -> None:
    """Make the folder. Where the file can't be written, the run goes on without, and a warning says so."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        if os.access(file if file.exists() else file.parent, os.W_OK):
            return
    log.warning("no output of children is kept: %s can't be written", file.parent)


def size(file: Path) -> int:
    """Bytes in the file."""
    with suppress(OSError):
        return file.stat().st_size
    return 0


def shorten(file: Path) -> None:
    """Cut the middle out of a file that is too long; those who write to it go on behind the rest."""
    if size(file) <= MOST_BYTES:
        return
    with suppress(OSError):
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND)
        try:
            before = _GAP_READ.match(os.pread(descriptor, _LONGEST_GAP, _PIECE))
            tail = os.pread(descriptor, _PIECE, os.fstat(descriptor).st_size - _PIECE)
            dropped = os.fstat(descriptor).st_size - _PIECE - len(tail)
            if before:
                dropped += int(before[1]) - len(before[0])
            os.ftruncate(descriptor, _PIECE)
            os.write(descriptor, (_GAP % dropped).encode() + tail)
        finally:
            os.close(descriptor)


def last_words(file: Path, since: int) -> str:
    """The most telling line at the end of the file, of those written since it had so many bytes."""
    with suppress(OSError), file.open("rb") as text:
        return telling(end_of(text.fileno(), since))
    return ""


def end_of(descriptor: int, since: int = 0) -> bytes:
    """The last bytes of a file, of those behind the first `since`; its position, shared by writers, stays."""
    length = os.fstat(descriptor).st_size
    start = max(length - _WORDS, since if since <= length else 0)
    return os.pread(descriptor, length - start, start)


def telling(text: bytes) -> str:
    """The lines that name a cause, else the last one; 300 characters at most."""
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    fatal = [
        line
        for line in lines
        if "terminate called" in line or "what()" in line or "Fatal Python error" in line
    ]
    return " ".join(fatal or lines[-1:])[:300]


def redirect(file: Path) -> None:
    """In a child: send its output, and that of what it starts, to the file, or nowhere if that fails."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:  # `prepare` has said so
        descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = sys.stderr = io.TextIOWrapper(
        _Output(),  # raw, as of `python -u`
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
        write_through=True,
    )
    faulthandler.enable(2)


class _Output(io.RawIOBase):
    """Standard error. What a full disk doesn't take is dropped: a print must not end a measurement."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def write(self, data: Any) -> int:
        with suppress(OSError):
            os.write(2, data)
        return len(data)
