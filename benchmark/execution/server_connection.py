"""A command's connection to the process that its children are forked from: its own, or one that stays warm.

The standard library is all that is imported here, for a command starts its server with its first lines.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from benchmark.execution.child_log import end_of, telling
from benchmark.execution.descendants import MARK, end_marked
from benchmark.execution.warm_server import is_ours, is_private, receive, send
from benchmark.host.mutex import PLACE
from benchmark.host.path import environment_of

logger = logging.getLogger(__name__)

CORE: Final = (
    "torch",
    "transformers.modeling_utils",
    "benchmark.execution.forkserver",
    "benchmark.stages.build",
    "benchmark.stages.compile",
    "benchmark.stages.measure",
    "benchmark.stages.peak",
)
"""Modules that children need under every model that is not simulated."""

_ENVIRONMENT: Final = {
    "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no pool of compile workers that could outlive the child
    "AOTI_RUNTIME_CHECK_INPUTS": "1",  # else a .pt2 answers inputs of another shape, silently
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONUNBUFFERED": "1",
}
"""Libraries read these when they load, so a server starts with them; the user's values win."""
_OF_A_TERMINAL: Final = re.compile(
    r"_|OLDPWD|PWD|SHLVL|(COLOR)?TERM|TERM_PROGRAM\w*|COLUMNS|LINES|LS_COLORS|(NO|FORCE)_COLOR|PS1|WINDOWID|"
    r"(WAYLAND_)?DISPLAY|SSH_\w+|GPG_\w+|TMUX\w*|STY|WINDOW|XDG_SESSION_\w+|XDG_VTNR|DBUS_SESSION_BUS_ADDRESS|"
    r"INVOCATION_ID|JOURNAL_STREAM|MAKE\w*|MFLAGS|VIRTUAL_ENV_PROMPT|HYDRA_FULL_ERROR|PYTEST_\w+|"
    r"BENCHMARK_COMMAND_PID|BENCHMARK_SERVER_MARK"
)
"""Variables that differ between terminals and commands, and that no library reads when it loads."""
_PATIENCE_S: Final = 2.0
"""Time for a warm server to answer; it never works for longer than some milliseconds."""
_AT_A_TERMINAL_S: Final = 300.0
_END_S: Final = 5.0
"""Time for a server to end with all that its children have started."""
_CRASHES: Final = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
_LONGEST_PATH: Final = 100
"""Of a Unix socket; the kernel takes 107 bytes."""
_START: Final = (
    "import json, sys; start = json.loads(sys.argv[1]); sys.path[:] = start.pop('path'); "
    "from benchmark.execution.warm_server import main; main(**start)"
)


class ServerEnded(Exception):
    """The server has ended; the text says how."""


class ServerConnection:
    """The server of this command's children, seen from the command; it imports, and waits for `begin`."""

    def __init__(self, core: Sequence[str], *, warm: socket.socket | None = None) -> None:
        """Start a server that imports these modules first; or use the warm one of an open connection."""
        self._traits = traits()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this
        self._mark = uuid.uuid4().hex
        self._leash_end, self._leash = os.pipe()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_kept, self._has_begun = False, False
        self._death = ""
        self.was_lost = False
        """Whether it had ended before this command ended it; known after `end`."""
        if warm:
            self._connection = warm
            return
        self._connection, theirs = socket.socketpair()
        start = {"path": sys.path, "core": core, "connection": theirs.fileno(), "leash": self._leash_end}
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, *_flags(), "-c", _START, json.dumps(start)],
            env=_variables(self._mark),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(theirs.fileno(), self._leash_end),
            start_new_session=True,  # neither Ctrl-C nor the end of the terminal is for it
        )
        theirs.close()

    @property
    def is_warm(self) -> bool:
        """Whether an earlier command has started it."""
        return self._process is None

    def fits(self) -> bool:
        """Whether all that libraries see when they load is still as when this connection was made."""
        return self._traits == traits()

    def begin(self, modules: Iterable[str], keep_s: float = 0) -> None:
        """Say what to import besides, and for how long the server shall wait for later commands.

        Raises:
            ServerEnded: it has.
        """
        work = {
            "kind": "work",
            "modules": sorted(modules),
            "arguments": sys.argv,
            "folder": str(Path.cwd()),
            "environment": _variables(self._mark),
            "umask": _umask(),
            "traits": self._traits,
            "socket": str(_place(self._traits)),
            "keep_s": keep_s if can_stay_warm() else 0,
        }
        self._is_kept, self._has_begun = bool(work["keep_s"]), True
        try:
            self._send(work, (self._leash_end, self._log.fileno()) if self.is_warm else ())
        finally:
            os.close(self._leash_end)

    def fork(self, files: Sequence[int]) -> None:
        """Request a child: its end of the connection, of its leash, of the pipe for its exit code, others.

        Raises:
            ServerEnded: it has.
        """
        self._send({}, files)

    def _send(self, message: dict[str, Any], files: Sequence[int]) -> None:
        try:
            send(self._connection, message, files)
        except OSError as error:
            raise ServerEnded(self.death()) from error

    def has_ended(self, wait_s: float = 0) -> bool:
        """Whether it has, or does within so many seconds; a server sends nothing over this connection."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(round(1e3 * wait_s)))

    def death(self) -> str:
        """How it ended, with the end of its log."""
        if self._death:
            return self._death
        how, last = "has ended", telling(end_of(self._log.fileno()))
        if (code := self._exit_code()) is not None:
            how = f"was ended by {signal_name(-code)}" if code < 0 else f"left with exit code {code}"
        return f"the server that children are forked from {how}{last and f'; last words: {last}'}"

    def has_crashed(self) -> bool:
        """Whether its own libraries have ended it, as they would again."""
        code = self._exit_code()
        return code is not None and (code >= 0 or -code in _CRASHES)

    def _exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None where this command can't know it."""
        if self._process and not self._is_kept:
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(_PATIENCE_S)
        return None

    def end(self) -> None:
        """End what serves this command, also during its imports. A server that is kept goes on."""
        self.was_lost = self.has_ended()
        self._death = self.death() if self.was_lost else "the server that children are forked from was ended"
        must_search = self.was_lost
        self._connection.close()
        os.close(self._leash)
        if self._process:
            if not self._is_kept:
                if not self._has_begun or sys.platform != "linux":
                    self._process.kill()
                try:
                    self._process.wait(_END_S)
                except subprocess.TimeoutExpired:
                    must_search = True
                    self._process.kill()
                    self._process.wait()
            elif self._process.poll() is None:
                self._process.returncode = 0  # it isn't waited for
        if must_search:  # before it could end what its children have left
            end_marked(self._mark)
        self._log.close()


def signal_name(number: int) -> str:
    """Name of a signal; those that have none are numbers."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


EARLY: Final[ContextVar[ServerConnection | None]] = ContextVar("EARLY", default=None)
"""The server that a command has started before it knew its grid."""


def start_early(keep_s: float) -> None:
    """Find a warm server, or start one, before the grid is known."""
    with suppress(OSError):
        EARLY.set((find() if keep_s else None) or ServerConnection(CORE))


def end_early() -> None:
    """End the early server, if the grid didn't need it."""
    if early := EARLY.get():
        EARLY.set(None)
        early.end()


def take(core: Sequence[str], keep_s: float) -> ServerConnection:
    """The early server, if it fits this grid; else a warm one, if this command may use it; else a new one.

    Raises:
        OSError: no process can be started.
    """
    early = EARLY.get()
    if core and early and early.fits() and not early.has_ended() and (keep_s or not early.is_warm):
        EARLY.set(None)
        return early
    end_early()
    return (find() if core and keep_s else None) or ServerConnection(core)


def find() -> ServerConnection | None:
    """Connect to the warm server of this folder and interpreter; None if there is none that fits."""
    here = traits()
    path = _place(here)
    if not os.path.lexists(path):
        return None
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(_connect(path))
            send(connection, {"kind": "compare", "traits": here})
            differences = receive(connection)[0]["differences"]
            if not differences:
                connection.settimeout(None)
                stack.pop_all()  # it stays open
                return ServerConnection(CORE, warm=connection)
            send(connection, {"kind": "stop"})
        reason = f"it was started with another {', '.join(differences)[:200]}"
    except (OSError, EOFError, KeyError, ValueError) as error:
        reason = str(error) or "it doesn't answer"
    logger.warning("the warm server is not used: %s", reason)
    return None


def statuses() -> Iterator[dict[str, Any]]:
    """What each warm server of this user says of itself."""
    yield from _each({"kind": "status"})


def stop_all() -> Iterator[dict[str, Any]]:
    """End each warm server of this user; commands under way go on."""
    yield from _each({"kind": "stop"})


def _each(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in sockets():
        with suppress(OSError, EOFError, ValueError), _connect(path) as connection:
            send(connection, message)
            yield receive(connection)[0]


def sockets() -> list[Path]:
    """Where servers of this user wait, or have waited, for commands."""
    return sorted(_folder().glob("*.socket")) if is_private(_folder()) else []


def _connect(path: Path) -> socket.socket:
    """Connect to a warm server.

    Raises:
        OSError: it isn't this user's, or has ended; the text says so.
    """
    if not is_private(path.parent):
        raise PermissionError(f"{path.parent} is not a folder of this user alone: remove it")
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_PATIENCE_S)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        if isinstance(error, ConnectionRefusedError):
            path.unlink(missing_ok=True)
            raise ConnectionRefusedError("it has ended; the socket that it left is removed") from error
        raise
    if not is_ours(connection):
        connection.close()
        raise PermissionError(f"{path} is of another user")
    return connection


def can_stay_warm() -> bool:
    """Whether a server can wait for later commands here."""
    return sys.platform == "linux"


def traits() -> dict[str, Any]:
    """What libraries may see when they load: two commands that differ in it don't share a server."""
    environment = {name: value for name, value in os.environ.items() if not _OF_A_TERMINAL.fullmatch(name)}
    limits = {
        name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name[:7] == "RLIMIT_"
    }
    found: dict[str, Any] = {
        "interpreter": [sys.executable, sys.version, *_flags()],
        "sys.path": [*sys.path],
        "working directory": str(Path.cwd()),
        "environment": environment,
        "limits": limits,
        "user": [os.getuid(), os.getgid(), *os.getgroups()],
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
    }
    if sys.platform == "linux":
        found["cores"] = sorted(os.sched_getaffinity(0))
        found["scheduler"] = os.sched_getscheduler(0)
        with suppress(OSError):
            found["cgroup"] = Path("/proc/self/cgroup").read_text()
    return found


def _flags() -> list[str]:
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001


def _variables(mark: str) -> dict[str, str]:
    """Environment of a server. A user without a home, as in some containers, gets one: libraries want it."""
    made = {**_ENVIRONMENT, **environment_of(sys.executable, os.environ), MARK: mark}
    try:
        Path.home()
    except RuntimeError:
        with suppress(OSError):
            _folder().mkdir(mode=0o700, exist_ok=True)
        if is_private(_folder()):
            made["HOME"] = str(_folder())
    return made


def _folder() -> Path:
    """Folder of the sockets of this user; in /tmp where TMPDIR is too long for one."""
    folder, name = Path(tempfile.gettempdir()), f"benchmark-{os.getuid()}"
    fits = len(os.fsencode(folder / name)) <= _LONGEST_PATH - len("/0123456789ab.socket")
    return (folder if fits else PLACE) / name


def _place(here: dict[str, Any]) -> Path:
    """Socket of the warm server of a folder and an interpreter."""
    name = "\0".join((here["interpreter"][0], here["working directory"]))
    return _folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.socket"


def _umask() -> int:
    """The mask for new files; only to set it returns it where there is no /proc."""
    with suppress(OSError):
        if found := re.search(r"^Umask:\s*([0-7]+)$", Path("/proc/self/status").read_text(), re.MULTILINE):
            return int(found[1], 8)
    os.umask(mask := os.umask(0o077))
    return mask


def keep_warm_s(configured: float | None) -> float:
    """For how long a server waits for later commands; null is 300 s at a terminal, where they are typed."""
    if configured is not None:
        return configured
    return _AT_A_TERMINAL_S if any(os.isatty(output) for output in (1, 2)) else 0
