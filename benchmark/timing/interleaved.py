"""Interleaved measurement: a child that stays alive between its blocks of calls, and the records of a pair.

Two processes that live at the same time and alternate see the same host: the ratio of their blocks is
reliable where two runs one after the other would differ by chance.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from benchmark.cell import Cell
from benchmark.errors import Crashed
from benchmark.protocols import Call
from benchmark.records import Artifact, Sampling, Session, Workload, frozen
from benchmark.timing import harness
from benchmark.timing.choice import fastest
from benchmark.timing.harness import measure_calls
from benchmark.timing.session import load

T = TypeVar("T")
Name = Literal["A", "B"]

_NAP_S, _CALM_S = 0.001, 0.25
"""How often to check whether threads still spin, and for how long: some never stop."""


@frozen
class Planned:
    """Facts of a side before anything is built."""

    isolated: bool
    """Whether it needs the host for itself; false for devices that compute nothing."""
    prepare_s: PositiveFloat
    """How long it may build and compile, by its limits."""
    measure_s: PositiveFloat
    """How long one of its measuring children may live, by its limits."""


@frozen
class Side:
    """One side: a cell in an interpreter, built and compiled."""

    label: str
    cell_id: str
    environment_id: str
    versions: Mapping[str, str]
    """Of its interpreter and of the libraries that decide its code."""
    git_commit: str | None
    """Of the program that measures it."""
    cache_hit: bool | None
    """Null if its compiler stores no artefact."""
    simulated: bool


@frozen
class Warmed:
    """A measuring child that is ready for its first block."""

    load_s: NonNegativeFloat
    first_call_ns: NonNegativeInt
    call_ns: NonNegativeInt
    """Median of the second half of the warm-up."""


@frozen
class Block:
    """One turn: calls back to back."""

    nanoseconds: tuple[int, ...]
    """One per call, in order."""
    wall_s: NonNegativeFloat
    """From the first call to the end of the last."""
    cpu_s: NonNegativeFloat
    """CPU seconds of the child, all threads, over the same time."""
    idle_cpu_s: NonNegativeFloat
    """CPU seconds of the child since its last turn, when it should sleep: threads that spin show here."""


@frozen
class Played:
    """One side's part in a pair."""

    warmed: Warmed
    turns: tuple[Block, ...]
    """As many as the other side's; turn i of both ran one right after the other."""

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """Latencies of the calls in nanoseconds, a tuple for each turn."""
        return tuple(turn.nanoseconds for turn in self.turns)

    @property
    def cpu_share(self) -> float | None:
        """CPU seconds over wall seconds of its turns; above 1 with several threads, null without time."""
        wall_s = sum(turn.wall_s for turn in self.turns)
        return sum(turn.cpu_s for turn in self.turns) / wall_s if wall_s else None


@frozen
class Pair:
    """Two fresh children, one of each side, that took turns."""

    number: NonNegativeInt
    first: Name
    """The side that was warmed up first and had the first turn."""
    calls: PositiveInt
    """In each block, of both sides."""
    a: Played
    b: Played
    seconds: NonNegativeFloat
    """From the start of the children to their end."""


class Player:
    """The parent's end of one side's measuring child."""

    def __init__(self, call: Call, cell: Cell, workload: Workload, artifact: Artifact) -> None:
        self._ours, theirs = Pipe()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, args=(call, theirs, cell, workload, artifact.folder), daemon=True
        )
        self._thread.start()

    def _run(self, call: Call, theirs: Connection, *arguments: Any) -> None:
        try:
            call(take_turns, *arguments, theirs)
        except BaseException as error:  # noqa: BLE001 - `_answer` raises it
            self._failure = error
        finally:
            theirs.close()  # ends the wait in `_answer`

    def warmed(self) -> Warmed:
        """Wait until it is ready.

        Raises:
            RunFailure: the model couldn't be loaded or called, or how the child ended.
        """
        return self._answer(Warmed)

    def block(self, turn: int, calls: int) -> Block:
        """Time so many calls in it.

        Raises:
            RunFailure: as `warmed`.
        """
        with suppress(OSError):  # it has ended: `_answer` raises the reason
            self._ours.send((turn, calls))
        return self._answer(Block)

    def end(self) -> None:
        """End it, and wait until it is gone."""
        self._ours.close()
        self._thread.join()

    def _answer(self, kind: type[T]) -> T:
        with suppress(EOFError, OSError):
            answer = self._ours.recv()
            assert isinstance(answer, kind)  # noqa: S101 - one answer a question
            return answer
        self._thread.join()
        raise self._failure or Crashed("the measuring child ended between its turns")


def take_turns(cell: Cell, workload: Workload, folder: Path | None, conductor: Connection) -> None:
    """In the child: load, warm up, then time a block of calls on each command; sleep in between."""
    e = cell.experiment
    session, load_s = load(e.hardware, e.compiler, workload, folder)
    with harness.quiet_interpreter():  # simulated devices measure in the side's own process, which lives on
        session = fastest(session)
        (first_call_ns,) = measure_calls(session.run, 1, session.clock)
        if e.sampling.inputs == "varied":
            session = replace(session, before_block=harness.shuffler(session, e.seed))
        call_ns = _warm_up(session, e.sampling)
        _calm_down()
        conductor.send(Warmed(load_s=load_s, first_call_ns=first_call_ns, call_ns=call_ns))
        _play(session, conductor)


def _warm_up(session: Session, sampling: Sampling) -> int:
    """Call until both minima of the warm-up are reached; return the median latency of its second half."""
    start, latencies = session.clock(), list[int]()
    while len(latencies) < sampling.max_calls:  # a simulated clock may stand still
        latencies += measure_calls(session.run, 1, session.clock)
        if len(latencies) >= sampling.warmup_calls and session.clock() - start >= sampling.warmup_s * 1e9:
            break
    return round(statistics.median(latencies[len(latencies) // 2 :]))


def _play(session: Session, conductor: Connection) -> None:
    with suppress(EOFError):  # the parent has closed its end
        while True:
            asleep = time.process_time()
            turn, calls = conductor.recv()
            idle_cpu_s = time.process_time() - asleep
            harness.start_on(turn)  # the same CPU for both sides
            if session.before_block:
                session.before_block()
            cpu, start = time.process_time(), session.clock()
            latencies = measure_calls(session.run, calls, session.clock)
            end, cpu_end = session.clock(), time.process_time()
            block = Block(
                nanoseconds=tuple(latencies),
                wall_s=(end - start) / 1e9,
                cpu_s=cpu_end - cpu,
                idle_cpu_s=idle_cpu_s,
            )
            _calm_down()
            conductor.send(block)


def _calm_down() -> None:
    """Wait until the other threads sleep: those of OpenMP and ONNX Runtime may spin in the other turn."""
    patience = time.perf_counter() + _CALM_S
    while time.perf_counter() < patience:
        time.sleep(_NAP_S)
        if not any(map(_is_runnable, Path("/proc/self/task").glob("[0-9]*"))):
            return


def _is_runnable(task: Path) -> bool:
    """Whether a thread other than the caller runs or waits for a CPU; CPU time doesn't show the latter."""
    try:
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it has ended
        return False
    return state == "R" and int(task.name) != threading.get_native_id()
