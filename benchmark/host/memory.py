"""Memory of a command that runs for days: what it no longer uses goes back to the system."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress


def use_one_allocator() -> None:
    """Let Arrow, if not imported yet, allocate as all else does: its own allocator gives little back."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def give_back() -> None:
    """Give unused memory back to the system; without it a command grows by what its compactions needed."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # of the GNU library alone
            ctypes.CDLL(None).malloc_trim(0)
