"""Compare two sides on this host: each is a process, and they measure blocks of calls in turns."""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import TypeAdapter

from benchmark.errors import BenchmarkError
from benchmark.execution.host_lock import HostLock
from benchmark.execution.peer import Peer
from benchmark.host import machine
from benchmark.host.path import environment_of
from benchmark.paths import CampaignPaths
from benchmark.records import Names, frozen
from benchmark.timing.interleaved import Block, Name, Pair, Planned, Played, Side, Warmed

log = logging.getLogger(__name__)
T = TypeVar("T")

_START_S: Final = 300.0
"""Time for a side to plan: its imports take seconds, on a busy host a minute."""
_GRACE_S: Final = 30.0
"""Time for an answer beyond the limits that the side sets its children."""
_BLOCK_NS: Final = 250_000_000
"""A block of slow calls has fewer of them, so that it takes about this long."""


@frozen
class SideSpec:
    """The cell and the interpreter of one side."""

    overrides: Names
    """As on the command line; they make exactly one cell."""
    row: str = ""
    """A stored row's run_id, campaign, overrides and config as a JSON object, instead of overrides."""
    python: str = sys.executable
    """Interpreter with the side's libraries and this program, in this version or another."""


class Duel(NamedTuple):
    """Two sides that are ready, and their pairs: each is measured when it is taken."""

    a: Side
    b: Side
    pairs: Iterator[Pair]


@contextmanager
def run(  # noqa: PLR0913 - a protocol has its numbers
    a: SideSpec,
    b: SideSpec,
    *,
    folder: Path,
    pairs: int = 8,
    turns: int = 20,
    calls: int = 40,
    seed: int = 0,
) -> Iterator[Duel]:
    """Hold the host with both sides ready; the caller takes up to `pairs` pairs.

    A pair has `turns` blocks of each side, of `calls` calls at most. Output of the sides goes to `folder`.
    All their processes end with the block.

    Raises:
        BenchmarkError: a side fails, has ended or doesn't answer; names it and its log.
    """
    with seated({"A": a, "B": b}, folder) as sides:
        coin = random.Random(seed)  # noqa: S311 - not for security
        yield Duel(sides["A"].facts, sides["B"].facts, _pairs(sides, pairs, turns, calls, coin))


@contextmanager
def seated(specs: Mapping[Name, SideSpec], folder: Path) -> Iterator[Mapping[Name, SideProcess]]:
    """Start all sides at once and let them build and compile; hold the host if one of them needs it.

    Raises:
        BenchmarkError: as `run`.
    """
    with ExitStack() as ending:
        host_lock = HostLock()
        ending.callback(host_lock.release)
        inbox: Inbox = SimpleQueue()
        sides: dict[Name, SideProcess] = {}
        for name, spec in specs.items():
            sides[name] = SideProcess(name, spec, folder / name, inbox)
            ending.callback(sides[name].end)
        planned = [side.receive("planned", Planned, _START_S) for side in sides.values()]
        if any(plan.isolated for plan in planned):
            # Not before: imports and failed plans don't wait for it.
            host_lock.acquire(waiting=partial(log.warning, "waiting for the host: %s"))
        for side in sides.values():
            side.send(prepare=True)
        for side, plan in zip(sides.values(), planned, strict=True):
            # Each may wait for an artefact that another one makes.
            side.facts = side.receive("ready", Side, sum(each.prepare_s for each in planned) + _GRACE_S)
            side.patience_s = plan.measure_s + _GRACE_S
        yield sides


def _pairs(
    sides: Mapping[Name, SideProcess], pairs: int, turns: int, calls: int, coin: random.Random
) -> Iterator[Pair]:
    order = list(sides.values())
    for number in range(pairs):
        # Of two pairs each side starts one, in random order: neither gains by it.
        order = order[::-1] if number % 2 else coin.sample(order, 2)
        yield _pair(number, order, turns, calls)


def _pair(number: int, order: list[SideProcess], turns: int, calls: int) -> Pair:
    """Warm up one after the other, then measure in turns."""
    since = time.perf_counter()
    warmed = {side.name: side.warm(number) for side in order}
    slowest_ns = max(one.call_ns for one in warmed.values())
    calls = max(1, min(calls, _BLOCK_NS // max(1, slowest_ns)))
    blocks: dict[Name, list[Block]] = {"A": [], "B": []}
    for turn in range(turns):
        for side in order:
            blocks[side.name].append(side.block(turn, calls))
    for side in order:
        side.dismiss()
    a, b = (Played(warmed=warmed[name], turns=tuple(blocks[name])) for name in ("A", "B"))
    seconds = time.perf_counter() - since
    return Pair(number=number, first=order[0].name, calls=calls, a=a, b=b, seconds=seconds)


class SideProcess:
    """The conductor's end of `python -m benchmark.cli.side`."""

    facts: Side
    """Known once it is ready."""
    patience_s: float
    """Time for an answer while a pair is measured."""

    def __init__(self, name: Name, spec: SideSpec, folder: Path, inbox: Inbox) -> None:
        self.name, self._spec, self._inbox = name, spec, inbox
        self._log = CampaignPaths(folder=folder.absolute()).log("side")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._answers = deque[dict[str, Any]]()
        self._peer = self._started()
        self.send(overrides=spec.overrides, row=spec.row, folder=str(folder.absolute()))

    def warm(self, number: int) -> Warmed:
        """Start a measuring child, and wait until it is warm."""
        self.send(pair=number)
        return self.receive("warmed", Warmed, self.patience_s)

    def block(self, turn: int, calls: int) -> Block:
        """Time so many calls in the child."""
        self.send(turn=turn, block=calls)
        return self.receive("block", Block, self.patience_s)

    def dismiss(self) -> None:
        """End the child."""
        self.send(done=True)
        self.receive("done", bool, self.patience_s)

    def send(self, **command: Any) -> None:
        """Send a command; `benchmark.cli.side` lists them."""
        try:
            self._peer.send(json.dumps(command).encode(), b"\n")
        except OSError as error:
            raise self._death() from error

    def receive(self, key: str, kind: type[T], within_s: float) -> T:
        """Wait for an answer. Answers of another side are kept for it; if that one ends, the wait fails.

        Raises:
            BenchmarkError: names the side that has failed, ended or not answered, and its log.
        """
        deadline = time.monotonic() + within_s
        while not self._answers:
            try:
                side, line = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise self._failure(f"no answer within {within_s:g} s") from None
            side._take(line)  # noqa: SLF001 - of this class
        answer = self._answers.popleft()
        try:
            return TypeAdapter(kind).validate_json(json.dumps(answer[key]))
        except (KeyError, ValueError) as error:
            raise self._unreadable(str(answer)) from error

    def end(self) -> None:
        """End it with all it has started."""
        self._peer.end()

    def _started(self) -> Peer:
        # The interpreter's own version of this program runs, not the one in this folder.
        environment = {
            **environment_of(self._spec.python, os.environ),
            "PYTHONSAFEPATH": "1",
            machine.COMMAND_PID: str(machine.command_pid()),
        }
        log = self._log.open("w+b")
        try:
            return Peer([self._spec.python, "-m", "benchmark.cli.side"], environment, log, self._listen)
        except OSError as error:
            log.close()
            raise self._failure(f"python={self._spec.python}: {error.strerror}") from error

    def _listen(self, peer: Peer) -> None:
        with peer.output:
            for line in peer.output:
                self._inbox.put((self, line.decode(errors="replace")))
        self._inbox.put((self, None))

    def _take(self, line: str | None) -> None:
        if line is None:
            raise self._death()
        try:
            answer = json.loads(line)
            error = answer.get("error")
        except (ValueError, AttributeError) as unreadable:
            raise self._unreadable(line.strip()) from unreadable
        if error is not None:
            raise self._failure(error)
        self._answers.append(answer)

    def _death(self) -> BenchmarkError:
        return self._failure(f"it {self._peer.death()}")

    def _unreadable(self, text: str) -> BenchmarkError:
        return self._failure(
            f"{text[:200]!r} is no answer: is python={self._spec.python} an interpreter with this program, "
            "in a version that this one can be compared with?"
        )

    def _failure(self, reason: str) -> BenchmarkError:
        overrides = " ".join(self._spec.overrides) or "all defaults"
        return BenchmarkError(f"side {self.name} ({overrides}): {reason} (log: {self._log})")


Inbox = SimpleQueue[tuple[SideProcess, str | None]]
"""Lines of all sides; None when a side has ended."""
