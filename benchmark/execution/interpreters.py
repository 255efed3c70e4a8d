"""Children of this interpreter and of others: a compiler may need an environment with another torch.

`benchmark.execution.worker` runs in the other interpreter, on this program's own source, and forks a fresh
child for each request. Both ends exchange pickles, which name nothing that differs between versions of Python
or NumPy.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from itertools import count
from pathlib import Path, PurePath
from typing import IO, Any, Final, TypeVar

import numpy as np
from typing_extensions import Self

from benchmark.cache.workdirs import delete, work_name
from benchmark.errors import Crashed, Interrupted, RunFailure, TimedOut
from benchmark.execution import child_log
from benchmark.execution.failures import deserialize_error
from benchmark.execution.forkserver import ChildLimits, Forkserver
from benchmark.execution.peer import Peer
from benchmark.host.path import environment_of

T = TypeVar("T")

SOURCE: Final = "benchmark-source-"
"""Start of the name of a folder with this program's source alone, for another interpreter."""
_PACKAGE = Path(__file__).parents[1]
_PROTOCOL = 4
"""Of pickle: the newest that every Python since 3.8 reads."""
_LENGTH = struct.Struct("!Q")
_IMPORTS_S = 300.0
"""Time for an answer beyond the child's own limit: on a busy host its libraries load for a minute."""


class Interpreters:
    """Starts a fresh child for each call: of this interpreter, or of another one that a compiler names."""

    def __init__(
        self,
        preload: Iterable[str],
        others: Mapping[str, Iterable[str]],
        *,
        core: Sequence[str] = (),
        keep_warm_s: float = 0,
    ) -> None:
        """Modules that children will need, here and by interpreter; nothing is loaded here for no module.

        `core` and `keep_warm_s` as in `Forkserver`.
        """
        modules = set(preload)
        self._forkserver = Forkserver(modules, core=core, keep_warm_s=keep_warm_s)
        self._is_local = bool(modules)
        self._workers = {python: _Worker(python, needed) for python, needed in others.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin all imports; they go on while this process plans."""
        if self._is_local:
            self._forkserver.warm()
        for worker in self._workers.values():
            with suppress(Crashed):  # `call_in` reports it
                worker.start()

    def call_in(self, python: str | None) -> Callable[..., Any]:
        """The function that calls in a child of this interpreter; null is the one that runs this program."""
        return self._forkserver.call if python is None else self._workers[python].call

    def end_children(self) -> None:
        """End the children that other threads wait for; their calls raise Crashed."""
        self._forkserver.end_children()
        for worker in self._workers.values():
            worker.end_children()

    def close(self) -> None:
        """End this interpreter's server and the workers of the others; a later call starts another."""
        self._forkserver.close()
        for worker in self._workers.values():
            worker.end()


class _Worker:
    """The process of another interpreter: started by the first call, and again if it has ended."""

    def __init__(self, python: str, preload: Iterable[str]) -> None:
        self._python, self._preload = python, sorted(preload)
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def start(self) -> _Process:
        with self._lock:
            if self._process and self._process.has_ended:
                self._process.end()
                self._process = None
            self._process = self._process or _Process(self._python, self._preload)
            return self._process

    def call(self, limits: ChildLimits, function: Callable[..., T], /, *arguments: Any) -> T:
        child_log.prepare(limits.log)  # here, where a warning is seen
        return self.start().call(limits, function, arguments)

    def end_children(self) -> None:
        if self._process and self._process.is_working:
            self._process.end()

    def end(self) -> None:
        if self._process:
            self._process.end()


class _Process:
    """The parent's end of `python -m benchmark.execution.worker`; several threads may use it at a time."""

    def __init__(self, python: str, preload: Iterable[str]) -> None:
        self._python = python
        self._numbers = count()
        self._waiting: dict[int, Future[tuple[Any, ...]]] = {}
        self._death: RunFailure | None = None
        # The other interpreter gets this program's source and nothing else of this one: libraries lie beside
        # it where it is installed from a wheel.
        self._source = Path(tempfile.gettempdir(), f"{SOURCE}{work_name()}")
        self._source.mkdir(mode=0o700)
        (self._source / _PACKAGE.name).symlink_to(_PACKAGE)
        environment = environment_of(python, os.environ)
        environment |= {"PYTHONPATH": str(self._source), "PYTHONSAFEPATH": "1"}
        command = [python, "-m", "benchmark.execution.worker", *preload]
        log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        try:
            self._peer = Peer(command, environment, log, self._listen)
        except OSError as error:
            log.close()
            delete(self._source)
            raise Crashed(f"compiler.python={python}: {error.strerror}") from error

    @property
    def has_ended(self) -> bool:
        return self._death is not None

    @property
    def is_working(self) -> bool:
        return bool(self._waiting)

    def call(self, limits: ChildLimits, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        """Return what `function` returns in a child of the worker.

        Raises:
            RunFailure: as `Forkserver.call`.
        """
        number, answer = next(self._numbers), Future[tuple[Any, ...]]()
        request = packed((number, limits, packed((function, arguments))))
        self._waiting[number] = answer
        try:
            with suppress(OSError, ValueError):  # it has ended: `_listen` says how
                self._peer.send(*framed(request))
            if self._death:
                raise self._death
            result = answer.result(limits.timeout_s + _IMPORTS_S)
        except (TimeoutError, FutureTimeoutError):
            self.end()
            raise TimedOut(f"compiler.python={self._python}: its worker doesn't answer") from None
        except KeyboardInterrupt:
            self.end()
            raise
        finally:
            self._waiting.pop(number, None)
        if result[0] == "ok":
            return unpacked(result[1])  # type: ignore[no-any-return]
        raise deserialize_error(*result)

    def end(self) -> None:
        """End it with its children."""
        self._peer.end()
        delete(self._source)

    def _listen(self, peer: Peer) -> None:
        """Hand each answer to the call that waits for it; at the end, fail the calls that still wait."""
        with peer.output, suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                number, result = unpacked(read_frame(peer.output))
                if answer := self._waiting.pop(number, None):
                    answer.set_result(result)
        kind = Interrupted if peer.was_killed else Crashed
        self._death = kind(f"compiler.python={self._python}: its worker {peer.death()}")
        while self._waiting:
            with suppress(KeyError):  # its call has given up
                self._waiting.popitem()[1].set_exception(self._death)


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


def framed(message: bytes) -> tuple[bytes, bytes]:
    """Put its length in front of a message, for a stream of bytes."""
    return _LENGTH.pack(len(message)), message


def read_frame(stream: IO[bytes]) -> bytes:
    """Read one message from a stream of framed ones.

    Raises:
        EOFError: the stream has ended.
    """
    head = stream.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    if not length or len(message := stream.read(length)) < length:
        raise EOFError
    return message


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
