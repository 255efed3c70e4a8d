"""Processes that work side by side for one measuring child: each has an object, and all do the same call.

They are forked from the child, belong to its process group, and end with it however it ends.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import connection
from threading import BrokenBarrierError
from typing import Any, Protocol

from typing_extensions import Self

from benchmark.errors import Crashed, OutOfMemory, RunFailure
from benchmark.execution.failures import deserialize_error, serialize_error
from benchmark.execution.forkserver import kernel_memory_kills
from benchmark.execution.server_connection import signal_name

_PATIENCE_S = 5.0
"""Time for a process to end by itself: it gives its cores back."""
_FORK = multiprocessing.get_context("fork")


class Barrier(Protocol):
    """Lets all members go on at the same moment."""

    def wait(self) -> int:
        """Wait for the others."""


class Team:
    """Members in processes of their own, numbered from 0. The failure of one is that of the team."""

    def __init__(self, make: Callable[[int, Barrier], Any], count: int) -> None:
        """`make` gets a member's number and the team's barrier; it returns the object that is called."""
        barrier = _FORK.Barrier(count)
        self._members = list[_Member]()
        try:
            for number in range(count):
                self._members.append(_Member(number, make, barrier))
        except BaseException:
            self._end(0)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(_PATIENCE_S if kind is None else 0)

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call this method of every member's object; return the answers in the order of their numbers.

        Raises:
            RunFailure: what a member raised, or how its process ended; all the others are ended.
        """
        kills = kernel_memory_kills()
        for member in self._members:
            member.ask(method, arguments)
        answers: dict[int, Any] = {}
        waiting = {member.pipe: member for member in self._members}
        try:
            while waiting:
                for pipe in connection.wait([*waiting]):
                    member = waiting.pop(pipe)  # type: ignore[call-overload]
                    answer = member.answer(kills)
                    if answer is not None:  # else another member has broken the barrier, and will say why
                        answers[member.number] = answer[0]
        except BaseException:
            self._end(0)
            raise
        if len(answers) < len(self._members):
            self._end(0)
            raise Crashed("a replica left the others while they waited for it")
        return [answers[member.number] for member in self._members]

    def _end(self, patience_s: float) -> None:
        for member in self._members:
            member.pipe.close()
        for member in self._members:
            member.end(patience_s)


class _Member:
    """One process, and this one's end of its pipe."""

    def __init__(self, number: int, make: Callable[[int, Barrier], Any], barrier: Barrier) -> None:
        self.number = number
        self.pipe, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_work, args=(number, make, barrier, theirs, self.pipe))
        self._process.start()
        theirs.close()

    def ask(self, method: str, arguments: Sequence[Any]) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: `answer` says how
            self.pipe.send((method, arguments))

    def answer(self, kills: int) -> tuple[Any] | None:
        """Its answer in a tuple; None if it was left alone at the barrier.

        Raises:
            RunFailure: what it raised, or how it ended.
        """
        try:
            kind, answer = self.pipe.recv()
        except (EOFError, OSError):
            raise self._death(kills) from None
        if kind == "ok":
            return (answer,)
        if kind == "alone":
            return None
        status, text, raised, operators = answer
        raise deserialize_error(status, f"replica {self.number}: {text}", raised, operators)

    def _death(self, kills: int) -> RunFailure:
        self._process.join(_PATIENCE_S)
        code = self._process.exitcode
        if code is None:
            return Crashed(f"replica {self.number} closed its pipe and gave no answer")
        if code == -signal.SIGKILL and kernel_memory_kills() > kills:
            return OutOfMemory(
                f"the kernel killed replica {self.number} for want of memory: use fewer replicas, or a "
                "smaller batch"
            )
        how = f"was ended by {signal_name(-code)}" if code < 0 else f"left with exit code {code}"
        return Crashed(f"the process of replica {self.number} {how}")

    def end(self, patience_s: float) -> None:
        """End it, by force if it doesn't end by itself."""
        self._process.join(patience_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_PATIENCE_S)


def _work(
    number: int,
    make: Callable[[int, Barrier], Any],
    barrier: Any,
    pipe: connection.Connection,
    theirs: connection.Connection,
) -> None:
    """In a member: make its object, then answer calls until the pipe is closed."""
    theirs.close()
    gc.disable()  # its runs would be timed as latency
    member = None
    with suppress(EOFError, OSError):
        while True:
            method, arguments = pipe.recv()
            try:
                member = member or make(number, barrier)
                answer = "ok", getattr(member, method)(*arguments)
            except BrokenBarrierError:
                answer = "alone", None
            except BaseException as error:  # noqa: BLE001 - the other end raises it again
                traceback.print_exc()
                barrier.abort()
                answer = "error", serialize_error(error)
            pipe.send(answer)
    os._exit(0)  # skips freeing gigabytes of weights; a device's cores are free with the process
