"""Regression detector: which series did a new build make slower? It needs few runs beyond the nightly ones.

Stage 1 needs no further runs. It removes the night's common effect (a slow machine) and compares a series'
nights with its history: tonight alone and the means of the last two and three nights, each as the likelihood
ratio of "slower since then" over "as before". Stage 2 spends a limited number of fresh runs of both builds,
in rounds, where a slow-down is most probable so far: a suspicion by chance costs a round or two, one that
lasts gets a t test on log ratios. Figures: `tests/benchmarks/nightly_targets.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.records import frozen
from benchmark.stats.regression_evidence import (
    NIGHTS,
    Recent,
    compare,
    gains,
    levels,
    middle,
    noise,
    odds,
    trimmed,
)

Rerun = Callable[[str, int], tuple[Sequence[float], Sequence[float]]]
"""(series, rounds) -> p50s in ms of the accepted and of the new build; pair i ran in the same round."""

CHECKS = (1, 1, 1, 2, 3, 5, 8)
"""Rounds between a suspect's successive checks: 1, 2, 3, 5, 8, 13 and 21 in all."""
TESTED_PAIRS = 8
"""Pairs from which a check tests: with fewer, t hardly reaches the p that many suspects require."""
TESTS = 3
"""Checks that test. Their p is multiplied by it: that far out in the tail they are nearly independent."""
LEAST_ODDS = -1.0
"""Log likelihood ratio below which a series gets no round."""
LEAST_ODDS_AGAIN = 3.0
"""The same for a series with a recent alarm: reruns would show the old slow-down again."""
LEAST_SERIES = 8
"""Least number of series that show the common effect: among fewer, one slow series looks like it."""
PAIR_SD = 0.028
"""Standard deviation of a pair's log ratio until there are reruns: two processes of 2 % each."""
COMMON = None
"""The common effect's key among the series; it is judged as they are."""


@frozen
class Finding:
    """Evidence for or against an alarm of one suspect."""

    series: str
    night_ratio: float
    """Tonight over the level before, without the night's common effect; with it where `common`."""
    p_nights: float
    """Stage 1: least one-sided p of tonight and of the last nights' means, not corrected for the choice."""
    rounds: int
    """Requested of `rerun`: each is a run of the accepted and one of the new build."""
    ratio: float
    """Stage 2: new build over accepted build; NaN if no round gave a pair."""
    low: float
    high: float
    """Ends of its 95 % interval; 0 and infinity with fewer than two pairs."""
    p: float
    """One-sided p of the t test, corrected for repeated checks; 1 if it got no test."""
    common: bool
    """Whether it is a sentinel, suspected because all series together are slower."""
    confirmed: bool


@dataclass
class _Suspect:
    """A series in stage 2."""

    series: str
    night_ratio: float
    p_nights: float
    common: bool
    evidence: np.ndarray
    """Log likelihood ratios of stage 1, (onsets, effects)."""
    odds: float
    """Of all evidence, stage 2 included."""
    pairs: list[float] = field(default_factory=list)
    """Log ratios, one a round."""
    rounds: int = 0
    checks: int = 0
    p: float = 1.0

    def check(self, rounds: int, rerun: Rerun, pair_sd: float) -> None:
        """Run more rounds, and update its odds and p."""
        from scipy.special import stdtr

        self.pairs += _log_ratios(self.series, *rerun(self.series, rounds))
        self.rounds += rounds
        self.checks += 1
        self.odds = float(odds(self.evidence + gains(np.array(self.pairs), pair_sd).sum(axis=0)))
        if len(self.pairs) >= TESTED_PAIRS:
            mean, error, freedom = trimmed(self.pairs)
            self.p = min(self.p, TESTS * float(stdtr(freedom, -mean / error)))

    def finding(self, *, confirmed: bool) -> Finding:
        """The evidence about it as a record."""
        from scipy.special import stdtrit

        mean, error, freedom = trimmed(self.pairs)
        half = error * float(stdtrit(freedom, 0.975)) if freedom else np.inf
        return Finding(
            series=self.series,
            night_ratio=self.night_ratio,
            p_nights=self.p_nights,
            rounds=self.rounds,
            ratio=float(np.exp(mean)),
            low=float(np.exp(mean - half)) if freedom else 0.0,
            high=float(np.exp(mean + half)) if freedom else np.inf,
            p=self.p,
            common=self.common,
            confirmed=confirmed,
        )


class NightlyDetector:
    """Raises an alarm for series that are slower, confirmed by fresh runs; it needs every night in order.

    Args:
        window: Nights of history that a night is compared with, and for which an alarm is not repeated
            unless the nights alone show that its series has become slower still.
        least_nights: Nights of history, older than the last NIGHTS, without which a series isn't judged.
        alpha: False discovery rate of a night's alarms (Benjamini-Hochberg over the suspects rerun).
        threshold: Least slow-down worth an alarm, as a share.
        extra: Extra runs allowed as a share of the nightly ones, over all nights and within each; a night
            with too few for one suspect may use those that earlier nights saved.
        sentinels: Least noisy series that are rerun when all series together look slower.
    """

    def __init__(  # noqa: PLR0913 - knobs, each with its default
        self,
        *,
        window: int = 30,
        least_nights: int = 4,
        alpha: float = 0.01,
        threshold: float = 0.015,
        extra: float = 0.30,
        sentinels: int = 3,
    ) -> None:
        self.least_nights = least_nights
        self.alpha = alpha
        self.threshold = threshold
        self.extra = extra
        self.sentinels = sentinels
        self.findings: tuple[Finding, ...] = ()
        """Of the last night judged: its suspects that were rerun."""
        self._window = window
        self._nights: deque[dict[str | None, float]] = deque(maxlen=window + NIGHTS)
        self._unconfirmed: deque[dict[str | None, tuple[float, int]]] = deque(maxlen=NIGHTS - 1)
        """Log ratio and rounds of the series that earlier nights reran without an alarm."""
        self._alarmed: dict[str | None, int] = {}
        """The last night on which a series has a recent alarm; `COMMON` stands for all."""
        self._pair_sd = PAIR_SD
        self._saved_runs = 0.0
        self._last: int | None = None

    def learn(self, t: int, data: Mapping[str, Sequence[float]], found: Iterable[Finding] = ()) -> None:
        """Add a past night to the history without judging it.

        Args:
            t: The night's number, greater than the last.
            data: Per-process p50s in ms of each series.
            found: That night's findings: series with an alarm start anew at their new level, those that it
                reran without one are less suspect, and its runs are accounted for.

        Raises:
            BenchmarkError: The night isn't later than the last.
        """
        self._settle(tuple(found), self._take(t, data), t)

    def night(self, t: int, data: Mapping[str, Sequence[float]], rerun: Rerun) -> list[str]:
        """Judge a night; return the series in alarm. `findings` holds the evidence.

        Args:
            t: The night's number, greater than the last.
            data: Per-process p50s in ms of each series; one without a finite p50 is missing tonight.
            rerun: Runs fresh processes of both builds; a process that failed has a NaN.

        Raises:
            BenchmarkError: The night isn't later than the last, or `rerun`'s two lists are no pairs.
        """
        recent = self._take(t, data)
        suspects = self._suspects(recent, t)
        share = self.extra * sum(map(len, data.values()))
        self._spend(suspects, int(min(self._saved_runs, max(share, 2 * sum(CHECKS)))) // 2, rerun)
        self.findings = self._verdicts([suspect for suspect in suspects if suspect.rounds])
        self._settle(self.findings, recent, t)
        return [finding.series for finding in self.findings if finding.confirmed]

    def _take(self, t: int, data: Mapping[str, Sequence[float]]) -> Recent:
        """Store the night's values and their median shift, the common effect; compare with the history."""
        if self._last is not None and t <= self._last:
            raise BenchmarkError(f"night {t} came after night {self._last}: pass each night once, in order")
        self._last = t
        self._saved_runs += self.extra * sum(map(len, data.values()))
        values = {series: middle(p50s) for series, p50s in data.items()}
        tonight = {series: value for series, value in values.items() if np.isfinite(value)}
        count, level, _ = levels(self._table(list(tonight)))
        shifts = (np.array(list(tonight.values())) - level)[count > 0]
        common = float(np.median(shifts)) if len(shifts) >= LEAST_SERIES else 0.0
        self._nights.append({series: value - common for series, value in tonight.items()} | {COMMON: common})
        return compare(self._table([*tonight, COMMON]), self.least_nights)

    def _table(self, series: Sequence[str | None]) -> np.ndarray:
        """(nights, series), the latest night last, NaN where missing."""
        table = np.full((self._window + NIGHTS, len(series)), np.nan)
        for row, night in enumerate(reversed(self._nights), start=1):
            table[-row] = [night.get(name, np.nan) for name in series]
        return table

    def _suspects(self, recent: Recent, t: int) -> list[_Suspect]:
        """Stage 1: every series that may be slower, and the sentinels if the common effect may be."""
        series = list(self._nights[-1])
        evidence = gains(recent.shift, recent.error)
        for back, reran in enumerate(reversed(self._unconfirmed), start=1):
            for place, name in enumerate(series):
                if name in reran:
                    log_ratio, rounds = reran[name]
                    evidence[back:, place] += gains(log_ratio, self._pair_sd / rounds**0.5)
        likely = np.where(recent.judged, odds(evidence.swapaxes(0, 1)), -np.inf)
        quiet = np.argsort(np.where(recent.judged, recent.sd, np.inf)[:-1], kind="stable")[: self.sentinels]
        suspects = []
        for place, name in enumerate(series[:-1]):
            common = place in quiet and bool(recent.judged[place] and likely[-1] > likely[place])
            of = -1 if common else place
            again = t <= max(self._alarmed.get(name, t - 1), self._alarmed.get(COMMON, t - 1))
            if name is not None and likely[of] > (LEAST_ODDS_AGAIN if again else LEAST_ODDS):
                ratio = float(np.exp(recent.shift[0, place] + common * recent.shift[0, -1]))
                p = float(recent.p[:, of].min())
                suspects.append(_Suspect(name, ratio, p, common, evidence[:, of], float(likely[of])))
        return suspects

    def _spend(self, suspects: Sequence[_Suspect], rounds: int, rerun: Rerun) -> None:
        """Stage 2: rounds go to the most probable slow-down, until none is probable or they are spent."""
        sure = self.alpha / max(min(len(suspects), rounds), 1)
        waiting = list(suspects)
        while rounds and waiting:
            suspect = max(waiting, key=lambda one: one.odds)
            if suspect.odds < LEAST_ODDS:
                break
            more = min(CHECKS[suspect.checks], rounds)
            suspect.check(more, rerun, self._pair_sd)
            rounds -= more
            if not suspect.pairs or suspect.checks == len(CHECKS) or suspect.p <= sure:
                waiting.remove(suspect)
        self._pair_sd = noise(self._pair_sd, [suspect.pairs for suspect in suspects])

    def _verdicts(self, rerun: Sequence[_Suspect]) -> tuple[Finding, ...]:
        """Benjamini-Hochberg over all series that were rerun; then the least slow-down."""
        if not rerun:
            return ()
        from scipy.stats import false_discovery_control

        rates = false_discovery_control([suspect.p for suspect in rerun])
        slower = [np.expm1(trimmed(suspect.pairs)[0]) >= self.threshold for suspect in rerun]
        return tuple(
            suspect.finding(confirmed=bool(enough and rate <= self.alpha))
            for suspect, enough, rate in zip(rerun, slower, rates, strict=True)
        )

    def _settle(self, found: tuple[Finding, ...], recent: Recent, t: int) -> None:
        """Account for the runs, start changed series anew, store the reruns of the others."""
        self._saved_runs -= 2 * sum(finding.rounds for finding in found)
        about: dict[str | None, list[Finding]] = {finding.series: [finding] for finding in found}
        about[COMMON] = [finding for finding in found if finding.common]
        slower = {
            name
            for name, findings in about.items()
            if 2 * sum(one.confirmed for one in findings) > len(findings)
        }
        if COMMON in slower:
            slower -= {finding.series for finding in about[COMMON]}
        refuted = {
            name: [one for one in findings if np.isfinite(one.ratio) and not one.confirmed]
            for name, findings in about.items()
            if name not in slower
        }
        self._unconfirmed.append({name: _pooled(findings) for name, findings in refuted.items() if findings})
        for name in slower:
            self._restart(name, keep=1)
            self._alarmed[name] = t + self._window
        for place, name in enumerate(list(self._nights[-1])):
            excluded = max((one.high for one in refuted.get(name, ())), default=np.inf)
            if name not in slower and (recent.below[place] or np.log(excluded) < recent.above[place]):
                self._restart(name, keep=NIGHTS)
                self._alarmed.pop(name, None)

    def _restart(self, series: str | None, keep: int) -> None:
        """Drop a series' nights but the latest: its level has changed."""
        for night in list(self._nights)[:-keep]:
            night.pop(series, None)


def _log_ratios(series: str, accepted: Sequence[float], new: Sequence[float]) -> list[float]:
    if len(accepted) != len(new):
        raise BenchmarkError(
            f"rerun of {series} gave {len(accepted)} p50s of the accepted and {len(new)} of the new build: "
            "give one of each per round, NaN where a process failed"
        )
    pairs = [(a, b) for a, b in zip(accepted, new, strict=True) if 0 < a < np.inf and 0 < b < np.inf]
    return [float(np.log(b / a)) for a, b in pairs]


def _pooled(findings: Sequence[Finding]) -> tuple[float, int]:
    """Mean log ratio and rounds of findings on one question."""
    return float(np.mean(np.log([one.ratio for one in findings]))), sum(one.rounds for one in findings)
