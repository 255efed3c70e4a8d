"""Child processes for the heavy part of a stage: forked from a server that has the libraries loaded.

A fork of the preloaded server costs 0.02 s; a fresh interpreter needs 4 s. The server only imports: if it had
computed with two OpenMP threads, children with two threads would hang in their first matrix product.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import multiprocessing
import os
import re
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection, forkserver, resource_tracker, util
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt

from benchmark.errors import Crashed, OutOfMemory, RunFailure, TimedOut
from benchmark.execution.failures import NO_MEMORY, deserialize_error, serialize_error
from benchmark.host.machine import COMMAND_PID
from benchmark.records import frozen

T = TypeVar("T")

_ENVIRONMENT = {
    "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no pool of compile workers that could outlive the child
    "AOTI_RUNTIME_CHECK_INPUTS": "1",  # else a .pt2 answers inputs of another shape, silently
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONUNBUFFERED": "1",
}
"""Libraries read these when they load, so they are set before the server starts; the user's values win."""

_GRACE_S = 5.0
_LAST_WORDS_S = 0.5
_STOPS = (signal.SIGINT, signal.SIGTERM)


@frozen
class ChildLimits:
    """Limits of a child process, and the file for its output."""

    log: Path
    timeout_s: PositiveFloat
    memory_bytes: PositiveInt | None = None
    """Private memory it may take (RLIMIT_DATA) beyond what imports hold; null sets no limit."""
    command_pid: PositiveInt = Field(default_factory=os.getpid)
    """Process of the command that the child works for; see `machine.command_pid`."""


class Forkserver:
    """Runs each call in a fresh child that cannot outlive this process."""

    def __init__(self, preload: Iterable[str]) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(sorted({*preload, __name__}))  # else each child imports this
        self._answered = False
        self._living: set[Any] = set()
        self._lock = threading.Lock()  # multiprocessing starts and reaps children for one thread at a time

    def warm(self) -> None:
        """Start the server; its imports go on while this process plans."""
        ours = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
        os.environ.update(ours)
        resource_tracker.ensure_running()  # the server starts it otherwise, and that would unblock the signal
        # The server inherits the mask: else a terminal's Ctrl-C ends its imports with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with defer_signals():  # else a server could run that nothing knows of
                forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for name in ours:  # the server has them now; left here, they would change this host's identity
                del os.environ[name]

    def call(self, limits: ChildLimits, function: Callable[..., T], /, *arguments: Any) -> T:
        """Return what `function` returns in a child of its own.

        Raises:
            RunFailure: what the child raised, or how it ended: OutOfMemory, TimedOut, Crashed.
        """
        with self._lock:
            self.warm()
        limits.log.parent.mkdir(parents=True, exist_ok=True)
        answer, answer_end = self._context.Pipe(duplex=False)
        leash_end, leash = self._context.Pipe(duplex=False)
        child = self._context.Process(
            target=_child, args=(answer_end, leash_end, limits, function, arguments), daemon=True
        )
        kills, said = _kernel_memory_kills(), _size(limits.log)
        result = None
        try:
            # Not for the first: its answer takes as long as the server's imports.
            with self._lock, defer_signals() if self._answered else contextlib.nullcontext():
                self._start(child)
                self._living.add(child)
            self._answered = True
            answer_end.close()
            leash_end.close()
            result = _await(answer, child, limits.timeout_s)
        finally:
            if result is not None:
                _wait_for_end(child, _GRACE_S)
            leash.close()  # in every case, also Ctrl-C: the child and its descendants end here
            if child.pid is not None:
                _kill(child)
                with self._lock:  # now only: other threads start children while this one dies
                    child.join(0)
                    self._living.discard(child)
            answer.close()
        if result is None:
            starved = _kernel_memory_kills() > kills
            raise _death(child.exitcode, _last_words(limits.log, said), starved=starved)
        if result[0] == "ok":
            return result[1]  # type: ignore[no-any-return]
        raise deserialize_error(*result)

    @staticmethod
    def _start(child: Any) -> None:
        try:
            child.start()
        except (EOFError, ConnectionError) as error:
            raise Crashed("the server that children are forked from has ended") from error

    def close(self) -> None:
        """End the server, also during its imports; a later call starts another."""
        server = forkserver._forkserver  # noqa: SLF001 - it has no public end
        pid = server._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001
        if pid is not None:
            with defer_signals():  # an end that is cut off leaves a server that can neither end nor start
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                server._stop()  # type: ignore[attr-defined]  # noqa: SLF001

    def end_children(self) -> None:
        """End the children that other threads wait for, or the server; their calls raise Crashed."""
        if not self._answered:
            self.close()
        for child in list(self._living):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM to the end of a block that must be done as a whole.

    Handlers do it: a mask holds back the signals of one thread only, and libraries have others.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deferred: list[int] = []
    before = {number: signal.signal(number, lambda number, _: deferred.append(number)) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in deferred:
            signal.raise_signal(one)


def inline(function: Callable[..., T], /, *arguments: Any) -> T:
    """Call in this process, for devices that compute nothing; errors are those that a child would raise."""
    try:
        return function(*arguments)
    except Exception as error:
        raise deserialize_error(*serialize_error(error)) from error


def _await(answer: Any, child: Any, timeout_s: float) -> tuple[Any, ...] | None:
    """Return the child's answer, or None if it died without one.

    Raises:
        TimedOut: it did neither in time.
    """
    ready = connection.wait([answer, child.sentinel], timeout_s)
    if not ready:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGABRT)  # faulthandler writes into the log where it hangs
        _wait_for_end(child, _LAST_WORDS_S)
        raise TimedOut(
            f"no answer within {timeout_s:g} s: raise limits.*_timeout_s, or look where it hangs in the log"
        )
    try:
        return answer.recv() if answer in ready or answer.poll() else None
    except (EOFError, OSError):
        return None


def _wait_for_end(child: Any, seconds: float) -> None:
    """Wait without reading how it ended: `join` would read it, and only one thread may."""
    connection.wait([child.sentinel], seconds)


def _kill(child: Any) -> None:
    """End the child and everything it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if not connection.wait([child.sentinel], 0):  # killed before it led a group
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    _wait_for_end(child, _GRACE_S)


def _death(exitcode: int | None, last: str, *, starved: bool) -> RunFailure:
    """The error for a child that died without an answer."""
    words = f"; last words: {last}" if last else ""
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        if NO_MEMORY.search(last):
            return OutOfMemory(f"the child ran out of memory and ended by {name}{words}")
        if -exitcode == signal.SIGKILL and starved:
            return OutOfMemory("the kernel killed the child for want of memory: try a smaller batch")
        return Crashed(f"the child was ended by {name}{words}")
    return Crashed(f"the child left with exit code {exitcode} and no answer{words}")


def _size(log: Path) -> int:
    with contextlib.suppress(OSError):
        return log.stat().st_size
    return 0


def _last_words(log: Path, since: int) -> str:
    """The most telling line that was written since the log had so many bytes."""
    with contextlib.suppress(OSError):
        text = log.read_bytes()[since:][-4000:].decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        fatal = [
            line
            for line in lines
            if "terminate called" in line or "what()" in line or "Fatal Python error" in line
        ]
        return " ".join(fatal or lines[-1:])[:300]
    return ""


def _kernel_memory_kills() -> int:
    """How many processes the kernel's memory killer has killed on this host; 0 if it isn't counted."""
    with contextlib.suppress(OSError, ValueError):
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def _child(
    answer: Any, leash: Any, limits: ChildLimits, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> NoReturn:
    """Entry of a child: set its limits, send its output to the run's log, call, answer, exit."""
    os.setsid()  # one group to kill: compilers start processes
    os.environ[COMMAND_PID] = str(limits.command_pid)
    _follow(leash)
    _redirect(limits.log)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory_bytes is not None:
        # RLIMIT_DATA counts private memory only; RLIMIT_AS would also count mapped weights.
        most = _private_bytes() + limits.memory_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        result: tuple[Any, ...] = ("ok", function(*arguments))
    except BaseException as error:  # noqa: BLE001 - the parent raises it again
        traceback.print_exc()
        result = serialize_error(error)
    answer.send(result)
    sys.stderr.flush()
    util._exit_function()  # type: ignore[attr-defined]  # noqa: SLF001 - frees named semaphores, which the next line would leak
    os._exit(0)  # skips freeing gigabytes of weights


def _private_bytes() -> int:
    """Private memory that this process holds or has reserved: some libraries reserve a gigabyte on import."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    return 0


def _follow(leash: Any) -> None:
    """End this process group when the parent has closed its end of the pipe `leash`, also by being killed.

    On Linux the kernel does it: a thread would wait for a compiler that holds Python's global lock.
    """
    if sys.platform != "linux":
        threading.Thread(target=_wait_and_end, args=(leash,), daemon=True).start()
        return
    fcntl.fcntl(leash, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(leash, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(leash, fcntl.F_SETFL, fcntl.fcntl(leash, fcntl.F_GETFL) | os.O_ASYNC)
    if leash.poll():  # it was closed before
        _wait_and_end(leash)


def _wait_and_end(leash: Any) -> None:
    with contextlib.suppress(EOFError, OSError):
        leash.recv()
    os.killpg(0, signal.SIGKILL)


def _redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable()
