"""Memory of a command that runs for days: what it no longer uses goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def use_one_allocator() -> None:
    """Let Arrow allocate as everything else does: its own allocator gives hardly anything back."""
    import pyarrow as pa  # not in children, which import this package too

    pa.set_memory_pool(pa.system_memory_pool())


def give_back() -> None:
    """Give unused memory back to the system; without it a command grows by what its compactions needed."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # of the GNU library alone
            ctypes.CDLL(None).malloc_trim(0)
