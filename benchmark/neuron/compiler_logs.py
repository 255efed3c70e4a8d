"""Read the logs of Neuron's libraries and compilers: counts, unsupported operators, error codes.

It serves torch-neuron (inf1) and torch-neuronx (inf2, trn), and needs no torch. The sentences come from the
documentation (aws-neuron-sdk at 81ce03ae, 2026-08) and from logs that users posted in its issues; each
pattern names its source.
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
"""Versions of PyPI's packages of the same names, which raise ImportError("WRONG PACKAGE …") on import.

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
"""Sentences of a trace that succeeds although it runs on the CPU (issues #462, #827, #618)."""
_NOT_CALCULATED = "** NOT CALCULATED **"
"""torch-neuron without a device: "Warning: Tensor output are ** NOT CALCULATED ** during CPU execution and
only indicate tensor shape" (release-notes/archive/torch-neuron.rst)."""
_MOST_LINES = 40
"""Lines that are shown from the end of each log of a failed compilation."""


def refuse_stubs(found: Mapping[str, str], install: str, python: str | None) -> None:
    """Refuse libraries of this interpreter, or of `python`, that are stubs.

    Raises:
        LibraryMissing: some are stubs of PyPI; the message has `install`, the command that replaces them.
    """
    if stubs := [f"{name} {version}" for name, version in found.items() if version in _STUBS]:
        command = install.replace("pip", f"{python} -m pip", 1) if python else install
        raise LibraryMissing(
            f"{' and '.join(stubs)} here {'is' if len(stubs) == 1 else 'are'} PyPI's stub: {command} "
            '(importing the stub raises ImportError, "WRONG PACKAGE")'
        )


@frozen
class LogFacts:
    """Facts from a log; what it doesn't mention is null."""

    subgraphs: int | None
    """Subgraphs that the partitioner made."""
    ops_on_device_fraction: float | None
    """Share of the arithmetic operators."""
    unsupported_ops: tuple[str, ...]


def read(text: str) -> LogFacts:
    """Read from a log the facts that a row has columns for; of several mentions the last counts."""
    subgraphs = [first or second for first, second in _SUBGRAPHS.findall(text)]
    return LogFacts(
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


def fallback_sentence(text: str) -> str | None:
    """Return the sentence that says that the library fell back to the CPU, or None."""
    found = _FALLBACK.search(text)
    return found[0] if found else None


def analysis(answer: Mapping[str, Any]) -> tuple[float | None, tuple[str, ...]]:
    """Share of supported operators and names of the others, from the result of `torch_neuronx.analyze`.

    Its `support_percentage` is a text, "85.71%"; its `unsupported_operators` are mappings with a `kind`.
    """
    share = re.fullmatch(r"([\d.]+)%", str(answer.get("support_percentage", "")))
    kinds = {str(one["kind"]) for one in answer.get("unsupported_operators", ())}
    return float(share[1]) / 100 if share else None, tuple(sorted(kinds))


def failure(error: Exception, log: str, *, unknown_operator: bool = False) -> RunFailure | None:
    """Return the failure that a library's error describes, or None where it names no known cause.

    `log` holds the lines before the error. `unknown_operator`: the error's class alone already means an
    operator that the compiler lacks, whatever its text.
    """
    text = str(error)
    code = _CODE.search(text) or _CODE.search(log)
    raised = code[0] if code else None
    said = _line_with(raised, f"{text}\n{log}") if raised else _line_with("not supported", text)
    if raised and raised.startswith(_NO_MEMORY):
        return OutOfDeviceMemory(said, raised=raised)
    names = operators(text) or operators(log)
    if raised in _UNSUPPORTED or unknown_operator or (raised is None and operators(text)):
        missing = f" ({', '.join(names)})" if names and not any(name in said for name in names) else ""
        return UnsupportedOperator(f"{said}{missing}", raised=raised or type(error).__name__, operators=names)
    return CompileFailed(said, raised=raised) if raised else None


def _line_with(word: str, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if word in line), lines[0] if lines else "no reason given")[:500]


@contextmanager
def compiling(work: Path, unknown_operator: type[Exception] | tuple[()] = ()) -> Iterator[list[str]]:
    """Collect the libraries' log messages; turn an error into the failure that messages and logs name.

    `work` is the compiler's folder, whose logs go to the run's log. Errors of the class `unknown_operator`
    mean an operator that the compiler lacks.
    """
    with capture_logs() as messages:
        try:
            yield messages
        except Exception as error:
            log = "\n".join([*messages, show_logs(work)])
            if described := failure(error, log, unknown_operator=isinstance(error, unknown_operator)):
                raise described from error
            raise


@contextmanager
def capture_logs() -> Iterator[list[str]]:
    """Collect what the libraries log, from level INFO, while the block lasts; the run's log has it too."""
    logger, messages = logging.getLogger(LOGGER), list[str]()
    handler = _Collector(messages, echo=not logger.hasHandlers())
    level = logger.level
    logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)  # the counts have this level; a logger's default is WARNING
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Collector(logging.Handler):
    """Keeps messages; writes them to standard error where no other handler does."""

    def __init__(self, messages: list[str], *, echo: bool) -> None:
        super().__init__(logging.INFO)
        self._messages, self._echo = messages, echo

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self._messages.append(message)
        if self._echo:
            sys.stderr.write(f"{record.levelname}:{record.name}:{message}\n")


def show_logs(folder: Path) -> str:
    """Write the last lines of the compiler's logs to the run's log; return them too."""
    ends = ""
    for file in sorted({*folder.rglob("log-neuron-cc.txt"), *folder.rglob("*.log")}):
        with suppress(OSError):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-_MOST_LINES:]
            ends += "\n".join([f"--- end of {file.relative_to(folder)}", *lines, ""])
    sys.stderr.write(ends)
    return ends


def neff_bytes(folder: Path) -> int | None:
    """Size of the device programs (.neff) in the compiler's folder; None where there are none."""
    return sum(file.stat().st_size for file in folder.rglob("*.neff")) or None


class ProcessLog:
    """Standard error of this process from now on. In a child process it is the run's log file."""

    def __init__(self) -> None:
        self._start = _size_of_log()

    def says_not_calculated(self) -> bool:
        """Whether a library has warned that it calculated nothing."""
        sys.stderr.flush()
        return self._start is not None and _NOT_CALCULATED in _log_from(self._start)


_OUR_LOG = Path("/proc/self/fd/2")


def _size_of_log() -> int | None:
    """None where it isn't a file but, for instance, a terminal."""
    with suppress(OSError):
        return _OUR_LOG.stat().st_size if _OUR_LOG.is_file() else None
    return None


def _log_from(start: int) -> str:
    with suppress(OSError), _OUR_LOG.open("rb") as log:
        log.seek(start)
        return log.read().decode(errors="replace")
    return ""
