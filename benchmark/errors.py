"""The exceptions of this program.

BenchmarkError                 a mistake of the user or a fault of the environment: one line, exit code 1
├── ConfigError                an invalid configuration
├── StoreError                 results that cannot be read or written
├── CacheError                 compiled artefacts that cannot be read or written
├── BucketError                a storage that can't be reached or used
├── NotAllOk                   a job of one of Hydra's sweepers ended with another exit code than 0
└── RunFailure                 one cell can't be measured: becomes a row with its status, and the grid goes on
    ├── Incompatible           the combination can never work
    ├── Unavailable            this host lacks the device, the weights or the data
    │   └── LibraryMissing     … or a library: names the command that installs it
    ├── Dominated              a smaller batch or length of the cell ran out of memory
    ├── UnsupportedOperator    the compiler does not know an operator of the model
    ├── CompileFailed          the compiler gave up
    ├── Fallback               it would run, but not on the requested device
    ├── OutOfMemory            of the host, or above the limit of a child
    ├── OutOfDeviceMemory      of the device
    ├── TimedOut               a child ran past its limit and was stopped
    ├── Crashed                a child died or raised
    ├── Interrupted            a fault of this host that says nothing about the cell
    ├── Saturated              requests came faster than they were answered
    └── WrongAnswer            the compiled model does not compute what the reference does
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Status = Literal[
    "ok",
    "compile_error",
    "unsupported_op",
    "fallback",
    "oom_host",
    "oom_device",
    "timeout",
    "crashed",
    "accuracy_fail",
    "saturated",
    "incompatible",
    "unavailable",
    "dominated",
    "interrupted",
]
"""Outcome of a run; `store/schema.md` explains each."""


class BenchmarkError(Exception):
    """A mistake of the user or a fault of the environment; says what is wrong, where, and what to do."""


class ConfigError(BenchmarkError):
    """An invalid configuration; names the key and the allowed values."""


class StoreError(BenchmarkError):
    """Results that cannot be read or written."""


class CacheError(BenchmarkError):
    """Compiled artefacts that cannot be read or written."""


class BucketError(BenchmarkError):
    """A bucket that can't be reached or used; names the cause and the mend."""


class NotAllOk(BenchmarkError):
    """A job of one of Hydra's own sweepers ended with this exit code: they drop what a job returns."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class RunFailure(BenchmarkError):
    """One cell can't be measured; `status` goes into its row."""

    status: Status = "crashed"

    def __init__(self, text: str = "", *, raised: str | None = None, operators: Sequence[str] = ()) -> None:
        """`raised` is the class of the library's exception behind it, `operators` are those it concerns."""
        super().__init__(text)
        self.raised, self.operators = raised, tuple(operators)


class Incompatible(RunFailure):
    """The combination of model, lengths, compiler and hardware can never work."""

    status = "incompatible"


class Unavailable(RunFailure):
    """This host lacks the device, the weights or the data."""

    status = "unavailable"


class LibraryMissing(Unavailable):
    """A library is not installed; the text ends with the command that installs it."""


class Dominated(RunFailure):
    """Not tried, because the same cell with a smaller batch or length ran out of memory."""

    status = "dominated"


class UnsupportedOperator(RunFailure):
    """The compiler does not know an operator of the model."""

    status = "unsupported_op"


class CompileFailed(RunFailure):
    """The compiler gave up."""

    status = "compile_error"


class Fallback(RunFailure):
    """It would run, but not on the requested device."""

    status = "fallback"


class OutOfMemory(RunFailure):
    """The host's memory, or the limit set for a child, was not enough."""

    status = "oom_host"


class OutOfDeviceMemory(RunFailure):
    """The device's memory was not enough."""

    status = "oom_device"


class TimedOut(RunFailure):
    """A child ran past its limit and was stopped."""

    status = "timeout"


class Crashed(RunFailure):
    """A child raised, aborted or was killed."""

    status = "crashed"


class Interrupted(RunFailure):
    """A fault of this host that says nothing about the cell, such as a full disk: it is measured again."""

    status = "interrupted"


class Saturated(RunFailure):
    """The load is more than the model can answer: the queue grew, or no rate keeps the limit."""

    status = "saturated"


class WrongAnswer(RunFailure):
    """The compiled model does not compute what the fp32 reference does."""

    status = "accuracy_fail"


FAILURES: dict[Status, type[RunFailure]] = {
    kind.status: kind
    for kind in (
        Crashed,
        Incompatible,
        Unavailable,
        Dominated,
        UnsupportedOperator,
        CompileFailed,
        Fallback,
        OutOfMemory,
        OutOfDeviceMemory,
        TimedOut,
        Interrupted,
        Saturated,
        WrongAnswer,
    )
}
"""Status to exception, to raise the failure of a child again in the parent."""


def missing_library(error: ImportError) -> str:
    """Say which library a model lacks, and how to install it."""
    reason = " ".join(str(error).split())
    named = re.search(r"requires the (?:following )?(.+?) librar", reason)
    name = named[1].lower() if named else error.name or "what it names"
    return f"it needs the library {name}, which is not installed: pip install {name} ({reason[:150]})"
