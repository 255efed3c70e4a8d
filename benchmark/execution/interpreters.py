"""Children of another interpreter: a compiler may live in an environment that has another torch.

`benchmark.execution.worker` runs there, on this program's own source, and forks a fresh child for each
request. Both ends are ours: they exchange pickles, which name nothing that differs between versions of Python
or NumPy.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path, PurePath
from typing import Any, TypeVar

import numpy as np

from benchmark.errors import ConfigError, Crashed, TimedOut
from benchmark.execution.failures import deserialize_error
from benchmark.execution.forkserver import Forkserver
from benchmark.records import ChildLimits

T = TypeVar("T")

_ROOT = Path(__file__).parents[2]
_PROTOCOL = 4
"""Of pickle: the newest that every Python since 3.8 reads."""
_IMPORTS_S = 300.0
"""What an answer may take beyond the child's own limit: on a busy host its libraries load for a minute."""
_GOODBYE_S = 5.0


class Interpreters(Forkserver):
    """Runs each call in a fresh child: of this interpreter, or of another one that a compiler names."""

    def __init__(self, preload: Iterable[str], others: Mapping[str, Iterable[str]]) -> None:
        """Modules that children will need, here and by interpreter; nothing is loaded here for no module."""
        modules = set(preload)
        super().__init__(modules)
        self._is_local = bool(modules)
        self._workers = {python: _Worker(python, needed) for python, needed in others.items()}

    def start(self) -> None:
        """Let all imports begin, while this process plans."""
        if self._is_local:
            self.warm()
        for worker in self._workers.values():
            with suppress(Crashed):  # it is told to whoever calls
                worker.start()

    def call_in(self, python: str) -> Callable[..., Any]:
        """What `call` is, in children of another interpreter."""
        return self._workers[python].call

    def end_children(self) -> None:
        """End what other threads wait for, there too."""
        super().end_children()
        for worker in self._workers.values():
            worker.end_children()

    def close(self) -> None:
        """End this interpreter's server and the workers of the others; a later call starts another."""
        super().close()
        for worker in self._workers.values():
            worker.end()


def call_of(forkserver: Forkserver, python: str | None) -> Callable[..., Any]:
    """Where the children of a compiler come from; `python` is null for this interpreter.

    Raises:
        ConfigError: this command starts children of its own interpreter only.
    """
    if python is None:
        return forkserver.call
    if not isinstance(forkserver, Interpreters):
        raise ConfigError(
            f"compiler.python={python}: who takes turns does so in the interpreter of its side: "
            "use compiler.python=null with --python-a or --python-b"
        )
    return forkserver.call_in(python)


class _Worker:
    """An interpreter's process, started at need, and again after an end."""

    def __init__(self, python: str, preload: Iterable[str]) -> None:
        self._python, self._preload = python, sorted(preload)
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def start(self) -> _Process:
        with self._lock:
            if self._process is None or self._process.has_ended:
                self._process = _Process(self._python, self._preload)
            return self._process

    def call(self, limits: ChildLimits, function: Callable[..., T], /, *arguments: Any) -> T:
        return self.start().ask(limits, function, arguments)

    def end_children(self) -> None:
        if self._process and self._process.is_asked:
            self._process.end()

    def end(self) -> None:
        if self._process:
            self._process.end()


class _Process:
    """The parent's end of `python -m benchmark.execution.worker`; several threads may use it at a time."""

    def __init__(self, python: str, preload: Iterable[str]) -> None:
        self._python = python
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = self._started(preload)
        self._requests, self._answers = self._pipes()
        self._sending, self._numbers = threading.Lock(), count()
        self._waiting: dict[int, Future[tuple[Any, ...]]] = {}
        self._death: str | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def is_asked(self) -> bool:
        return bool(self._waiting)

    def ask(self, limits: ChildLimits, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        """Return what `function` returns in a child of the worker.

        Raises:
            RunFailure: as `Forkserver.call`.
        """
        number, answer = next(self._numbers), Future[tuple[Any, ...]]()
        request = packed((number, limits, packed((function, arguments))))
        self._waiting[number] = answer
        try:
            with suppress(OSError), self._sending:  # it has ended: whoever listens knows
                self._requests.send_bytes(request)
            if self._death:
                raise Crashed(self._death)
            verdict = answer.result(limits.timeout_s + _IMPORTS_S)
        except (TimeoutError, FutureTimeoutError):
            self.end()
            raise TimedOut(f"compiler.python={self._python}: its worker keeps silent") from None
        except KeyboardInterrupt:
            self.end()
            raise
        finally:
            self._waiting.pop(number, None)
        if verdict[0] == "ok":
            return unpacked(verdict[1])  # type: ignore[no-any-return]
        raise deserialize_error(*verdict)

    def end(self) -> None:
        """Hang up: it ends with its children."""
        free = self._sending.acquire(timeout=_GOODBYE_S)  # else what is being sent might go elsewhere
        with suppress(OSError):
            self._requests.close()
        if free:
            self._sending.release()
        try:
            self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _started(self, preload: Iterable[str]) -> subprocess.Popen[bytes]:
        # The other interpreter gets this program's source and nothing else of this one.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
        environment |= {"PYTHONPATH": str(_ROOT), "PYTHONSAFEPATH": "1"}
        try:
            return subprocess.Popen(  # noqa: S603 - the user chose it
                [self._python, "-m", "benchmark.execution.worker", *preload],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                start_new_session=True,  # a terminal's Ctrl-C is for this process; one group to kill
            )
        except OSError as error:
            raise Crashed(f"compiler.python={self._python}: {error.strerror}") from error

    def _pipes(self) -> tuple[Connection, Connection]:
        """Both ends that are ours, as connections, which send in whole messages."""
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018 - they were asked for
        ends = tuple(os.dup(end.fileno()) for end in (self._process.stdin, self._process.stdout))
        self._process.stdin.close()
        self._process.stdout.close()
        return Connection(ends[0], readable=False), Connection(ends[1], writable=False)

    def _listen(self) -> None:
        """Hand out answers until there will be no more."""
        with self._answers, suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                number, verdict = unpacked(self._answers.recv_bytes())
                if answer := self._waiting.pop(number, None):
                    answer.set_result(verdict)
        self.end()
        self._death = self._told()
        while self._waiting:
            with suppress(KeyError):  # who waits no longer has taken it away
                self._waiting.popitem()[1].set_exception(Crashed(self._death))

    def _told(self) -> str:
        """How it ended."""
        code = self._process.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
        with self._words as words:
            words.seek(0)
            last = words.read().decode(errors="replace").strip().rpartition("\n")[2]
        return f"compiler.python={self._python}: its worker {how}{last and f'; last words: {last}'}"


class _Pickler(pickle.Pickler):
    """Names nothing that lies elsewhere in other versions: Python 3.13 moved pathlib, NumPy 2 its arrays."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, PurePath):
            return _path, (str(obj),)
        if isinstance(obj, np.ndarray) and obj.dtype.kind in "biufc":
            return _array, (obj.dtype.str, obj.shape, obj.tobytes())
        if isinstance(obj, np.generic):
            return _plain, (obj.item(),)
        return NotImplemented


def packed(value: Any) -> bytes:
    """Pickle it for another interpreter."""
    buffer = io.BytesIO()
    _Pickler(buffer, _PROTOCOL).dump(value)
    return buffer.getvalue()


def unpacked(message: bytes) -> Any:
    """Read what `packed` wrote in a process of our own."""
    return pickle.loads(message)  # noqa: S301 - both ends are ours


def work(message: bytes) -> bytes:
    """In the child: unpack a function and its arguments, call it, pack what it returns."""
    function, arguments = unpacked(message)
    return packed(function(*arguments))


def _path(text: str) -> Path:
    return Path(text)


def _array(dtype: str, shape: tuple[int, ...], values: bytes) -> np.ndarray:
    return np.frombuffer(values, dtype).reshape(shape).copy()


def _plain(value: Any) -> Any:
    return value
