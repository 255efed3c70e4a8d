"""The sentence of a race: what it says when it is decided, when it isn't, and when nothing is left."""

from __future__ import annotations

from benchmark.tuning.candidates import Candidate, Look, Question
from benchmark.tuning.race import Race
from benchmark.tuning.verdict import Setting, verdict
from tests.tuning.test_race import race


def said(ended, *labels, budget_s=7200.0, used_s=840.0):
    setting = Setting(labels=labels, objectives=("latency",), baseline=0, used_s=used_s, budget_s=budget_s)
    return verdict(ended, setting)


def test_a_decided_race_names_the_winner_its_gain_how_sure_it_is_and_the_minutes():
    found = said(race([20.0, 5.0, 8.0], spread=0.001), "eager", "openvino", "onnxruntime")
    assert found.decided
    assert found.sentence.startswith(
        "openvino: 5.00 ms, 4.0 times faster than eager; surely the best of 3 (95 %)"
    )
    assert found.sentence.endswith(", 14 of 120 minutes used")


def test_an_undecided_race_says_between_whom_and_how_long_a_decision_takes():
    found = said(race([5.0, 5.0], Question(most_rounds=12), spread=0.05), "a", "b")
    assert not found.decided
    assert found.sentence.startswith("not decided between ")
    assert " more would show 2 %. Leader: " in found.sentence
    assert found.seconds_more
    assert found.within
    assert found.within > 0.02


def test_without_a_winner_it_counts_the_reasons():
    found = said(race([5.0, 9.0], Question(p95_ms=2.0), p95=[6.0, 9.5]), "a", "b")
    assert found.winners == ()
    assert found.sentence.startswith("no candidate keeps the limits: 2 x outside the limit")


def test_failures_are_not_taken_for_limits_that_were_missed():
    ended = Race([Candidate(name="a"), Candidate(name="b")], Question())
    ended.add(ended.next_round(), dict.fromkeys((0, 1), Look(values=(), refused="crashed")))
    assert said(ended, "a", "b").sentence == "no candidate could be measured: 2 x crashed"
