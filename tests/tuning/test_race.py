"""The race: who is dropped, when it is decided, and what it claims."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark.tuning.candidates import Candidate, Look, Question
from benchmark.tuning.race import Race
from tests.benchmarks.tune_landscapes import WORLDS, Landscape, raced, step_half_way


def race(milliseconds, question=None, spread=0.01, seed=0, p95=None, **fields):
    """Run a race over candidates with these latencies to its end."""
    rng = np.random.default_rng(seed)
    candidates = [Candidate(name=f"c{n}", **fields) for n in range(len(milliseconds))]
    running = Race(candidates, question or Question())
    while turn := running.next_round():
        looks = {}
        for index in turn.looks:
            value = milliseconds[index]
            values = value if isinstance(value, tuple) else (value,)
            noise = math.exp(rng.normal(0, spread))
            looks[index] = Look(
                values=tuple(one * noise for one in values), p95_ms=p95 and p95[index] * noise
            )
        running.add(turn, looks)
    return running


def test_the_fastest_wins_and_the_others_say_why_they_left():
    ended = race([10.0, 5.0, 8.0, 20.0])
    assert ended.standing.front == (1,)
    assert ended.standing.decided
    assert {*ended.dropped} == {0, 2, 3}
    assert ended.dropped[3].reason.endswith("% worse than c1")
    assert ended.looks_of(3).shape[1] < ended.looks_of(1).shape[1]


def test_equally_fast_ones_rest_instead_of_being_dropped():
    ended = race([5.0, 5.0, 5.0, 9.0])
    assert ended.standing.decided
    assert {*ended.dropped} == {3}
    assert len(ended.standing.resting) == 2
    assert ended.standing.within <= 0.02


def test_nothing_is_decided_before_the_noise_allows_it():
    ended = race([5.0, 5.0], Question(most_rounds=10), spread=0.2)
    assert not ended.standing.decided
    assert ended.standing.rivals
    assert ended.standing.within > 0.02


def test_a_candidate_surely_outside_the_limit_is_dropped_however_fast():
    ended = race([5.0, 7.0, 9.0], Question(p95_ms=8.0), p95=[12.0, 7.5, 9.5])
    assert ended.standing.front == (1,)
    assert ended.dropped[0].why == "outside"
    assert "the limit is 8 ms" in ended.dropped[0].reason


def test_limits_that_no_candidate_keeps_end_the_race_as_soon_as_that_is_sure():
    ended = race([5.0, 7.0, 9.0], Question(p95_ms=2.0), p95=[6.0, 7.5, 9.5])
    assert ended.standing.front == ()
    assert {one.why for one in ended.dropped.values()} == {"outside"}
    assert ended.rounds < 30


def test_a_failed_look_ends_its_candidate_and_no_other():
    running = Race([Candidate(name="a"), Candidate(name="b")], Question())
    running.add(running.next_round(), {0: Look(values=(), refused="oom_host"), 1: Look(values=(3.0,))})
    assert running.dropped[0].reason == "oom_host"
    assert running.standing.front == (1,)


def test_a_look_that_may_have_failed_by_chance_is_taken_once_more():
    chance, found = Look(values=(), refused="crashed at measure", perhaps=True), Look(values=(3.0,))
    running = Race([Candidate(name="a"), Candidate(name="b")], Question())
    running.add(running.next_round(), {0: chance, 1: found})
    assert running.dropped == {}
    turn = running.next_round()
    assert 0 in turn.looks
    running.add(turn, {0: Look(values=(1.0,)), 1: found})
    assert running.standing.front == (0,)
    running.add(running.next_round(), {0: chance, 1: found})
    assert running.dropped[0].reason == "crashed at measure"


def test_two_objectives_leave_a_front():
    ended = race([(1.0, 9.0), (9.0, 1.0), (3.0, 3.0), (5.0, 5.0), (9.5, 9.5)], Question(objectives=2))
    assert {*ended.standing.front} == {0, 1, 2}
    assert {*ended.dropped} == {3, 4}
    assert ended.standing.decided


def test_an_expensive_compilation_waits_for_the_cheap_ones():
    candidates = [Candidate(name=str(n), making=str(n), making_s=cost) for n, cost in enumerate([0, 1, 80])]
    running, started = Race(candidates, Question()), {}
    while turn := running.next_round():
        started |= dict.fromkeys(turn.starts, turn.number)
        running.add(turn, {index: Look(values=(2.0 + index,)) for index in turn.looks})
    assert started[0] == started[1] == 0
    assert started[2] > 1


def test_what_is_expected_to_win_is_compiled_before_what_is_not():
    logs = [0.0, 0.0, 2.0, -1.0, 1.0]
    candidates = [
        Candidate(name=str(n), making=str(n), making_s=80.0 * (n > 1), expected=log)
        for n, log in enumerate(logs)
    ]
    running, order = Race(candidates, Question()), []
    while turn := running.next_round():
        order += turn.starts
        running.add(turn, {index: Look(values=(math.exp(logs[index]),)) for index in turn.looks})
    assert order[2:] == [3, 4, 2]
    assert running.standing.front == (3,)


def test_no_compilation_starts_that_the_time_left_does_not_hold():
    candidates = [Candidate(name=str(n), making=str(n), making_s=100.0 * n) for n in range(3)]
    running = Race(candidates, Question())
    left = 60.0
    while turn := running.next_round(left):
        left -= len(turn.looks)
        running.add(turn, {index: Look(values=(2.0 + index,)) for index in turn.looks})
    assert running.standing.waiting == (1, 2)


def test_the_same_looks_give_the_same_race():
    first, second = (race([5.0, 5.1, 5.3, 9.0], seed=3) for _ in range(2))
    assert (first.rounds, first.dropped, first.standing) == (second.rounds, second.dropped, second.standing)


@pytest.mark.parametrize("world", WORLDS)
def test_in_simulated_landscapes_the_best_is_found_and_no_claim_is_wrong(world):
    for seed in range(5):
        land = Landscape(WORLDS[world], 12, seed)
        land.step_at = step_half_way(WORLDS[world], 12, seed)
        ended = raced(land, history=True)
        assert land.truth[ended.chosen] <= math.log(1.02)
        assert not ended.false_drop


def test_two_looks_at_few_candidates_show_nothing_yet():
    ended = race([435.0, 402.0, 380.0, 431.0], Question(most_rounds=2), spread=0.05)
    assert ended.standing.within == math.inf
