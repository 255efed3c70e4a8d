"""What Neuron's libraries and compilers say of their work, in the words of a row: counts, operators, codes.

Both generations share it, torch-neuron (inf1) and torch-neuronx (inf2, trn). Nothing here needs torch. The
sentences are those of the documentation (aws-neuron-sdk at 81ce03ae, 2026-08) and of the logs that users
posted in its issues: each pattern names its source.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmark.errors import CompileFailed, LibraryMissing, OutOfDeviceMemory, RunFailure, UnsupportedOperator
from benchmark.records import frozen

LOGGER = "Neuron"
"""Both libraries log to it (archive/appnotes/torch-neuronx/torch-neuronx-graph-partitioner-app-note.rst)."""
_STUBS = frozenset({"0.1", "1.0", "1.0.post1"})
"""Versions of the packages on PyPI that bear the libraries' names and raise ImportError("WRONG PACKAGE …").

torch-neuronx, torch-neuron 1.0, neuronx-cc, neuron-cc 1.0.post1, neuronx-distributed 0.1 (2026-11-24). Real
ones have more numbers, such as torch-neuronx 2.9.0.2.15.32035 and neuronx-cc 2.26.6360.0.
"""

_CODE = re.compile(r"NCC_[A-Z]+\d+")
_UNSUPPORTED = frozenset({"NCC_EVRF001", "NCC_EUOC002"})
"""Both read "An unsupported operator was used." (compiler/error-codes/EVRF001.rst, EUOC002.rst)."""
_NO_MEMORY = "NCC_EOOM"
"""EOOM001 and EOOM002: tensors exceed the device's memory."""

_NAME = r"(?:aten|prim)::\w+"
_OPERATORS = (
    # "[NCC_EVRF001] Operator topk is not supported. Locate the operator …" (neuronx-cc 2.26);
    # "Neuron compile failed.  Operator prim::PythonOp is not supported" (torch-neuron, issue #86)
    re.compile(r"\b[Oo]perator '?([\w:.-]+?)'? is not supported"),
    # "There are 2 ops of 1 different types in the TorchScript that are not compiled by neuron-cc:
    # aten::embedding, (For more information see …" (torch-neuron, issue #462)
    re.compile(rf"not compiled by neuron-cc: ((?:{_NAME}[, ]*)+)"),
    # " => aten::embedding: 2 [not supported]" (torch-neuron, issue #485)
    re.compile(rf"=> ({_NAME}): \d+ \[not supported\]"),
    # "The following operations are currently not supported:", then "aten::sort, unsup.py(28): …", a line each
    # (the partitioner's app note)
    re.compile(rf"currently not supported[^\n]*:((?:\n(?:\w+: )?\s*{_NAME}[^\n]*)+)"),
)
_FUSED = re.compile(r"Number of arithmetic operators \(pre-compilation\) before = (\d+), fused = (\d+)")
"""torch-neuron: "… before = 249, fused = 242, percent fused = 97.19%" (issue #462)."""
_SHARE = re.compile(r"% of arithmetic operations \((\d+) of (\d+)\)")
"""torch-neuronx: "85.71% of arithmetic operations (6 of 7) are supported" (the partitioner's app note)."""
_SUBGRAPHS = re.compile(r"neuron partitioner created (\d+) sub-graphs?|Num Partitions: (\d+)")
_FALLBACK = re.compile(
    r"torch\.neuron\.trace failed on \S+; falling back to native python function call"
    r"|No operator is placed on Neuron runtime; returning a CPU trace"
    r"|Neuron successfully compiled 0 sub-graphs[^\n]*"
)
"""What is traced all the same, and runs on the CPU (issues #462, #827, #618)."""
_NOT_CALCULATED = "** NOT CALCULATED **"
"""torch-neuron without a device: "Warning: Tensor output are ** NOT CALCULATED ** during CPU execution and
only indicate tensor shape" (release-notes/archive/torch-neuron.rst)."""
_MOST_LINES = 40
"""Of each log that a failed compilation leaves."""


def real(found: Mapping[str, str], install: str, python: str | None) -> Mapping[str, str]:
    """Versions as they were found, here or for another interpreter.

    Raises:
        LibraryMissing: some are those of PyPI's stubs; `install` is the command that mends it.
    """
    if stubs := [f"{name} {version}" for name, version in found.items() if version in _STUBS]:
        command = install.replace("pip", f"{python} -m pip", 1) if python else install
        raise LibraryMissing(
            f"{' and '.join(stubs)} here {'is' if len(stubs) == 1 else 'are'} PyPI's stub: {command} "
            '(importing the stub raises ImportError, "WRONG PACKAGE")'
        )
    return found


@frozen
class Told:
    """What a log says; unknown stays null."""

    subgraphs: int | None
    """Pieces that the partitioner cut the model into."""
    ops_on_device_fraction: float | None
    """Share of the arithmetic operators."""
    unsupported_ops: tuple[str, ...]


def read(text: str) -> Told:
    """Take from a log what a row has columns for; where it says something twice, the last counts."""
    subgraphs = [first or second for first, second in _SUBGRAPHS.findall(text)]
    return Told(
        subgraphs=int(subgraphs[-1]) if subgraphs else None,
        ops_on_device_fraction=_fraction(text),
        unsupported_ops=operators(text),
    )


def _fraction(text: str) -> float | None:
    for pattern, whole_first in ((_FUSED, True), (_SHARE, False)):
        if found := pattern.findall(text):
            a, b = map(int, found[-1])
            part, whole = (b, a) if whole_first else (a, b)
            return part / whole if whole else None
    return None


def operators(text: str) -> tuple[str, ...]:
    """Operators that a log or an error calls unsupported, sorted."""
    names: set[str] = set()
    for pattern in _OPERATORS:
        for found in pattern.findall(text):
            names |= set(re.findall(_NAME, found)) or {found.rstrip(".")}
    return tuple(sorted(names))


def fallback(text: str) -> str | None:
    """Return the sentence by which a library says that it left to the CPU what it was to compile, or None."""
    found = _FALLBACK.search(text)
    return found[0] if found else None


def analysed(answer: Mapping[str, Any]) -> tuple[float | None, tuple[str, ...]]:
    """Share of supported operators, and the others, as `torch_neuronx.analyze` tells them.

    Its `support_percentage` is a text, "85.71%"; its `unsupported_operators` are mappings with a `kind`.
    """
    share = re.fullmatch(r"([\d.]+)%", str(answer.get("support_percentage", "")))
    kinds = {str(one["kind"]) for one in answer.get("unsupported_operators", ())}
    return float(share[1]) / 100 if share else None, tuple(sorted(kinds))


def failure(error: Exception, log: str, *, unknown_operator: bool = False) -> RunFailure | None:
    """Return the failure that a library's error is about, or None for one that says nothing of its own.

    `log` is what was logged before it. `unknown_operator`: by its kind alone the error means an operator that
    the compiler doesn't know, whatever it says.
    """
    text = str(error)
    code = _CODE.search(text) or _CODE.search(log)
    raised = code[0] if code else None
    said = _line_with(raised, f"{text}\n{log}") if raised else _line_with("not supported", text)
    if raised and raised.startswith(_NO_MEMORY):
        return OutOfDeviceMemory(said, raised=raised)
    names = operators(text) or operators(log)
    if raised in _UNSUPPORTED or unknown_operator or (raised is None and operators(text)):
        told = f" ({', '.join(names)})" if names and not any(name in said for name in names) else ""
        return UnsupportedOperator(f"{said}{told}", raised=raised or type(error).__name__, operators=names)
    return CompileFailed(said, raised=raised) if raised else None


def _line_with(word: str, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if word in line), lines[0] if lines else "no reason given")[:500]


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what the libraries log while the block lasts, from INFO on; it goes to the run's log too."""
    logger, messages = logging.getLogger(LOGGER), list[str]()
    handler = _Collector(messages, aloud=not logger.hasHandlers())
    level = logger.level
    logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)  # their numbers are at this level, the default of a logger is WARNING
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Collector(logging.Handler):
    """Keeps messages, and writes them too where nobody else would."""

    def __init__(self, messages: list[str], *, aloud: bool) -> None:
        super().__init__(logging.INFO)
        self._messages, self._aloud = messages, aloud

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self._messages.append(message)
        if self._aloud:
            sys.stderr.write(f"{record.levelname}:{record.name}:{message}\n")


def show_logs(folder: Path) -> str:
    """Write the ends of the compiler's logs in its work folder into the run's log; return them too."""
    told = ""
    for file in sorted({*folder.rglob("log-neuron-cc.txt"), *folder.rglob("*.log")}):
        with suppress(OSError):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-_MOST_LINES:]
            told += "\n".join([f"--- {file.relative_to(folder)}, its end", *lines, ""])
    sys.stderr.write(told)
    return told


def neff_bytes(folder: Path) -> int | None:
    """Size of what the compiler left for the device in its work folder; null where it left none there."""
    return sum(file.stat().st_size for file in folder.rglob("*.neff")) or None


class Words:
    """What this process has written to its standard error from now on, which in a child is its log."""

    def __init__(self) -> None:
        self._start = _size_of_log()

    def say_not_calculated(self) -> bool:
        """Whether a library has warned that its outputs are no answers."""
        sys.stderr.flush()
        return self._start is not None and _NOT_CALCULATED in _log_from(self._start)


_OUR_LOG = Path("/proc/self/fd/2")


def _size_of_log() -> int | None:
    """Null where it isn't a file, such as a terminal."""
    with suppress(OSError):
        return _OUR_LOG.stat().st_size if _OUR_LOG.is_file() else None
    return None


def _log_from(start: int) -> str:
    with suppress(OSError), _OUR_LOG.open("rb") as log:
        log.seek(start)
        return log.read().decode(errors="replace")
    return ""
