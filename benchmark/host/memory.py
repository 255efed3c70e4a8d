"""Memory of a command that runs for days: what it no longer uses goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress
from typing import Final

_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""Parameters of glibc's mallopt."""
_LARGE: Final = 128 << 10
_ARENAS: Final = 2


def keep_small() -> None:
    """Choose allocators that give memory back; call it before Arrow is imported, whose own gives back little.

    Large blocks are mapped one by one, also after some were freed, and threads share arenas.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _call("mallopt", _MMAP_THRESHOLD, _LARGE)
    _call("mallopt", _ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Give unused memory back to the system; without it a command grows by what its compactions needed.

    Python alone collects circles of garbage too rarely: it counts the plan of a large grid among its objects.
    """
    gc.collect()
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    """Call a function of the GNU C library; do nothing where there is another one."""
    if sys.platform == "linux":
        with suppress(AttributeError):
            getattr(ctypes.CDLL(None), name)(*arguments)
