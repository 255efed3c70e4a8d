"""Warnings of a run on the terminal: one line each, once, above the progress."""

from __future__ import annotations

import logging
import sys

from benchmark.redaction import without_secrets
from benchmark.report.sanitize import say


class PlainFormatter(logging.Formatter):
    """Lines of the log file, without secrets: launchers write the words of a command there."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as usual."""
        return without_secrets(super().format(record))


class TerminalHandler(logging.Handler):
    """Prints to what `sys.stderr` is at that moment: the progress replaces it, to print above itself.

    A warning that differs from an earlier one only in its details isn't repeated; the log file has all.
    """

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._printed: set[tuple[object, ...]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, unless one like it was printed."""
        about = record.args[:1] if isinstance(record.args, tuple) else ()
        if (like := (record.msg, *about)) not in self._printed:
            self._printed.add(like)
            say(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)
