"""Child processes for the heavy part of a stage: forked from a server that has the libraries loaded.

A fork of the preloaded server costs 0.02 s; a fresh interpreter needs 4 s.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import Pipe, connection, util
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt

from benchmark.errors import Crashed, Interrupted, OutOfMemory, RunFailure, TimedOut
from benchmark.execution import child_log
from benchmark.execution.call_pickle import packed, unpacked
from benchmark.execution.descendants import adopt_orphans
from benchmark.execution.failures import NO_MEMORY, cause, deserialize_error, serialize_error
from benchmark.execution.leash import follow
from benchmark.execution.server_connection import ServerConnection, ServerEnded, signal_name, take
from benchmark.execution.warm_server import NUMBER
from benchmark.host.machine import COMMAND_PID
from benchmark.records import frozen

T = TypeVar("T")

logger = logging.getLogger(__name__)

_GRACE_S = 5.0
_LAST_WORDS_S = 0.5
_LOG_EVERY_S = 0.25
"""How often the size of a log is looked at while a child works."""
_FREE = "end other programs, or raise the limit (ulimit -u, -n)"
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
    may_linger: bool = False
    """Whether its call returns while its memory is being freed; the next call waits for its end."""


class Forkserver:
    """Runs each call in a fresh child that cannot outlive this process."""

    def __init__(self, preload: Iterable[str], *, core: Sequence[str] = (), keep_warm_s: float = 0) -> None:
        """Modules that children need; `core` are those among them that other commands need too.

        With `keep_warm_s` the server of an earlier command is used, and stays for that long after this one.
        """
        self._preload, self._core, self._keep_warm_s = {*preload, __name__}, core, keep_warm_s
        self._server: ServerConnection | None = None
        self._living, self._starting, self._lingering = set[_Child](), set[_Child](), set[_Child]()
        self._has_forked = False
        self._lock = threading.RLock()

    def warm(self) -> None:
        """Start the server; its imports go on while this process plans."""
        with contextlib.suppress(ServerEnded):  # the first call reports it
            self._running()

    def _running(self) -> ServerConnection:
        """The server, started where there is none.

        Raises:
            ServerEnded: it can't be started, or has ended at once.
        """
        with self._lock:
            if self._server and self._server.has_ended():
                self._replace(self._server)
            if self._server is None:
                with defer_signals():  # else a server could run that nothing knows of
                    server = take(self._core, self._keep_warm_s)
                    self._server = server
                    server.begin(self._preload, self._keep_warm_s if self._core else 0)
            return self._server

    def _replace(self, ended: ServerConnection) -> None:
        """Forget a server that has ended, so that the next call starts another.

        As a process ends, its files are closed one after the other: that of a child before this command's.
        """
        if ended.has_ended(_LAST_WORDS_S):
            if ended.is_warm:
                logger.warning("%s: this command goes on with a server of its own", ended.death())
            self.close()

    def call(self, limits: ChildLimits, function: Callable[..., T], /, *arguments: Any) -> T:
        """Return what `function` returns in a child of its own.

        Raises:
            RunFailure: what the child raised, or how it ended: OutOfMemory, TimedOut, Crashed.
            Interrupted: its server was killed, or this host can start no process.
        """
        child_log.prepare(limits.log)
        text, files = packed((function, arguments))
        kills, said = kernel_memory_kills(), child_log.size(limits.log)
        child, result = _Child(), None
        try:
            self._start(child, files)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended already
                child.task.send((limits, text))
            self._end_lingering()
            result = _await(child, limits)
            if result is not None and not limits.may_linger:
                child.wait_for_end(_GRACE_S)
        finally:
            if result is not None and limits.may_linger:
                self._lingering.add(child)
            else:
                self._end(child)  # also at Ctrl-C: the child and its descendants end here
            child_log.shorten(limits.log)
        if result is None:
            starved = kernel_memory_kills() > kills
            raise self._lost(child) or _death(child, child_log.last_words(limits.log, said), starved=starved)
        if result[0] == "ok":
            return result[1]  # type: ignore[no-any-return]
        raise deserialize_error(*result)

    def _lost(self, child: _Child) -> RunFailure | None:
        """The error for a child whose server has ended before it, by no act of this command; else None."""
        if child.exit_code is not None:
            return None
        with self._lock:
            if self._server is child.server:
                self._replace(child.server)  # with all that the child has left
        return _failure_of(child.server) if child.server.was_lost else None

    def _end_lingering(self) -> None:
        """Wait for the end of children that have answered."""
        for child in tuple(self._lingering):
            child.wait_for_end(_GRACE_S)
            self._end(child)
            self._lingering.discard(child)

    def _end(self, child: _Child) -> None:
        child.end()
        self._living.discard(child)

    def _start(self, child: _Child, files: Sequence[int]) -> None:
        """Let the server fork the child; if an earlier command's has ended, start one for this command.

        Raises:
            Interrupted, Crashed: the server of this command has ended, or can't be started.
        """
        server = None
        self._starting.add(child)
        try:
            # Not for the first child: it takes as long as the server's imports.
            with defer_signals() if self._has_forked else contextlib.nullcontext():
                with self._lock:
                    server = self._running()
                    child.request(server, files)
                child.wait_for_start()
                self._living.add(child)
            self._has_forked = True
        except ServerEnded as error:
            if server is None:
                raise Interrupted(str(error)) from error
            with self._lock:
                if self._server is server:  # else another thread has done it
                    self._replace(server)
            if not (server.was_lost and server.is_warm):
                raise _failure_of(server) from error
            self._start(child, files)
        except OSError as error:
            raise Interrupted(f"no child can be started: {error.strerror}: {_FREE}") from error
        finally:
            self._starting.discard(child)

    def close(self) -> None:
        """End the server, also during its imports; a later call starts another."""
        with self._lock, defer_signals():  # an end that is cut off leaves a server that nothing knows of
            self._end_lingering()
            server, self._server = self._server, None
            if server:
                server.end()

    def end_children(self) -> None:
        """End the children that other threads wait for, or the server; their calls raise Crashed."""
        if self._starting:
            self.close()
        for child in list(self._living):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)


class _Child:
    """A child process, and this command's ends of what they share."""

    def __init__(self) -> None:
        self.pid = 0
        """0 before it has started."""
        self.exit_code: int | None = None
        """Null before its end, and if its server has ended before."""
        self.ended_itself = False
        """Whether it had ended before this command ended it."""
        self.server: ServerConnection
        self.task: Connection
        self._leash = -1
        self.fate = -1
        """Readable once it has ended."""

    def request(self, server: ServerConnection, files: Sequence[int]) -> None:
        """Request it of the server; it inherits the open files.

        Raises:
            ServerEnded: the server has.
        """
        self.end()
        self.server = server
        self.task, task = Pipe()
        leash, self._leash = os.pipe()
        self.fate, fate = os.pipe()
        try:
            server.fork((task.fileno(), leash, fate, *files))
        finally:
            task.close()
            os.close(leash)
            os.close(fate)

    def wait_for_start(self) -> None:
        """Wait until it runs.

        Raises:
            ServerEnded: its server has.
            OutOfMemory: there is no room for a process.
            OSError: it can't be started for another reason.
        """
        if (pid := self._number()) is None:
            raise ServerEnded(self.server.death())
        if pid == -errno.ENOMEM:
            raise OutOfMemory(f"no child can be started: {os.strerror(-pid)}")
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        self.pid = pid

    def wait_for_end(self, seconds: float) -> bool:
        """Wait until it has ended; return whether it has."""
        return bool(connection.wait([self.fate], seconds))

    def end(self) -> None:
        """End it with everything that it has started."""
        if self.fate < 0:
            return
        self.ended_itself = self.wait_for_end(0)
        os.close(self._leash)
        if self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            if not self.wait_for_end(0):  # killed before it led a group
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            if self.wait_for_end(_GRACE_S):
                self.exit_code = self._number()
        self.task.close()
        os.close(self.fate)
        self.fate = -1

    def _number(self) -> int | None:
        """The next number that its server says of it; None where the server has ended."""
        text = os.read(self.fate, NUMBER.size)
        return int(NUMBER.unpack(text)[0]) if text else None


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


def _end_by_timeout(child: _Child, limits: ChildLimits) -> NoReturn:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGABRT)  # faulthandler writes into the log where it hangs
    child.wait_for_end(_LAST_WORDS_S)
    raise TimedOut(
        f"no answer within {limits.timeout_s:g} s: "
        "raise limits.*_timeout_s, or look where it hangs in the log"
    )


def _await(child: _Child, limits: ChildLimits) -> tuple[Any, ...] | None:
    """Return the child's answer, or None if it died without one; keep its log short meanwhile.

    Raises:
        TimedOut: it did neither in time.
        Crashed: its answer names what this process doesn't have.
    """
    deadline = time.monotonic() + limits.timeout_s
    while not (ready := connection.wait([child.task, child.fate], min(_LOG_EVERY_S, limits.timeout_s))):
        child_log.shorten(limits.log)
        if time.monotonic() >= deadline:
            _end_by_timeout(child, limits)
    try:
        return child.task.recv() if child.task in ready or child.task.poll() else None
    except (EOFError, OSError):
        child.wait_for_end(_LAST_WORDS_S)
        return None
    except Exception as error:
        raise Crashed(f"the child's answer can't be read: {cause(error)}") from error


def _death(child: _Child, last: str, *, starved: bool) -> RunFailure:
    """The error for a child that died without an answer."""
    words = f"; last words: {last}" if last else ""
    code = child.exit_code
    if code is None:
        return Crashed(f"the server that the child was forked from has ended{words}")
    if code == -signal.SIGKILL and not child.ended_itself:
        return Crashed(f"the child closed its connection to this command and gave no answer{words}")
    if code < 0:
        name = signal_name(-code)
        if NO_MEMORY.search(last):
            return OutOfMemory(f"the child ran out of memory and ended by {name}{words}")
        if -code == signal.SIGKILL and starved:
            return OutOfMemory("the kernel killed the child for want of memory: try a smaller batch")
        return Crashed(f"the child was ended by {name}{words}")
    return Crashed(f"the child left with exit code {code} and no answer{words}")


def _failure_of(server: ServerConnection) -> RunFailure:
    """The error for a server that has ended: by this command, its libraries, or a fault of this host."""
    is_accident = server.was_lost and not server.has_crashed()
    return (Interrupted if is_accident else Crashed)(server.death())


def kernel_memory_kills() -> int:
    """How many processes the kernel's memory killer has killed on this host; 0 if it isn't counted."""
    with contextlib.suppress(OSError, ValueError):
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def work_as_child(task: int, leash: int, files: Sequence[int]) -> NoReturn:
    """Entry of a child: set its limits, send its output to the run's log, call, answer, exit."""
    os.setsid()  # one group to kill: compilers start processes
    follow(leash)
    adopt_orphans()
    command = Connection(task)
    limits, text = command.recv()
    os.environ[COMMAND_PID] = str(limits.command_pid)
    try:
        child_log.redirect(limits.log)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        function, arguments = unpacked(text, files)
        if limits.memory_bytes is not None:
            # RLIMIT_DATA counts private memory only; RLIMIT_AS would also count mapped weights.
            most = _private_bytes() + limits.memory_bytes
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        answer = ForkingPickler.dumps(("ok", function(*arguments)))
    except BaseException as error:  # noqa: BLE001 - the parent raises it again
        with contextlib.suppress(Exception):  # of an error that can't be printed
            traceback.print_exc()
        answer = ForkingPickler.dumps(serialize_error(error))
    try:
        command.send_bytes(answer)
        util._exit_function()  # type: ignore[attr-defined]  # noqa: SLF001 - frees named semaphores, which the next line would leak
    finally:
        os._exit(0)  # skips freeing gigabytes of weights


def _private_bytes() -> int:
    """Private memory that this process holds or has reserved: some libraries reserve a gigabyte on import."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    return 0
