"""Child processes for the heavy part of a stage: forked from a server that has the libraries loaded.

A fork of the preloaded server costs 0.02 s; a fresh interpreter needs 4 s.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import logging
import os
import pickle
import re
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import Pipe, connection, util
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt

from benchmark.errors import Crashed, OutOfMemory, RunFailure, TimedOut
from benchmark.execution.failures import NO_MEMORY, deserialize_error, serialize_error
from benchmark.execution.server_connection import ServerConnection, ServerEnded, take
from benchmark.execution.warm_server import NUMBER, follow
from benchmark.host.machine import COMMAND_PID
from benchmark.records import frozen

T = TypeVar("T")

logger = logging.getLogger(__name__)

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
        """Forget a server that has ended, so that the next call starts another."""
        if ended.is_warm:
            logger.warning("%s: this command goes on with a server of its own", ended.death())
        self.close()

    def call(self, limits: ChildLimits, function: Callable[..., T], /, *arguments: Any) -> T:
        """Return what `function` returns in a child of its own.

        Raises:
            RunFailure: what the child raised, or how it ended: OutOfMemory, TimedOut, Crashed.
        """
        limits.log.parent.mkdir(parents=True, exist_ok=True)
        text, files = _packed((function, arguments))
        kills, said = _kernel_memory_kills(), _size(limits.log)
        child, result = _Child(), None
        try:
            self._start(child, files)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended already
                child.task.send((limits, text))
            self._end_lingering()
            result = _await(child, limits.timeout_s)
            if result is not None and not limits.may_linger:
                child.wait_for_end(_GRACE_S)
        finally:
            if result is not None and limits.may_linger:
                self._lingering.add(child)
            else:
                self._end(child)  # also at Ctrl-C: the child and its descendants end here
        if result is None:
            starved = _kernel_memory_kills() > kills
            raise _death(child.exit_code, _last_words(limits.log, said), starved=starved)
        if result[0] == "ok":
            return result[1]  # type: ignore[no-any-return]
        raise deserialize_error(*result)

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
            Crashed: the server of this command has ended.
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
            with self._lock:
                is_current = self._server is server  # else `end_children` has ended it
                if server and is_current:
                    self._replace(server)
            if not (server and server.is_warm and is_current):
                raise Crashed(str(error)) from error
            self._start(child, files)
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
        self._server = server
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
        """
        if (pid := self._number()) is None:
            raise ServerEnded(self._server.death())
        if pid < 0:
            raise OutOfMemory(f"no child can be started: {os.strerror(-pid)}")
        self.pid = pid

    def wait_for_end(self, seconds: float) -> bool:
        """Wait until it has ended; return whether it has."""
        return bool(connection.wait([self.fate], seconds))

    def end(self) -> None:
        """End it with everything that it has started."""
        if self.fate < 0:
            return
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


def _await(child: _Child, timeout_s: float) -> tuple[Any, ...] | None:
    """Return the child's answer, or None if it died without one.

    Raises:
        TimedOut: it did neither in time.
    """
    ready = connection.wait([child.task, child.fate], timeout_s)
    if not ready:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGABRT)  # faulthandler writes into the log where it hangs
        child.wait_for_end(_LAST_WORDS_S)
        raise TimedOut(
            f"no answer within {timeout_s:g} s: raise limits.*_timeout_s, or look where it hangs in the log"
        )
    try:
        return child.task.recv() if child.task in ready or child.task.poll() else None
    except (EOFError, OSError):
        return None


def _death(exitcode: int | None, last: str, *, starved: bool) -> RunFailure:
    """The error for a child that died without an answer."""
    words = f"; last words: {last}" if last else ""
    if exitcode is None:
        return Crashed(f"the server that the child was forked from has ended{words}")
    if exitcode < 0:
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


class _Pickler(pickle.Pickler):
    """Keeps the open files of connections among the arguments, which the child inherits."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer)
        self.files = list[int]()

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, Connection):
            return None
        self.files.append(obj.fileno())
        return len(self.files) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, files: Sequence[int]) -> None:
        super().__init__(buffer)
        self._files = files

    def persistent_load(self, number: int) -> Connection:
        return Connection(self._files[number])


def _packed(call: tuple[object, ...]) -> tuple[bytes, Sequence[int]]:
    """Pickle a function and its arguments; return also the open files that they need."""
    pickler = _Pickler(buffer := io.BytesIO())
    pickler.dump(call)
    return buffer.getvalue(), pickler.files


def work_as_child(task: int, leash: int, files: Sequence[int]) -> NoReturn:
    """Entry of a child: set its limits, send its output to the run's log, call, answer, exit."""
    os.setsid()  # one group to kill: compilers start processes
    follow(leash)
    command = Connection(task)
    limits, text = command.recv()
    os.environ[COMMAND_PID] = str(limits.command_pid)
    _redirect(limits.log)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        function, arguments = _Unpickler(io.BytesIO(text), files).load()
        if limits.memory_bytes is not None:
            # RLIMIT_DATA counts private memory only; RLIMIT_AS would also count mapped weights.
            most = _private_bytes() + limits.memory_bytes
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        result: tuple[Any, ...] = ("ok", function(*arguments))
    except BaseException as error:  # noqa: BLE001 - the parent raises it again
        traceback.print_exc()
        result = serialize_error(error)
    command.send(result)
    sys.stderr.flush()
    util._exit_function()  # type: ignore[attr-defined]  # noqa: SLF001 - frees named semaphores, which the next line would leak
    os._exit(0)  # skips freeing gigabytes of weights


def _private_bytes() -> int:
    """Private memory that this process holds or has reserved: some libraries reserve a gigabyte on import."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    return 0


def _redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable()
