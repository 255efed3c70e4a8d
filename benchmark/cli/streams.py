"""Standard streams: closed ones lead nowhere, an encoding that lacks a character stops nothing.

The standard library is all that is imported here: a command begins with it.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from contextlib import suppress
from typing import Final

UNREAD: Final = 141
"""Exit code of a command whose reader, such as `head`, has gone: 128 and the number of SIGPIPE."""
_NAMES: Final = ("stdin", "stdout", "stderr")


def make_usable() -> None:
    """Open closed streams onto nothing: the next file that is opened would take their place.

    Characters that an encoding lacks become `?`, which keeps the columns of tables.
    """
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def is_unread(error: BaseException) -> bool:
    """Whether the output is no longer read; rich raises its own SystemExit then."""
    if isinstance(error, SystemExit):
        names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]
        return names[-1:] == ["on_broken_pipe"]
    return isinstance(error, BrokenPipeError)


def drop_output() -> None:
    """Lead the output nowhere: what is still buffered would raise at the end of the program."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
