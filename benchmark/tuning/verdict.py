"""The answer of a race in words: who wins, by how much, how sure that is, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from pydantic import Field

from benchmark.formatting import counted, significant
from benchmark.records import frozen
from benchmark.tuning.race import Race

_NOTABLE: Final = 1.05
"""Gain over the baseline that a sentence names."""
_FASTER: Final[Mapping[str, str]] = {
    "latency": "times faster than",
    "throughput": "times the throughput of",
    "usd": "times cheaper than",
}


@frozen
class Verdict:
    """How a race ended, for people and programs."""

    sentence: str
    winners: tuple[int, ...]
    """The leader, or the front of two objectives; empty where no candidate is left."""
    decided: bool
    """Whether it is as sure as was asked."""
    within: float | None
    """The winners are surely within this share of the best that was looked at; null: nothing is sure."""
    gain: float | None
    """Times that the winner is better than the baseline."""
    seconds_more: float | None
    """Estimated seconds that would decide it; 0 where it is decided, null where that isn't known."""


@frozen
class Setting:
    """What a sentence needs beside the race."""

    labels: Sequence[str]
    """Of the candidates."""
    objectives: Sequence[str]
    baseline: int | None
    """Candidate that the winner is compared with."""
    used_s: float
    budget_s: float | None
    doubts: Mapping[int, str] = Field(default_factory=dict)
    """What isn't sure of a candidate, beside its speed."""


def verdict(race: Race, setting: Setting) -> Verdict:
    """The answer, by the looks so far."""
    now = race.standing
    if not now.front:
        return Verdict(
            sentence=_no_winner(race), winners=(), decided=False, within=None, gain=None, seconds_more=None
        )
    more_s = 0.0 if now.decided else seconds_more(race)
    gain = _gain(race, setting.baseline)
    return Verdict(
        sentence=f"{_answer(race, setting, gain, more_s)}, {_used(setting)}{_doubts(now.front, setting)}",
        winners=now.front,
        decided=now.decided,
        within=now.within if math.isfinite(now.within) else None,
        gain=gain,
        seconds_more=more_s if math.isfinite(more_s) else None,
    )


def figure(race: Race, index: int, objectives: Sequence[str]) -> str:
    """Values of a candidate, in its units: geometric means of its looks."""
    means = np.exp(np.mean(np.log(race.looks_of(index)), axis=1))
    return ", ".join(_in_units(name, float(mean)) for name, mean in zip(objectives, means, strict=True))


def seconds_more(race: Race) -> float:
    """Estimated seconds until the rivals are known to the tolerance; infinite where that isn't known.

    The half width of a bound shrinks as the root of the number of looks.
    """
    now = race.standing
    leader = now.front[0]
    most = 0.0
    for index in now.rivals:
        found = race.against(leader)
        lengths = []
        for one in found:
            room = race.question.margin + float(one.mean[index])
            n, half = int(one.rounds[index]), float(one.half[index])
            lengths.append(n * (half / room) ** 2 - n if room > 0 and math.isfinite(half) else math.inf)
        most = max(most, min(lengths))
    looking = [race.pace.look_s(index) for index in (*now.front, *now.rivals)]
    return most * sum(looking)


def _answer(race: Race, setting: Setting, gain: float | None, more_s: float) -> str:
    now = race.standing
    several = len(now.front) > 1
    names = [f"{setting.labels[index]}: {figure(race, index, setting.objectives)}" for index in now.front]
    lead = f"{counted(len(names), 'candidate')} on the front: {'; '.join(names)}" if several else names[0]
    if gain is not None and setting.baseline is not None and gain >= _NOTABLE:
        lead += (
            f", {significant(gain, 2)} {_FASTER[setting.objectives[0]]} {setting.labels[setting.baseline]}"
        )
    looked = len(race.candidates) - len(now.waiting) - len(race.unproposed)
    those = f"{looked}" if looked == len(race.candidates) else f"the {looked} that were looked at"
    sure = _percent(race.question.confidence)
    within = "nothing is sure yet"
    if now.within == 0:
        within = f"surely the best of {those} ({sure})"
    elif math.isfinite(now.within):
        within = f"surely within {_percent(now.within)} of the best of {those} ({sure})"
    if now.waiting:
        best_of = counted(len(now.waiting), "candidate")
        within += f"; {best_of} of {len(race.candidates)} had no look, for there was no time to compile them"
    if race.unproposed:
        within += (
            f"; the sampler proposed {len(race.candidates) - len(race.unproposed)} of {len(race.candidates)}"
        )
    if now.decided:
        return f"{lead}; {within}"
    if now.rivals:
        rivals = [setting.labels[index] for index in now.rivals]
        shown = ", ".join(rivals[:2]) + (f" and {len(rivals) - 2} more" if len(rivals) > 2 else "")  # noqa: PLR2004
        more = (
            f": about {_minutes(more_s)} more would show {_percent(race.question.tolerance)}"
            if math.isfinite(more_s)
            else ""
        )
        return (
            f"not decided between {setting.labels[now.front[0]]} and {shown}{more}. Leader: {lead}; {within}"
        )
    return f"not sure that it keeps p95 <= {race.question.p95_ms:g} ms: {lead}; {within}"


def _doubts(front: Sequence[int], setting: Setting) -> str:
    several = len(front) > 1
    return "".join(
        f"; {setting.labels[index] + ': ' if several else ''}{setting.doubts[index]}"
        for index in front
        if index in setting.doubts
    )


def _no_winner(race: Race) -> str:
    reasons: dict[str, int] = {}
    for one in race.dropped.values():
        kind = "outside the limit" if one.why == "outside" else one.reason
        reasons[kind] = reasons.get(kind, 0) + 1
    if not reasons:
        return "no candidate was looked at: the time was too short"
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
    nearest = [one.reason for one in race.dropped.values() if one.why == "outside"]
    detail = f" (for instance: {nearest[0]})" if nearest else ""
    waiting = race.standing.waiting
    rest = f"; {counted(len(waiting), 'candidate')} had no look" if waiting else ""
    what = "keeps the limits" if nearest else "could be measured"
    return f"no candidate {what}: {listed}{detail}{rest}"


def _gain(race: Race, baseline: int | None) -> float | None:
    winner = race.standing.front[0]
    if baseline is None or baseline == winner or not race.looks_of(baseline).size:
        return None
    (one, *_) = race.against(winner)
    if one.rounds[baseline]:
        return math.exp(float(one.mean[baseline]))
    means = [float(np.mean(np.log(race.looks_of(index)[0]))) for index in (baseline, winner)]
    return math.exp(means[0] - means[1])


def _in_units(objective: str, value: float) -> str:
    if objective == "latency":
        return f"{significant(value)} ms"
    return f"{significant(1 / value)} per s" if objective == "throughput" else f"${significant(value)} per 1M"


def _percent(share: float) -> str:
    """A share rounded up to a tenth of a percent, so that it claims nothing too much."""
    return f"{math.ceil(share * 1000 - 1e-9) / 10:g} %"


def _minutes(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{max(1, math.ceil(seconds))} s"
    return counted(math.ceil(seconds / 60), "minute")


def _used(setting: Setting) -> str:
    if setting.budget_s is None:
        return f"{_minutes(setting.used_s)} used"
    used, budget = (significant(seconds / 60, 2) for seconds in (setting.used_s, setting.budget_s))
    return f"{used} of {budget} minutes used"
