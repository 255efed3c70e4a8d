"""Errors of any library as a row records them: a status, a text, the class of the error, operators.

A child process serialises its error with these functions, and its parent rebuilds it as a RunFailure.
"""

from __future__ import annotations

import re
import traceback

from benchmark.errors import FAILURES, ConfigError, Crashed, RunFailure, Status

NO_MEMORY = re.compile(
    r"bad_alloc|can't allocate memory|not enough memory|cannot allocate memory|out of memory", re.IGNORECASE
)
"""Error messages of libraries that are out of memory."""
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_LONGEST = 20_000
"""Characters of an error that are looked at."""
_MOST = 250
"""Characters of a library's reason within a sentence of this program; the log has all of it."""
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def serialize_error(error: BaseException) -> tuple[Status, str, str | None, tuple[str, ...]]:
    """Status, text, class of the library's error, unsupported operators: what any process can unpickle."""
    status, text = describe(error)
    operators = error.operators if isinstance(error, RunFailure) else ()
    if isinstance(error, RunFailure) and error.raised:
        return status, text, error.raised, operators
    kind = type(_root(error))
    if issubclass(kind, ConfigError):
        return status, text, None, operators
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return status, text, None if issubclass(kind, RunFailure) else _encodable(name), operators


def deserialize_error(
    status: Status, text: str, raised: str | None, operators: tuple[str, ...]
) -> RunFailure:
    """Rebuild the exception that the child serialised."""
    return FAILURES.get(status, Crashed)(text, raised=raised, operators=operators)


def describe(error: BaseException) -> tuple[Status, str]:
    """Status and text of any exception that a stage raised."""
    if isinstance(error, RunFailure):
        return error.status, _text(error)
    if isinstance(error, ConfigError):
        return "incompatible", _text(error)
    said = _text(error)
    text = f"{type(error).__name__}: {said}".strip()
    if (root := _root(error)) is not error:
        text = f"{text.splitlines()[0]}\ncaused by {type(root).__name__}: {_text(root)}".strip()
    if type(error).__name__ == "OutOfMemoryError":  # torch's, for every kind of accelerator
        return "oom_device", text
    if isinstance(error, MemoryError) or NO_MEMORY.search(text):
        advice = "" if said else " use a smaller batch or length, or raise limits.memory_gib"
        return "oom_host", text + advice
    if _DISK_FULL.search(text):
        return "interrupted", f"{text}: free space there, then run the same command again"
    return "crashed", text


def _text(error: BaseException) -> str:
    """What an error says, without colours, in characters that every file takes."""
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - any code may raise anything
        text = f"its text can't be read: __str__ raises {type(broken).__name__}"
    return _encodable(_ANSI.sub("", text[:_LONGEST]))


def _encodable(text: str) -> str:
    """Write lone surrogates and NULs as escapes: UTF-8 and C know no such characters."""
    return text.encode(errors="backslashreplace").decode().replace("\0", r"\x00")


def is_ours(error: BaseException) -> bool:
    """Whether this program raised it: then it is a fault of this program."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).startswith("benchmark.")


def cause(error: BaseException) -> str:
    """The first of a chain of errors, on one short line, for sentences of this program."""
    root = _root(error)
    return " ".join(f"{type(root).__name__}: {_text(root)}".split())[:_MOST]


def _root(error: BaseException) -> BaseException:
    """First exception of a chain: libraries wrap the cause in general messages."""
    seen = {id(error)}
    while (cause := error.__cause__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    return error
