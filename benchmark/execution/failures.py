"""What became of a call in a child: errors of every library as a status, a text and what else a row tells."""

from __future__ import annotations

import re

from benchmark.errors import FAILURES, Crashed, RunFailure, Status

NO_MEMORY = re.compile(
    r"bad_alloc|can't allocate memory|not enough memory|cannot allocate memory|out of memory", re.IGNORECASE
)
"""What libraries say when there is no memory left."""
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def told(error: BaseException) -> tuple[Status, str, str | None, tuple[str, ...]]:
    """What is to be known of an error in another process: status, text, class, operators."""
    status, text = describe(error)
    operators = error.operators if isinstance(error, RunFailure) else ()
    if isinstance(error, RunFailure) and error.raised:
        return status, text, error.raised, operators
    kind = type(_root(error))
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return status, text, None if issubclass(kind, RunFailure) else name, operators


def failure(status: Status, text: str, raised: str | None, operators: tuple[str, ...]) -> RunFailure:
    """What `told` told of, to be raised here."""
    return FAILURES.get(status, Crashed)(text, raised=raised, operators=operators)


def describe(error: BaseException) -> tuple[Status, str]:
    """Status and text for whatever a stage raised."""
    if isinstance(error, RunFailure):
        return error.status, str(error)
    text = _ANSI.sub("", f"{type(error).__name__}: {error}").strip()
    if (root := _root(error)) is not error:
        text = f"{text.splitlines()[0]}\ncaused by {type(root).__name__}: {_ANSI.sub('', str(root))}".strip()
    if type(error).__name__ == "OutOfMemoryError":  # torch's, for every kind of accelerator
        return "oom_device", text
    if isinstance(error, MemoryError) or NO_MEMORY.search(text):
        advice = "" if str(error) else " use a smaller batch or length, or raise limits.memory_gib"
        return "oom_host", text + advice
    return "crashed", text


def _root(error: BaseException) -> BaseException:
    """The first of a chain of exceptions: libraries wrap the reason in general remarks."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
