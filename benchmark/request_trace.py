"""A trace of requests to a language model: when each came, the tokens of its prompt and of its answer.

A CSV file with a line for each request. Columns are `arrival_s` (seconds from the start), `prompt_tokens` and
`output_tokens`; or TIMESTAMP (date and time), ContextTokens and GeneratedTokens, as in Azure's public traces
(github.com/Azure/AzurePublicDataset, 2023 and 2024). Other columns are ignored.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

_PLAIN: Final = ("arrival_s", "prompt_tokens", "output_tokens")
_DATED: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MICROSECONDS: Final = len("2023-11-16 18:15:46.680590")
"""Of a date and time; Azure's traces have a seventh digit, which Python doesn't read."""


class TraceError(ValueError):
    """The file holds no trace that can be used; the text names the line."""


class Trace(NamedTuple):
    """Requests in order of arrival."""

    arrival_s: np.ndarray
    """Seconds from the start."""
    lengths: np.ndarray
    """Tokens of (prompt, output), a row for each request."""

    def first(self, seconds: float) -> Trace:
        """The requests that arrive before so many seconds."""
        count = int(np.searchsorted(self.arrival_s, seconds))
        return Trace(self.arrival_s[:count], self.lengths[:count])


def read(file: str) -> Trace:
    """Read and check a trace. The result is shared: don't change it.

    Raises:
        TraceError: the file can't be read, lacks a column, has no request, a time before the one above it,
            or a number that can't be.
    """
    try:
        return _read(file, Path(file).stat().st_mtime_ns)
    except OSError as error:
        raise TraceError(f"can't be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"is no CSV file: {error}") from error


@lru_cache(maxsize=8)
def _read(file: str, changed: int) -> Trace:
    del changed  # changed content is read again
    with Path(file).open(encoding="utf-8-sig", newline="") as stream:
        lines = csv.DictReader(stream)
        columns = _columns(lines.fieldnames or ())
        requests = [_request(lines.line_num, line, columns) for line in lines]
    if not requests:
        raise TraceError("has no request")
    times = np.array([time for time, _, _ in requests])
    if columns == _DATED:
        times -= times[0]
    elif not np.isfinite(times).all() or (times < 0).any():
        raise TraceError(f"has the time {times.min():g} s: times count from the start of the trace")
    if (steps := np.diff(times) < 0).any():
        place = int(np.argmax(steps))
        raise TraceError(
            f"isn't in order of arrival: request {place + 2}, at {times[place + 1]:g} s, comes after "
            f"{times[place]:g} s: sort it"
        )
    return Trace(times, np.array([lengths for _, *lengths in requests]))


def _columns(header: Sequence[str]) -> Sequence[str]:
    """The names of time, prompt and output in this file."""
    for names in (_PLAIN, _DATED):
        if set(names) <= set(header):
            return names
    wanted = _DATED if set(_DATED) & set(header) else _PLAIN
    missing = ", ".join(name for name in wanted if name not in header)
    raise TraceError(f"lacks {missing}: its first line must name the columns {', '.join(wanted)}")


def _request(number: int, line: Mapping[str, str], columns: Sequence[str]) -> tuple[float, int, int]:
    prompt, output = (_tokens(number, name, line[name]) for name in columns[1:])
    return _seconds(number, line[columns[0]] or ""), prompt, output


def _seconds(number: int, text: str) -> float:
    """A number of seconds, or a date and time as seconds since 1970."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()[:_MICROSECONDS]).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        raise TraceError(f"has the time {text!r} in line {number}: use seconds from the start") from None


def _tokens(number: int, name: str, text: str | None) -> int:
    if not (text or "").strip().isdecimal() or int(text or 0) < 1:
        raise TraceError(f"has {name}={text!r} in line {number}: use a whole number, at least 1")
    return int(text or 0)
