"""The nightly detector on small worlds: silent by chance, prompt on steps, sparing with runs, not blinded."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.stats.regression_detector import NightlyDetector
from benchmark.stats.regression_evidence import levels, middle, trimmed

NAMES = [f"s{place}" for place in range(40)]


class Nights:
    """Nights of 40 series; `slower` is the build's doing, which reruns see, `host` is not."""

    def __init__(self, seed=0, processes=5, night_sd=0.01, common_sd=0.01):
        self.random = np.random.default_rng(seed)
        self.processes, self.night_sd, self.common_sd = processes, night_sd, common_sd
        self.slower = dict.fromkeys(NAMES, 1.0)
        self.host = dict.fromkeys(NAMES, 1.0)
        self.asked = []

    def noise(self, sd, size=None):
        return np.exp(self.random.normal(0, sd, size))

    def data(self):
        common = self.noise(self.common_sd)
        return {
            name: list(
                10
                * common
                * self.slower[name]
                * self.host[name]
                * self.noise(self.night_sd)
                * self.noise(0.02, self.processes)
            )
            for name in NAMES
        }

    def rerun(self, series, rounds):
        self.asked.append((series, rounds))
        new = 10 * self.slower[series] * self.noise(0.02, rounds)
        return list(10 * self.noise(0.02, rounds)), list(new)

    def runs(self):
        return 2 * sum(rounds for _, rounds in self.asked)


def watch(detector, nights, ts):
    """What is alarmed, night after night."""
    return [series for t in ts for series in detector.night(t, nights.data(), nights.rerun)]


def constant(value=10.0, names=NAMES):
    return {name: [value] * 5 for name in names}


def never(series, rounds):
    raise AssertionError(f"{series} was rerun")


def same(series, rounds):
    return [10.0] * rounds, [10.0] * rounds


def test_without_history_nothing_is_suspected():
    detector, nights = NightlyDetector(), Nights()
    for t in range(6):
        nights.slower["s3"] *= 1.5
        assert detector.night(t, nights.data(), never) == []
        assert detector.findings == ()


def test_nights_without_any_noise_are_silent():
    detector = NightlyDetector()
    assert [detector.night(t, constant(), never) for t in range(12)] == [[]] * 12


def test_nights_without_data_are_survived():
    detector = NightlyDetector()
    assert [detector.night(t, {}, never) for t in range(8)] == [[]] * 8
    assert detector.night(8, {"s0": []}, never) == []


def test_a_step_is_alarmed_the_same_night_and_says_why():
    detector, nights = NightlyDetector(), Nights()
    assert watch(detector, nights, range(20)) == []
    nights.slower["s3"] = 1.2
    nights.asked.clear()
    assert watch(detector, nights, [20]) == ["s3"]
    (why,) = [finding for finding in detector.findings if finding.confirmed]
    assert why.series == "s3"
    assert not why.common
    assert why.low < 1.2 < why.high
    assert why.night_ratio == pytest.approx(1.2, abs=0.05)
    assert why.ratio == pytest.approx(1.2, abs=0.03)
    assert why.rounds == sum(rounds for series, rounds in nights.asked if series == "s3")
    assert max(why.p, why.p_nights) < 0.001


def test_an_alarm_is_not_repeated_while_the_build_stays_slow():
    detector, nights = NightlyDetector(), Nights()
    watch(detector, nights, range(20))
    nights.slower["s3"] = 1.2
    assert watch(detector, nights, [20]) == ["s3"]
    assert watch(detector, nights, range(21, 45)) == []


def test_an_alarmed_series_that_becomes_slower_still_is_alarmed_again():
    detector, nights = NightlyDetector(), Nights()
    watch(detector, nights, range(20))
    nights.slower["s3"] = 1.1
    watch(detector, nights, range(20, 32))
    nights.slower["s3"] = 1.3
    assert "s3" in watch(detector, nights, range(32, 35))


def test_forty_nights_of_noise_alarm_nothing():
    nights = Nights(seed=1, night_sd=0.03, common_sd=0.05)
    assert watch(NightlyDetector(), nights, range(40)) == []
    assert nights.asked


def test_an_improvement_is_no_alarm_and_hides_no_later_one():
    detector, nights = NightlyDetector(), Nights()
    watch(detector, nights, range(20))
    nights.host["s3"] = 0.8
    assert watch(detector, nights, range(20, 30)) == []
    nights.slower["s3"] = 1.1
    assert watch(detector, nights, [30]) == ["s3"]


def test_a_slow_host_is_refuted_and_costs_little_once_it_stays():
    detector, nights = NightlyDetector(), Nights(night_sd=0.003, common_sd=0)
    watch(detector, nights, range(20))
    nights.host["s3"] = 1.2
    assert watch(detector, nights, range(20, 30)) == []
    nights.asked.clear()
    assert watch(detector, nights, range(30, 40)) == []
    assert sum(rounds for series, rounds in nights.asked if series == "s3") <= 5
    nights.slower["s3"] = 1.1
    assert watch(detector, nights, [40]) == ["s3"]


def test_a_slow_down_that_reruns_missed_once_is_found_the_next_night():
    detector, nights = NightlyDetector(), Nights()
    watch(detector, nights, range(20))
    nights.slower["s3"] = 1.1
    assert detector.night(20, nights.data(), same) == []
    assert [finding.series for finding in detector.findings if finding.series == "s3"] == ["s3"]
    assert "s3" in watch(detector, nights, [21, 22])


def test_a_night_slow_for_all_series_is_no_alarm():
    detector, nights = NightlyDetector(), Nights()
    watch(detector, nights, range(20))
    nights.host = dict.fromkeys(NAMES, 1.3)
    assert watch(detector, nights, [20]) == []
    sentinels = [finding for finding in detector.findings if finding.common]
    assert len(sentinels) == 3
    assert all(finding.night_ratio > 1.2 for finding in sentinels)


def test_a_build_that_slows_all_series_is_seen_by_the_sentinels_and_said_once():
    detector, nights = NightlyDetector(), Nights(processes=10)
    watch(detector, nights, range(20))
    nights.slower = dict.fromkeys(NAMES, 1.1)
    alarms = watch(detector, nights, [20])
    sentinels = {finding.series for finding in detector.findings if finding.common and finding.confirmed}
    assert len(sentinels) >= 2
    assert sentinels <= set(alarms)
    assert watch(detector, nights, range(21, 40)) == []


@pytest.mark.parametrize("processes", [1, 3, 10])
def test_extra_runs_stay_within_their_share_in_each_night_and_over_all(processes):
    detector, nights = NightlyDetector(extra=0.25), Nights(processes=processes, night_sd=0.04)
    nightly, share = 40 * processes, []
    for t in range(30):
        if t == 20:
            nights.slower.update(dict.fromkeys(NAMES[:12], 1.1))
        before = nights.runs()
        detector.night(t, nights.data(), nights.rerun)
        share.append(nights.runs() - before)
        assert sum(share) <= 0.25 * nightly * (t + 1)
    # 42 runs see one suspect through: a night that is worth fewer may spend what earlier ones saved.
    assert 0 < max(share) <= max(0.25 * nightly, 42)


def test_a_series_is_judged_from_its_own_history_though_others_are_older():
    detector, nights = NightlyDetector(), Nights()
    nights.slower["s3"] = 1.3
    for t in range(20):
        data = nights.data()
        if t < 10:
            del data["s3"]
        assert detector.night(t, data, nights.rerun) == []
    nights.slower["s3"] = 1.6
    assert "s3" in watch(detector, nights, [20, 21, 22])


def test_a_missing_night_hides_no_slow_down():
    detector, nights = NightlyDetector(), Nights()
    watch(detector, nights, range(20))
    nights.slower["s3"] = 1.1
    data = nights.data()
    assert detector.night(20, {**data, "s3": [math.nan]}, nights.rerun) == []
    assert watch(detector, nights, [21]) == ["s3"]


def test_learned_nights_judge_as_watched_ones_do():
    nights = Nights()
    past = [nights.data() for _ in range(20)]
    detector = NightlyDetector()
    for t, data in enumerate(past):
        detector.learn(t, data)
    nights.slower["s3"] = 1.2
    data = nights.data()
    assert detector.night(20, data, nights.rerun) == ["s3"]
    anew = NightlyDetector()
    for t, before in enumerate([*past, data]):
        anew.learn(t, before, detector.findings if t == 20 else ())
    assert watch(anew, nights, range(21, 30)) == []


def test_a_rerun_whose_processes_fail_costs_one_round_and_confirms_nothing():
    detector, asked = NightlyDetector(), []
    for t in range(12):
        detector.learn(t, constant())

    def failing(series, rounds):
        asked.append((series, rounds))
        return [10.0] * rounds, [math.nan] * rounds

    assert detector.night(12, constant() | {"s3": [12.0] * 5}, failing) == []
    assert asked == [("s3", 1)]
    (why,) = detector.findings
    assert math.isnan(why.ratio)
    assert (why.low, why.high, why.p, why.confirmed) == (0, math.inf, 1, False)


def test_lists_that_are_no_pairs_are_refused():
    detector = NightlyDetector()
    for t in range(12):
        detector.learn(t, constant())

    def lost(series, rounds):
        return [10.0] * rounds, [10.0] * (rounds + 1)

    with pytest.raises(BenchmarkError, match="rerun of s3 gave 1 p50s of the accepted and 2 of the new"):
        detector.night(12, constant() | {"s3": [12.0] * 5}, lost)


def test_a_night_that_is_not_later_is_refused():
    detector = NightlyDetector()
    detector.learn(3, constant())
    with pytest.raises(BenchmarkError, match="night 3 came after night 3"):
        detector.night(3, constant(), never)


def test_a_nights_value_ignores_an_outlier_process():
    assert middle([10, 10, 10, 10, 99]) == pytest.approx(math.log(10))
    assert middle([10, 10, 99]) == pytest.approx(math.log(10))
    assert middle([10, 40]) == pytest.approx(math.log(20))
    assert math.isnan(middle([math.nan, -1.0]))


def test_a_level_draws_outlier_nights_in():
    count, level, sd = levels(
        np.array([[0.0, np.nan], [0.1, 5.0], [0.2, np.nan], [0.3, np.nan], [9.0, np.nan]])
    )
    # Median .2, MAD .1: 9 is drawn in to .2 + 3 * 1.4826 * .1.
    assert list(count) == [5, 1]
    assert level == pytest.approx([(0.6 + 0.64478) / 5, 5.0])
    assert sd[1] == 0


def test_a_trimmed_mean_without_outliers_is_the_mean_and_with_them_ignores_them():
    assert trimmed([1.0, 2.0, 3.0]) == pytest.approx((2.0, 1 / 3**0.5, 2))
    mean, _, freedom = trimmed([1.0] * 9 + [2.0] * 9 + [99.0, -99.0])
    assert (mean, freedom) == (1.5, 15)
    assert trimmed([0.5]) == (0.5, math.inf, 0)
