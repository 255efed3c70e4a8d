"""A run that answers a data set: its items, batch by batch, and its answers, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from benchmark.errors import Incompatible
from benchmark.items import Item
from benchmark.labelled.answers import Answers, Blocks, joined
from benchmark.labelled.inputs import fill
from benchmark.labelled.questions import SCORED, Arrays, Questions
from benchmark.records import Names, Session, frozen
from benchmark.timing.session import host_arrays

_LEAST_IN_BLOCK = 64
"""Items of a block; few enough that little is lost when a run is stopped."""


@frozen
class Exam:
    """What a run answers, and where its answers are kept until the run has its row."""

    digest: str
    """Hash of the items in their order."""
    count: PositiveInt
    skipped: NonNegativeInt
    """Items that can't be read."""
    classes: NonNegativeInt
    """Number of classes; 0 where items have none."""
    head: Path | None
    """Folder of the linear head that turns features into classes."""
    reference: Path
    """Folder of the fp32 reference's answers."""
    blocks: Path
    """Folder of the answers so far."""
    input_names: Names


class Call(NamedTuple):
    """One call of the model."""

    items: Sequence[Item]
    given: Arrays
    """A full batch, padded where there are fewer items."""


class Asking:
    """Asks the items that have no answer yet. `ask` makes the calls, timed or not."""

    def __init__(
        self, items: Sequence[Item], questions: Questions, batch: int, names: Sequence[str], folder: Path
    ) -> None:
        self._items, self._questions, self._batch, self._names = items, questions, batch, names
        self._blocks = Blocks(folder)
        self._size = batch * -(-_LEAST_IN_BLOCK // batch)

    @property
    def _numbers(self) -> range:
        return range(-(-len(self._items) // self._size))

    def ask(self, session: Session, replace_inputs: Callable[[Session, Sequence[np.ndarray]], None]) -> None:
        """Answer the blocks that are missing. Only the model's calls are timed."""
        for number in self._numbers:
            if self._blocks.has(number):
                continue
            graded, calls_ns, wall_s = list[Answers](), list[int](), 0.0
            cpu_s = 0.0
            for call in self._calls(number):
                replace_inputs(session, [call.given[name] for name in self._names])
                outputs, ns, used_s = _timed(session, call.given.get(SCORED))
                calls_ns.append(ns)
                wall_s, cpu_s = wall_s + ns / 1e9, cpu_s + used_s
                graded.append(self._questions.graded(call.items, call.given, host_arrays(outputs)))
            times = {"calls_ns": np.array(calls_ns), "wall_s": np.array(wall_s), "cpu_s": np.array(cpu_s)}
            self._blocks.keep(number, len(self._numbers), joined(graded), times)

    def first_inputs(self) -> list[np.ndarray]:
        """Inputs of the first call, for the warm-up."""
        call = next(self._calls(0))
        return [call.given[name] for name in self._names]

    def answers(self) -> Answers:
        """Answers to all items, in their order."""
        return self._blocks.all()

    def times(self) -> tuple[list[int], float, float]:
        """Nanoseconds of each call, their seconds, and CPU seconds; of earlier processes of this run too."""
        found = [self._blocks.read(number)[1] for number in self._numbers]
        calls = [int(ns) for one in found for ns in one["calls_ns"]]
        return calls, sum(float(one["wall_s"]) for one in found), sum(float(one["cpu_s"]) for one in found)

    def _calls(self, number: int) -> Iterator[Call]:
        for start in range(
            number * self._size, min((number + 1) * self._size, len(self._items)), self._batch
        ):
            items = self._items[start : min(start + self._batch, (number + 1) * self._size)]
            given = fill(self._questions.arrays(items), self._batch)
            if lacking := [name for name in self._names if name not in given]:
                raise Incompatible(f"the model also takes {', '.join(lacking)}, which the items don't have")
            yield Call(items, given)


def _timed(session: Session, scored: np.ndarray | None) -> tuple[Any, int, float]:
    """One call: of the model as it is timed elsewhere, or along given tokens."""
    cpu_s, start = time.process_time(), session.clock()
    outputs = session.run() if scored is None or session.score is None else session.score(scored)
    ns = session.clock() - start
    return outputs, ns, time.process_time() - cpu_s
