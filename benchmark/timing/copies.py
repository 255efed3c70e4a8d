"""Loaded copies of a model, as a run measures them: all in this process, or each in one of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from benchmark.cell import Cell
from benchmark.errors import CompileFailed, RunFailure, WrongAnswer
from benchmark.execution.failures import cause, describe, is_ours
from benchmark.execution.team import Barrier, Team
from benchmark.records import Arithmetic, Session, Workload
from benchmark.timing import harness
from benchmark.timing.callers import Caller, call_together
from benchmark.timing.choice import fastest
from benchmark.timing.noise import Usage, usage
from benchmark.timing.session import host_arrays, load

_SAME = 0.01
"""Most difference of two copies' answers, as a share of the greatest one."""


class First(NamedTuple):
    """What loading and the first call of a copy gave."""

    load_s: float
    call_ns: int
    answers: tuple[np.ndarray, ...]
    arithmetic: Arithmetic
    drew_picture: bool
    keeps_states: bool
    kv_bytes_per_token: float | None


class Copies:
    """Copies in this process."""

    def __init__(
        self, cell: Cell, workload: Workload, folder: Path | None, *, count: int, share: Sequence[int] = ()
    ) -> None:
        """Load `count` copies, on these cores of the device where it has any to give."""
        e = cell.experiment
        self._cell, self._workload = cell, workload
        with _explained(cell, "loaded"):
            loaded = [load(e.hardware, e.compiler, workload, folder, share) for _ in range(count)]
        self.load_s = sum(seconds for _, seconds in loaded)
        self.sessions = [session for session, _ in loaded]

    def first_call(self, picture: Path | None) -> First:
        """Call the first copy once, for its answers; an image that it makes is saved as `picture`."""
        e, workload = self._cell.experiment, self._workload
        with _explained(self._cell, "called"):
            session = fastest(self.sessions[0])
            called = session.clock()
            outputs = session.run()
            call_ns = session.clock() - called
            if session.answers and workload.reference:
                outputs = session.answers(workload.reference)
        drew = bool(picture and session.save_image and session.save_image(picture))
        answers = host_arrays(outputs)
        if e.sampling.inputs == "varied":
            self.sessions = [
                replace(copy, before_block=harness.shuffler(copy, e.seed)) for copy in self.sessions
            ]
        kept = session.kv_bytes_per_token and session.kv_bytes_per_token()
        return First(self.load_s, call_ns, answers, session.arithmetic, drew, session.keeps_states, kept)

    def start_on(self, turn: int) -> None:
        """Move this thread to another CPU: perhaps its own threads disturbed each other."""
        harness.start_on(turn)

    def second_answers(self) -> tuple[np.ndarray, ...]:
        """Answers to the second inputs, by a session that was timed; empty where it can't take them."""
        session, second = self.sessions[0], self._workload.second_reference
        if second is None or not session.inputs:
            return ()
        stored = load_file(second / "inputs.safetensors")
        harness.replace_inputs(session, [stored[name] for name in self._workload.input_names])
        return host_arrays(session.answers(second) if session.answers else session.run())

    def usage(self) -> Usage:
        """CPU time of this process."""
        return usage()

    def peak_host_bytes(self) -> int:
        """Peak memory of this process."""
        return harness.peak_host_bytes()


class Replica(Copies):
    """One copy in a process of its own, for which the methods are called."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it loads, and its place among the others
        self,
        cell: Cell,
        workload: Workload,
        folder: Path | None,
        shares: Sequence[Sequence[int]],
        number: int,
        barrier: Barrier,
    ) -> None:
        harness.start_on(number)
        super().__init__(cell, workload, folder, count=1, share=shares[number])
        self._number, self._barrier = number, barrier
        self._threads = ThreadPoolExecutor(cell.experiment.scenario.workers)

    def first_call(self, picture: Path | None) -> First:
        """Call it once; the first copy saves the image."""
        return super().first_call(picture if self._number == 0 else None)

    def block(self, workers: int, most: int, block_ns: int) -> tuple[list[Caller], float]:
        """Let the callers of this copy call, from the same moment on as those of the others."""
        (session,) = self.sessions
        if session.before_block:
            session.before_block()
        cpu_s = time.process_time()
        self._barrier.wait()
        callers = call_together(self._threads, [session] * workers, most, block_ns)
        return callers, time.process_time() - cpu_s

    def call_once(self) -> None:
        """Call, untimed."""
        self.sessions[0].run()


class Replicas:
    """Copies in processes of their own, each on its cores of the device; used as `Copies` are."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self.sessions: list[Session] = []
        self.load_s = 0.0

    def first_call(self, picture: Path | None) -> First:
        """Load all, and call each once; the answers are those of the first, and the others' have to be alike.

        Raises:
            WrongAnswer: two copies give different answers.
        """
        found: list[First] = self._team.call("first_call", picture)
        first, *others = found
        for number, other in enumerate(others, 1):
            for one, two in zip(first.answers, other.answers, strict=True):
                if not np.allclose(one, two, rtol=0, atol=_SAME * float(np.abs(one).max()), equal_nan=True):
                    raise WrongAnswer(
                        f"replica {number} and replica 0 give different answers to the same inputs"
                    )
        run = partial(self._team.call, "call_once")
        self.sessions = [Session(run=run, block=self._block, arithmetic=first.arithmetic)]
        self.load_s = max(one.load_s for one in found)
        return first._replace(load_s=self.load_s)

    def _block(self, workers: int, most: int, block_ns: int) -> tuple[list[Caller], float]:
        found = self._team.call("block", workers, most, block_ns)
        return [caller for callers, _ in found for caller in callers], sum(cpu_s for _, cpu_s in found)

    def start_on(self, turn: int) -> None:
        """Move each to another CPU."""
        self._team.call("start_on", turn)

    def second_answers(self) -> tuple[np.ndarray, ...]:
        """Answers of the first to the second inputs."""
        answers: tuple[np.ndarray, ...] = self._team.call("second_answers")[0]
        return answers

    def usage(self) -> Usage:
        """CPU time of this process and of all of them."""
        return Usage(*map(sum, zip(usage(), *self._team.call("usage"), strict=True)))

    def peak_host_bytes(self) -> int:
        """Sum of the peaks of all processes."""
        return sum(self._team.call("peak_host_bytes"))


@contextmanager
def opened(
    cell: Cell, workload: Workload, folder: Path | None, shares: Sequence[Sequence[int]]
) -> Iterator[Copies | Replicas]:
    """Load the copies that the scenario needs: each on its share of the cores, in a process of its own.

    Without shares all are in this process. The processes end with the block.
    """
    e = cell.experiment
    if len(shares) > 1:
        with Team(partial(Replica, cell, workload, folder, shares), len(shares)) as team:
            yield Replicas(team)
    else:
        (share,) = shares or ((),)
        yield Copies(cell, workload, folder, count=e.scenario.replicas, share=share)


@contextmanager
def _explained(cell: Cell, what: str) -> Iterator[None]:
    """Say that what the compiler made can't be used, where a library raises its own error.

    Raises:
        CompileFailed: with the reason; other failures and errors of memory stay as they are.
    """
    try:
        yield
    except Exception as error:
        compiler, (status, text) = cell.experiment.compiler, describe(error)
        of_a_library = status == "crashed" and not isinstance(error, RunFailure) and not is_ours(error)
        if not (of_a_library and compiler.leaves_artifact):
            raise
        first = (
            f"compiler={compiler.name}: what it made can't be {what}: {cause(error)}; use another compiler"
        )
        raise CompileFailed(f"{first}\n{text}") from error
