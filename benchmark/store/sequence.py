"""The order in which rows were written. It rests on a counter, since clocks differ and are set back."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from filelock import FileLock

from benchmark.paths import StorePaths

_DIGITS: Final = 18


class Sequence:
    """Counts the rows that all commands write into a store, by a file beside it.

    A store behind a URL has no such file: each command counts on from the rows that it finds at its start.
    """

    def __init__(self, paths: StorePaths | None, highest_of_rows: Callable[[], int]) -> None:
        """`highest_of_rows` finds the highest number that a stored row has; it is called once.

        The file may be behind it: it can be lost, and a power failure sets it back.
        """
        self._paths, self._highest_of_rows = paths, highest_of_rows
        self._known: int | None = None

    def highest(self) -> int:
        """The highest number so far."""
        if self._known is None:
            self._known = self._highest_of_rows()
        with suppress(OSError, ValueError, AttributeError):
            self._known = max(self._known, int(self._paths.sequence.read_bytes()))  # type: ignore[union-attr]
        return self._known

    def take(self, count: int) -> range:
        """The next numbers; no other command on this store gets them.

        Raises:
            OSError: the file can't be written.
        """
        if self._paths is None:
            return self._after(count)
        with FileLock(self._paths.sequence_lock):
            numbers = self._after(count)
            file = os.open(self._paths.sequence, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.pwrite(file, f"{numbers[-1]:0{_DIGITS}d}".encode(), 0)  # one call: never half a number
            finally:
                os.close(file)
        return numbers

    def _after(self, count: int) -> range:
        first = self.highest() + 1
        self._known = first + count - 1
        return range(first, first + count)
