"""When candidates join a race: cheap ones at once, a compilation when what it may win is worth it.

Nothing is skipped because of what earlier runs say: they decide the order. With enough time all are started.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from benchmark.tuning.candidates import Candidate
from benchmark.tuning.pace import Pace

_CHEAP: Final = 5.0
"""Looks that a compilation may cost at the start."""
_FIRST_ROUNDS: Final = 3
"""Rounds of the cheap ones alone."""
_LOOKS: Final = 5.0
"""Looks that a newcomer takes until it is usually dropped."""
_RESERVE: Final = 0.25
"""Share of the time left that compilations leave to the race."""
_UNSURE: Final = 0.3
"""Standard deviation of a logarithm that earlier rows of this or a similar cell say, for tonight."""
_UNKNOWN: Final = 0.5
"""Chance to win of a candidate of which nothing is known."""


class Starts:
    """Which candidates wait, and which are started next."""

    def __init__(self, candidates: Sequence[Candidate], waiting: Iterable[int], pace: Pace) -> None:
        self._candidates, self._pace = candidates, pace
        self.waiting: list[int] = list(waiting)
        """Those not started yet."""
        self._made: set[str] = set()
        self._spent_s = 0.0

    def making_s(self, indices: Iterable[int]) -> float:
        """Seconds of compilations for these candidates, each artefact once."""
        keys = {self._key(index): self._candidates[index].making_s for index in indices}
        return sum(seconds for key, seconds in keys.items() if key not in self._made)

    def next(self, number: int, seconds_left: float, leader_log: float | None) -> list[int]:
        """Candidates that join round `number`, for which there is time; `leader_log` is the one to beat."""
        if not self.waiting:
            return []
        affordable = [index for index in self.waiting if self._cost([index]) <= seconds_left * (1 - _RESERVE)]
        cheap = [i for i in affordable if self.making_s([i]) <= _CHEAP * self._pace.look_s(i)]
        if number == 0 and len(cheap) < 2:  # noqa: PLR2004 - a race needs two
            cheap = sorted(affordable, key=lambda index: self._cost([index]))[:2]
        if number < _FIRST_ROUNDS:
            return self._fitting(cheap, seconds_left, math.inf)
        worthy = sorted(affordable, key=lambda index: self._worth(index, leader_log), reverse=True)
        return self._fitting(worthy, seconds_left, self._spent_s)

    def started(self, indices: Iterable[int]) -> None:
        """Remember that these have joined."""
        joined = list(indices)
        self._spent_s += self._cost(joined)
        self._made |= {self._key(index) for index in joined}
        self.waiting = [index for index in self.waiting if index not in set(joined)]

    def leave(self, index: int) -> None:
        """Forget a candidate that must not be started."""
        self.waiting = [one for one in self.waiting if one != index]

    def _fitting(self, wanted: Iterable[int], seconds_left: float, most_s: float) -> list[int]:
        """The first of these whose cost fits the time left, and `most_s` unless it is the only one."""
        taken: list[int] = []
        for index in wanted:
            cost = self._cost([*taken, index])
            if cost <= seconds_left * (1 - _RESERVE) and (not taken or cost <= most_s):
                taken.append(index)
        return taken

    def _cost(self, indices: Sequence[int]) -> float:
        return self.making_s(indices) + _LOOKS * sum(map(self._pace.look_s, indices))

    def _worth(self, index: int, leader_log: float | None) -> float:
        """Chance to beat the leader, for each second that it costs."""
        expected = self._candidates[index].expected
        chance = _UNKNOWN
        if expected is not None and leader_log is not None:
            chance = 0.5 * math.erfc((expected - leader_log) / (_UNSURE * math.sqrt(2)))
        return max(chance, 1e-9) / self._cost([index])

    def _key(self, index: int) -> str:
        one = self._candidates[index]
        return one.making if one.making is not None else f"alone {one.name}"
