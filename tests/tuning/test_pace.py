"""Seconds of looks: measured ones count, and show how far the estimates of the others are off."""

from __future__ import annotations

import pytest

from benchmark.tuning.candidates import Candidate, Look, Question
from benchmark.tuning.pace import Pace
from benchmark.tuning.race import Race


def test_a_measured_look_scales_the_estimates_of_the_others():
    pace = Pace(
        [Candidate(name=name, look_s=seconds) for name, seconds in zip("abc", (1, 2, 4), strict=True)]
    )
    assert pace.look_s(2) == 4
    pace.took(0, 4.0)
    pace.took(0, 6.0)
    pace.took(1, 10.0)
    assert [pace.look_s(index) for index in range(3)] == [5.0, 10.0, pytest.approx(20.0)]


def test_no_round_starts_whose_measured_looks_do_not_fit_the_time_left():
    running = Race([Candidate(name=name) for name in "ab"], Question())
    running.add(running.next_round(100.0), {index: Look(values=(1.0,), seconds=30.0) for index in range(2)})
    assert running.next_round(59.0) is None
    assert running.next_round(61.0)
