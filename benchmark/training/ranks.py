"""The processes that share each step of a training run: started, watched and ended together.

The one that starts them computes nothing and must not have used torch's threads: they are forked from it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any, Final, Generic, TypeVar

from benchmark.errors import Crashed, RunFailure, TimedOut
from benchmark.execution.failures import deserialize_error, serialize_error

T = TypeVar("T")

_POLL_S: Final = 0.25
_GRACE_S: Final = 5.0
"""Time for processes to end after they were killed."""
_LAST_WORDS_S: Final = 1.0
_SLOWEST: Final = 10
"""A step may take so many times as long as the longest one before it."""


class Progress:
    """Steps that ranks have done, in memory that they share: a step costs no message."""

    def __init__(self, ranks: int) -> None:
        fork = multiprocessing.get_context("fork")
        self._steps, self._last = fork.RawArray("q", ranks), fork.RawValue("q", 0)

    def expect(self, steps: int) -> None:
        """There are so many steps."""
        self._last.value = steps

    def done(self, rank: int, step: int) -> None:
        """A rank has done this step; the first is 1."""
        self._steps[rank] = step

    @property
    def last(self) -> int:
        """Number of the last step; 0 before it is known."""
        return int(self._last.value)

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps done, by rank."""
        return tuple(self._steps)


class _Rank(Generic[T]):
    """One process and its answer."""

    def __init__(self, number: int, work: Callable[[int, Progress], T], progress: Progress) -> None:
        fork = multiprocessing.get_context("fork")
        self.number, self.answer = number, None
        self.pipe, pipe = fork.Pipe(duplex=False)
        self.process = fork.Process(target=_work, args=(number, work, progress, pipe))
        self.process.start()
        pipe.close()

    def end(self) -> None:
        """Kill it, if it still runs."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join(_GRACE_S)
        self.pipe.close()

    def death(self, ranks: int, step: int) -> Crashed:
        """The error for one that has ended without an answer."""
        self.process.join(_GRACE_S)
        code = self.process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
        return Crashed(f"rank {self.number} of {ranks} {how} after step {step}; the others were ended")


def run(ranks: int, work: Callable[[int, Progress], T], hang_s: float) -> Sequence[T]:
    """Return what `work(rank, progress)` returns in a process for each rank.

    Raises:
        Crashed: a rank died.
        TimedOut: between the first and the last step, no step was done for `hang_s`, nor for ten times the
            longest step.
        RunFailure: what a rank raised.
    """
    progress = Progress(ranks)
    started: list[_Rank[T]] = []
    try:
        started.extend(_Rank(number, work, progress) for number in range(ranks))
        return _answers(started, progress, _Patience(progress, hang_s))
    finally:
        for rank in started:
            rank.end()


class _Patience:
    """How long a step may take, by the longest so far."""

    def __init__(self, progress: Progress, hang_s: float) -> None:
        self._progress, self._hang_s = progress, hang_s
        self._done, self._since, self._longest_s = 0, time.monotonic(), 0.0

    def check(self) -> None:
        """Look at the steps.

        Raises:
            TimedOut: the next one takes too long. The first step may take any time, as it compiles, and what
                comes after the last one too.
        """
        steps, now = self._progress.steps, time.monotonic()
        if (done := min(steps)) > self._done:
            if self._done:
                self._longest_s = max(self._longest_s, (now - self._since) / (done - self._done))
            self._done, self._since = done, now
        waited_s, most = now - self._since, max(self._hang_s, _SLOWEST * self._longest_s)
        if 0 < done < self._progress.last and waited_s > most:
            behind = f"rank {steps.index(done)}" if max(steps) > done else "one"
            raise TimedOut(
                f"no step for {waited_s:.1f} s after step {done} of {self._progress.last}: {behind} of "
                f"{len(steps)} ranks hangs, or a step takes longer than scenario.hang_s="
                f"{self._hang_s:g}; the log has the stack of each rank"
            )


def _answers(started: list[_Rank[T]], progress: Progress, patience: _Patience) -> list[T]:
    answers: dict[int, T] = {}
    waiting: dict[Any, _Rank[T]] = {rank.pipe: rank for rank in started}
    failures: list[RunFailure] = []
    while waiting:
        # What a rank raises may come of the death of another one, which is seen a moment later.
        ready = connection.wait(list(waiting), _LAST_WORDS_S if failures else _POLL_S)
        if failures and not ready:
            raise failures[0]
        for pipe in ready:
            rank = waiting.pop(pipe)
            try:
                kind, *answer = rank.pipe.recv()
            except (EOFError, OSError):
                raise rank.death(len(started), progress.steps[rank.number]) from None
            if kind == "ok":
                answers[rank.number] = answer[0]
            else:
                failures.append(deserialize_error(kind, *answer))
        if not failures:
            try:
                patience.check()
            except TimedOut:
                _write_stacks(waiting.values())
                raise
    if failures:
        raise failures[0]
    return [answers[rank.number] for rank in started]


def _write_stacks(ranks: Iterable[_Rank[Any]]) -> None:
    """Let faulthandler write into the log where each rank is."""
    for rank in ranks:
        with suppress(ProcessLookupError):
            os.kill(rank.process.pid or 0, signal.SIGABRT)
        rank.process.join(_POLL_S)  # one after the other, so that the log can be read


def _work(number: int, work: Callable[[int, Progress], T], progress: Progress, pipe: Connection) -> None:
    """In the process of a rank."""
    try:
        answer: tuple[Any, ...] = ("ok", work(number, progress))
    except BaseException as error:  # noqa: BLE001 - the one that started it raises it again
        import traceback

        traceback.print_exc()
        answer = serialize_error(error)
    with suppress(OSError):
        pipe.send(answer)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # torch's process groups may hang when they are freed
