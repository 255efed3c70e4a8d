"""The race: every candidate takes short looks in common rounds; who can't be the best any more drops out.

A candidate is dropped for good when it is surely worse than a leader by more than the tolerance, or surely
outside a limit. It rests while it is surely no better than a leader by more than the tolerance. The race is
decided when every other one is dropped or rests. Expensive compilations start late, in the order of what they
may win for their cost; what is known of earlier runs decides that order and nothing else.

No torch, no files, no clock: the same looks give the same decisions, so a race can be resumed from its rows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from benchmark.stats.pareto import unbeaten
from benchmark.tuning.bounds import Bounds, bounds
from benchmark.tuning.candidates import Candidate, Look, Question
from benchmark.tuning.pace import Pace
from benchmark.tuning.starts import Starts

Why = Literal["worse", "outside", "refused"]

_OF_LIMITS: Final = 0.2
"""Share of the chance of a wrong claim that is spent on limits."""
_CONFIRMED: Final = 3
"""Rounds in which the last few take turns once the race is decided."""
_LAST_FEW: Final = 3
_NOTHING: Final = math.log(10)
"""A bound that is farther away than ten times says nothing: two looks at few candidates give such bounds."""


class Dropped(NamedTuple):
    """When and why a candidate left the race."""

    round: int
    why: Why
    reason: str
    """For people: such as `at least 12 % worse than eager b1`."""


class Round(NamedTuple):
    """Candidates to look at, in this order."""

    number: int
    looks: tuple[int, ...]
    starts: tuple[int, ...]
    """Those of them that are looked at for the first time: they may need a compilation."""
    confirms: bool = False


class Standing(NamedTuple):
    """Where the race stands, by the looks so far."""

    front: tuple[int, ...]
    """The leader; with two objectives all that no other beats. Empty before the first ok look."""
    rivals: tuple[int, ...]
    """Those that may be better than the front by more than the tolerance."""
    resting: tuple[int, ...]
    waiting: tuple[int, ...]
    """Those that were never looked at."""
    within: float
    """The front is surely within this share of the best that was looked at; infinite if nothing is sure."""
    sure_of_limits: bool
    """Whether the front surely keeps the limit."""

    @property
    def decided(self) -> bool:
        """Whether there is an answer, as sure as was asked."""
        return bool(self.front) and not self.rivals and self.sure_of_limits


class Race:
    """Plans rounds, takes their looks and says where the race stands."""

    def __init__(
        self, candidates: Sequence[Candidate], question: Question, *, proposed: bool = False
    ) -> None:
        """`proposed`: only candidates that `propose` names take part."""
        self.candidates, self.question = tuple(candidates), question
        self.rounds = 0
        """Rounds that are complete."""
        self.dropped: dict[int, Dropped] = {}
        self.confirmations: list[int] = []
        """Numbers of the rounds that confirmed."""
        self.leaders: list[int | None] = []
        """Leader after each round."""
        everyone = range(len(self.candidates))
        self.pace = Pace(self.candidates)
        self._starts = Starts(self.candidates, () if proposed else everyone, self.pace)
        self.unproposed = {*everyone} if proposed else set[int]()
        """Candidates that take no part, since they weren't proposed."""
        shape = (question.objectives, len(self.candidates), 0)
        self._failed: set[int] = set()
        """Candidates with a look that may have failed by chance."""
        self._logs = np.full(shape, math.nan)
        self._p95 = np.full(shape[1:], math.nan)
        self._against: dict[int, list[Bounds]] = {}
        self.standing = self._stand(None)

    # Rounds

    def next_round(self, seconds_left: float = math.inf) -> Round | None:
        """The next round, or None when the race is over: decided, without candidates, or out of time."""
        now = self.standing
        if self.rounds >= self.question.most_rounds:
            return None
        starts = self._starts.next(self.rounds, seconds_left, self._best_log())
        if now.rivals or starts or not now.front or not now.sure_of_limits:
            looks, confirms = (*now.front, *now.rivals, *starts), False
            if not (now.rivals or starts or now.front):
                return None
        elif len(self.confirmations) < _CONFIRMED:
            looks, confirms = (*now.front, *self._nearest()), True
        else:
            return None
        if self._seconds(looks, starts) > seconds_left:
            return None
        self._starts.started(starts)
        order = list(dict.fromkeys(looks))
        random.Random(f"{self.question.seed} {self.rounds}").shuffle(order)  # noqa: S311 - no secret
        return Round(self.rounds, tuple(order), tuple(starts), confirms)

    def add(self, turn: Round, looks: Mapping[int, Look]) -> None:
        """Take what a round found, and drop who can't be the best any more."""
        self._logs = np.pad(self._logs, ((0, 0), (0, 0), (0, 1)), constant_values=math.nan)
        self._p95 = np.pad(self._p95, ((0, 0), (0, 1)), constant_values=math.nan)
        for index, look in looks.items():
            if look.seconds:
                self.pace.took(index, look.seconds)
            if look.perhaps and index not in self._failed:
                self._failed.add(index)
                self._again(index)
            elif look.refused:
                self.dropped[index] = Dropped(turn.number, "refused", look.refused)
            else:
                self._logs[:, index, -1] = np.log(look.values)
                self._p95[index, -1] = math.nan if look.p95_ms is None else math.log(look.p95_ms)
        if turn.confirms:
            self.confirmations.append(turn.number)
        self.rounds = turn.number + 1
        limits = self._limits()
        self._drop_outside(limits)
        self.standing = self._stand(limits)
        self._drop_worse(limits)
        self.standing = self._stand(limits)
        self.leaders.append(self.standing.front[0] if self.standing.front else None)

    def propose(self, indices: Iterable[int]) -> None:
        """Let these take part from now on."""
        new = [index for index in indices if index in self.unproposed and index not in self.dropped]
        self.unproposed -= {*new}
        self._starts.waiting += new
        self.standing = self.standing._replace(waiting=tuple(self._starts.waiting))

    def means(self) -> dict[int, float]:
        """Mean logarithm of the first objective of every candidate with a look."""
        known = np.flatnonzero(~np.isnan(self._logs[0]).all(axis=1)) if self.rounds else np.array([], int)
        return {int(index): float(np.nanmean(self._logs[0, index])) for index in known}

    @property
    def making_left_s(self) -> float:
        """Estimated seconds of the compilations of those that wait."""
        return self._starts.making_s(self._starts.waiting)

    def refuse(self, index: int, reason: str) -> None:
        """Drop a candidate before its first look, for a floor that it is known to miss."""
        self.dropped[index] = Dropped(self.rounds, "refused", reason)
        self._starts.leave(index)
        self.standing = self._stand(None)

    def _again(self, index: int) -> None:
        """Let a candidate without any look be started again; the others are looked at in any case."""
        if np.isnan(self._logs[0, index]).all():
            self._starts.waiting.append(index)

    # What the looks say

    def looks_of(self, index: int) -> np.ndarray:
        """Values of the objectives at each look of a candidate: (objectives, looks)."""
        logs = self._logs[:, index]
        return np.asarray(np.exp(logs[:, ~np.isnan(logs[0])]))

    def against(self, index: int) -> Sequence[Bounds]:
        """Bounds of all candidates relative to this one, in logarithms: one for each objective."""
        if index not in self._against:
            found = []
            for logs in self._logs:
                differences = logs - logs[index]
                differences[index] = math.nan
                one = bounds(differences, self._miss(1 - _OF_LIMITS) / self.question.objectives)
                one.mean[index] = 0.0
                one.half[index] = 0.0
                found.append(one)
            self._against[index] = found
        return self._against[index]

    def _miss(self, share: float) -> float:
        return share * (1 - self.question.confidence) / max(1, len(self.candidates) - 1)

    def _limits(self) -> Bounds | None:
        """Logarithm of each p95 over its limit."""
        self._against.clear()
        if self.question.p95_ms is None:
            return None
        return bounds(self._p95 - math.log(self.question.p95_ms), self._miss(_OF_LIMITS))

    def _drop_outside(self, limits: Bounds | None) -> None:
        if limits is None:
            return
        for index in map(int, np.flatnonzero(limits.lo > 0)):
            if index not in self.dropped:
                least = math.exp(limits.lo[index]) * (self.question.p95_ms or 0)
                reason = f"p95 is at least {least:.3g} ms, the limit is {self.question.p95_ms:g} ms"
                self.dropped[index] = Dropped(self.rounds - 1, "outside", reason)

    def _drop_worse(self, limits: Bounds | None) -> None:
        for leader in self.standing.front:
            if limits is not None and not limits.hi[leader] <= 0:
                continue  # it may have to go itself
            lo = np.min([one.lo for one in self.against(leader)], axis=0)
            for index in map(int, np.flatnonzero(lo > self.question.margin)):
                if index not in self.dropped and index not in self.standing.front:
                    name = self.candidates[leader].name
                    reason = f"at least {math.expm1(lo[index]):.1%} worse than {name}"
                    self.dropped[index] = Dropped(self.rounds - 1, "worse", reason)

    def _stand(self, limits: Bounds | None) -> Standing:
        known = ~np.isnan(self._logs[0]).all(axis=1) if self.rounds else np.zeros(len(self.candidates), bool)
        alive = [index for index in range(len(self.candidates)) if index not in self.dropped]
        racing = [index for index in alive if known[index]]
        waiting = tuple(index for index in self._starts.waiting if index not in self.dropped)
        if not racing:
            return Standing((), (), (), waiting, math.inf, limits is None)
        eligible = [index for index in racing if limits is None or not limits.mean[index] > 0] or racing
        front = self._front(eligible)
        lo = np.max([np.min([one.lo for one in self.against(f)], axis=0) for f in front], axis=0)
        others = [index for index in racing if index not in front]
        margin = self.question.margin
        rivals = tuple(index for index in others if not lo[index] >= -margin)
        behind = max((-float(lo[index]) for index in others), default=0.0)
        return Standing(
            front=front,
            rivals=rivals,
            resting=tuple(index for index in others if index not in rivals),
            waiting=waiting,
            within=math.expm1(max(0.0, behind)) if behind < _NOTHING else math.inf,
            sure_of_limits=limits is None or all(limits.hi[index] <= 0 for index in front),
        )

    def _front(self, eligible: Sequence[int]) -> tuple[int, ...]:
        """The leader first; with two objectives followed by all that no other beats."""
        leader = self._leader(eligible)
        if self.question.objectives == 1:
            return (leader,)
        import pandas as pd

        means = np.array([[one.mean[index] for one in self.against(leader)] for index in eligible])
        comparable = ~np.isnan(means).any(axis=1)
        rows = np.flatnonzero(comparable)
        first, second = (pd.Series(means[rows, number]) for number in range(2))
        kept = [eligible[int(row)] for row in rows[unbeaten(first, second).to_numpy()]]
        return tuple(dict.fromkeys([leader, *kept])) if leader in kept else tuple(kept)

    def _leader(self, eligible: Sequence[int]) -> int:
        """The eligible candidate with the least mean, among those with looks enough to be compared."""
        last = next((one for one in reversed(self.leaders) if one is not None), None)
        looks = np.sum(~np.isnan(self._logs[0]), axis=1)
        leader = max(eligible, key=lambda index: (looks[index], -index))
        if last is not None and last in eligible:
            leader = last
        for _ in eligible:
            (one, *_) = self.against(leader)
            enough = (one.rounds >= (looks[leader] + 1) // 2) | (one.hi < 0)
            best = min(
                (index for index in eligible if enough[index] or index == leader),
                key=lambda index: float(one.mean[index]),
            )
            if not one.mean[best] < 0:
                break
            leader = best
        return leader

    def _nearest(self) -> Iterable[int]:
        """Resting candidates that are nearest to the leader: they take turns with it at the end."""
        (one, *_) = self.against(self.standing.front[0])
        return sorted(self.standing.resting, key=lambda index: float(one.mean[index]))[:_LAST_FEW]

    def _best_log(self) -> float | None:
        if not self.standing.front:
            return None
        return float(np.nanmean(self._logs[0, self.standing.front[0]]))

    def _seconds(self, looks: Iterable[int], starts: Iterable[int]) -> float:
        """Estimated seconds of a round."""
        looking = sum(map(self.pace.look_s, dict.fromkeys(looks)))
        return looking + self._starts.making_s(starts)
