"""The process that children are forked from. It imports and forks, and does nothing else.

If it had computed with two OpenMP threads, children with two threads would hang in their first matrix
product.

It begins with the libraries that every command needs. Where other commands may follow, it forks a copy for
each command and waits for the next; the copy imports what its command needs besides. So no child holds what
another command has imported.

While it imports, the kernel kills it with its command. Later, when it has children, it sees the end of its
command, ends them and all that they have left behind, and then itself.

The standard library is all that is imported here, for a command starts this process with its first lines.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from benchmark.execution.descendants import adopt_orphans, end_children_except
from benchmark.execution.leash import follow, follow_no_more

NUMBER: Final = struct.Struct("!i")
"""Process id of a child, or why there is none, negative; later its exit code, negative for a signal."""
_LENGTH: Final = struct.Struct("!I")
_CREDENTIALS: Final = struct.Struct("3i")
_MOST_FILES: Final = 64
_PATIENCE_S: Final = 5.0
"""Time for a command that has connected to say what it wants."""


def send(connection: socket.socket, message: Mapping[str, object], files: Sequence[int] = ()) -> None:
    """Send a message, with open files.

    Raises:
        OSError: the other end is closed.
    """
    text = json.dumps(message).encode()
    socket.send_fds(connection, [_LENGTH.pack(len(text))], list(files))
    connection.sendall(text)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Wait for a message; return it with its open files.

    Raises:
        EOFError: the other end is closed.
        OSError: likewise, or it took too long.
    """
    head, files, _, _ = socket.recv_fds(connection, _LENGTH.size, _MOST_FILES)
    for file in files:
        os.set_inheritable(file, False)  # noqa: FBT003 - its signature
    if len(head) < _LENGTH.size:
        raise EOFError
    text, length = bytearray(), _LENGTH.unpack(head)[0]
    while len(text) < length:
        if not (piece := connection.recv(length - len(text))):
            raise EOFError
        text += piece
    message: dict[str, Any] = json.loads(text)
    return message, files


def is_ours(connection: socket.socket) -> bool:
    """Whether the process at the other end is of this user."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(found)[1] == os.getuid())


def is_private(folder: Path) -> bool:
    """Whether it is a folder of this user that no other can enter."""
    with contextlib.suppress(OSError):
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return False


def main(connection: int, leash: int, core: Sequence[str]) -> NoReturn:
    """Import what every command needs, then serve the command that has started this process."""
    if sys.platform == "linux":  # elsewhere it takes a thread, and no process with threads may fork
        follow(leash)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=__name__)  # numpy's idle threads
    born_ns = time.time_ns()
    _import(core)
    command = socket.socket(fileno=connection)
    with _ending():
        work, _ = receive(command)
        if work["keep_s"] and (listener := _listen(Path(work["socket"]))):
            WarmServer(listener, work, born_ns).start(command, leash)
        _serve(command, work, leash)


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """End this process where its command has, and in every other case."""
    try:
        yield
    except (EOFError, ConnectionError):
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing of a parent's stack may run in a fork
        traceback.print_exc()
    finally:
        os._exit(1)


def _import(modules: Iterable[str]) -> None:
    """Import them. A child that needs one that can't be imported reports why."""
    gc.disable()  # nothing of it is garbage
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    gc.enable()


def _listen(path: Path) -> socket.socket | None:
    """Take the place where commands look for a server; None where it can't be had."""
    folder, listener = path.parent, socket.socket(socket.AF_UNIX)
    before = os.umask(0o077)
    try:
        folder.mkdir(exist_ok=True)
        if not is_private(folder):
            return None
        try:
            listener.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or is_alive(path):
                return None
            path.unlink()
            listener.bind(str(path))
        listener.listen()
    except OSError:
        return None
    else:
        return listener
    finally:
        os.umask(before)


def is_alive(path: Path) -> bool:
    """Whether a process listens at a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class _Children:
    """Children of this process, and how they ended; `woken` is readable when one has."""

    def __init__(self) -> None:
        self.woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def ended(self) -> Iterator[tuple[int, int]]:
        """Process ids and exit codes of those that have ended since."""
        os.read(self.woken, 4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                yield ended[0], os.waitstatus_to_exitcode(ended[1])

    def forget(self) -> None:
        """In a child: be as if there had been none."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self.woken)
        os.close(self._waker)


def _serve(command: socket.socket, work: Mapping[str, Any], leash: int) -> NoReturn:
    """Import what the command needs besides, then give each of its requests to a child."""
    os.chdir(work["folder"])
    os.umask(work["umask"])
    os.environ.clear()
    os.environ.update(work["environment"])
    sys.argv = work["arguments"]
    importlib.invalidate_caches()
    _import(work["modules"])
    gc.freeze()  # a child that collects garbage would copy every page of it
    adopt_orphans()
    if sys.platform == "linux":
        follow_no_more(leash)
    try:
        _fork_for(command)
    finally:
        end_children_except(())


def _fork_for(command: socket.socket) -> NoReturn:
    """Give each request of a command to a child, and report its end once all that it has left is gone."""
    children, ends = _Children(), dict[int, int]()
    spare = _Spare(command, children, ends)
    while True:
        ready = select.select([command.fileno(), children.woken], [], [])[0]
        if children.woken in ready:
            for pid, code in children.ended():
                if (end := ends.pop(pid, None)) is not None:  # else a spare one
                    end_children_except({spare.pid, *ends})
                    with contextlib.suppress(BrokenPipeError):
                        os.write(end, NUMBER.pack(code))
                    os.close(end)
        if command.fileno() in ready:
            _, files = receive(command)
            task, its_leash, end, *others = files
            if not spare.takes(task, its_leash, *others):
                spare = _Spare(command, children, ends)
                spare.takes(task, its_leash, *others)
            with contextlib.suppress(BrokenPipeError):
                os.write(end, NUMBER.pack(spare.pid))
            for file in (task, its_leash, *others):
                os.close(file)
            if spare.pid > 0:
                ends[spare.pid] = end
            else:
                os.close(end)
            spare = _Spare(command, children, ends)


class _Spare:
    """A child that waits for its work: forked beforehand, for that takes 0.02 s with all that is imported."""

    def __init__(self, command: socket.socket, children: _Children, ends: Mapping[int, int]) -> None:
        self._connection, its = socket.socketpair()
        try:
            self.pid = os.fork()
            """Or why there is none, negative."""
        except OSError as error:
            self.pid = -(error.errno or 1)
        if not self.pid:
            with _ending():
                children.forget()
                command.close()
                self._connection.close()
                for end in ends.values():
                    os.close(end)
                task, leash, *others = receive(its)[1]
                its.close()
                from benchmark.execution.forkserver import work_as_child

                work_as_child(task, leash, others)
        its.close()

    def takes(self, *files: int) -> bool:
        """Give it its work: open files; return whether it lives."""
        with self._connection:
            if self.pid > 0:
                with contextlib.suppress(OSError):
                    send(self._connection, {}, files)
                    return True
        return False


class WarmServer:
    """A server that later commands of the same user, environment and libraries find ready."""

    def __init__(self, listener: socket.socket, first: Mapping[str, Any], born_ns: int) -> None:
        self._listener, self._path = listener, Path(first["socket"])
        self._number = self._path.lstat().st_ino
        self._first, self._born_ns, self._keep_s = first, born_ns, float(first["keep_s"])
        self._children, self._commands = _Children(), set[int]()
        self._connected = list[socket.socket]()
        """Commands that haven't said yet what to import, and those that only look."""
        self._served, self._used = 0, time.monotonic()

    def start(self, command: socket.socket, leash: int) -> NoReturn:
        """Serve the command that has started this process, then those that connect."""
        self._fork(command, self._first, leash)
        adopt_orphans()  # of a copy that is killed
        os.chdir("/")  # the folder of the first may be removed
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        os.close(nothing)
        self._files = tuple(_files())
        if any(changed_ns >= self._born_ns for _, changed_ns, *_ in self._files):
            self._end()  # which of the two is loaded isn't known
        while True:
            busy = self._commands or self._connected
            left = None if busy else self._used + self._keep_s - time.monotonic()
            if left is not None and left <= 0:
                self._end()
            watched = {one.fileno(): one for one in self._connected}
            places = [self._listener.fileno(), self._children.woken, *watched]
            for ready in select.select(places, [], [], left)[0]:
                if ready == self._children.woken:
                    self._used = time.monotonic()
                    self._commands -= {pid for pid, _ in self._children.ended()}
                    end_children_except(self._commands)
                elif ready == self._listener.fileno():
                    self._accept()
                else:
                    self._answer(watched[ready])

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        if is_ours(connection):
            connection.settimeout(_PATIENCE_S)
            self._connected.append(connection)
        else:
            connection.close()

    def _answer(self, connection: socket.socket) -> None:
        try:
            message, files = receive(connection)
            if message["kind"] == "work":
                connection.settimeout(None)
                self._keep_s = float(message["keep_s"])
                self._connected.remove(connection)
                self._fork(connection, message, *files)
            elif message["kind"] == "compare":
                send(connection, {"differences": self._differences(message["traits"])})
            elif message["kind"] == "stop":
                with contextlib.suppress(OSError):
                    send(connection, self._status())
                self._end()
            else:
                send(connection, self._status())
        except (EOFError, OSError, ValueError, KeyError):
            connection.close()
            if connection in self._connected:
                self._connected.remove(connection)

    def _fork(
        self, command: socket.socket, work: Mapping[str, Any], leash: int, log: int | None = None
    ) -> None:
        """Fork the copy that serves a command."""
        pid = os.fork()
        if not pid:
            with _ending():
                self._children.forget()
                self._listener.close()
                for other in self._connected:
                    other.close()
                os.setsid()
                follow(leash)
                if log is not None:
                    os.dup2(log, 1)
                    os.dup2(log, 2)
                _serve(command, work, leash)
        command.close()
        for file in (leash, *(() if log is None else (log,))):
            os.close(file)
        self._commands.add(pid)
        self._served += 1
        self._used = time.monotonic()

    def _differences(self, traits: Mapping[str, Any]) -> list[str]:
        """Why a command can't use this server: what differs from its first, and a file that has changed."""
        ours = self._first["traits"]
        differing = [name for name in traits if name != "environment" and traits[name] != ours.get(name)]
        here, there = ours["environment"], traits["environment"]
        variables = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
        changed = [path for path, *was in self._files if was != _stamp(path)]
        return [*differing, *variables, *changed[:1]]

    def _status(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "folder": self._first["folder"],
            "interpreter": self._first["traits"]["interpreter"][0],
            "started": self._born_ns / 1e9,
            "served": self._served,
            "serving": len(self._commands),
            "ends_at": time.time() + self._keep_s - (time.monotonic() - self._used),
        }

    def _end(self) -> NoReturn:
        """Make place for another one. The copies go on: each ends with its command."""
        with contextlib.suppress(OSError):
            if self._path.lstat().st_ino == self._number:
                self._path.unlink()
        os._exit(0)


def _files() -> Iterator[tuple[Any, ...]]:
    """Each file that a module was loaded from: nanosecond of its last change, size, number."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(path, str) and (stamp := _stamp(path)):
            yield (path, *stamp)


def _stamp(path: str) -> list[int]:
    with contextlib.suppress(OSError):
        found = Path(path).stat()
        return [found.st_mtime_ns, found.st_size, found.st_ino]
    return []
