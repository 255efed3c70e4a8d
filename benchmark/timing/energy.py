"""Energy that a device uses while calls are timed, and not between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Energy:
    """Adds what a device's counter of energy counts within blocks of calls."""

    def __init__(self, read: Callable[[], float | None] | None) -> None:
        """`read` returns the counter in J; None where the device has none."""
        self._read = read or (lambda: None)
        self.joules: float | None = None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count during a block. A counter that went back, as after a reset of the driver, adds nothing."""
        before = self._read()
        yield
        after = self._read()
        if before is not None and after is not None:
            self.joules = (self.joules or 0.0) + max(0.0, after - before)
