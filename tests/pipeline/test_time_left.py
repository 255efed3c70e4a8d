"""The time that is left is corrected by what the cells of the command take; no event is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark.pipeline.estimate import Estimate, Forecast, Making
from benchmark.pipeline.time_left import TimeLeft
from benchmark.records import Row
from benchmark.stages.plan import plan


@pytest.fixture
def laid(simulated):
    """So many cells in so many processes each."""

    def planned(cells=4, repeats=1):
        sampled = [simulated(f"batch={n}") for n in range(1, cells + 1)]
        return plan(
            [replace(e, sampling=replace(e.sampling, repeats=repeats)) for e in sampled], lambda _: {}
        )

    return planned


def left(laid, *, seconds=10.0, processes=99.0, making=(), workers=1):
    runs = {run.run_id: Estimate(seconds - 1.0, 1.0) for run in laid.queue}
    shares = {run.run_id: min(1.0, max(0.0, processes - run.repeat)) for run in laid.queue}
    made = {run.run_id: Making(each, guessed=False) for run, each in zip(laid.queue, making, strict=False)}
    sums = {"compile_s": sum(making), "measure_s": sum(shares.values()) * seconds, "usd": None}
    ahead = Forecast(runs=runs, shares=shares, making=made, unpriced=0, at_least=False, **sums)
    return TimeLeft(laid, ahead, workers)


def row(run, work_s=9.0, start_s=1.0, **values):
    stages = {"measure": work_s + start_s, "measure.start": start_s, "wait": 50.0, "peak": 5.0}
    return Row(values={"run_id": run.run_id, "samples": 20, "stage_seconds": [*stages.items()], **values})


def test_cells_that_take_what_was_expected_change_nothing(laid):
    planned = laid()
    rest = left(planned)
    for number, run in enumerate(planned.queue):
        assert rest.seconds == pytest.approx(40 - 10 * number)
        rest.begun(run.run_id)
        rest.finished(row(run), 0.0)
    assert rest.seconds == 0


def test_cells_that_take_twice_as_long_let_the_others_do_so(laid):
    planned = laid(100)
    rest = left(planned)
    for run in planned.queue[:50]:
        rest.finished(row(run, 18.0), 0.0)
    assert rest.seconds == pytest.approx(50 * 20, rel=0.05)


def test_the_start_of_the_first_process_and_the_peak_are_no_evidence(laid):
    planned = laid()
    rest = left(planned)
    rest.finished(row(planned.queue[0], start_s=60.0), 0.0)
    assert rest.seconds == pytest.approx(30)


def test_a_cell_that_failed_takes_no_more_time_and_says_nothing_of_the_others(laid):
    planned = laid()
    rest = left(planned)
    rest.finished(row(planned.queue[0], 0.001, samples=None), 0.0)
    rest.dropped(planned.queue[1].run_id)
    rest.dropped(planned.queue[1].run_id)
    assert rest.seconds == pytest.approx(20)


def test_waiting_for_another_command_goes_on_if_it_is_usual(laid):
    once, always = left(planned := laid()), left(planned)
    for number, run in enumerate(planned.queue[:3]):
        once.finished(row(run), 200.0 * (number == 0))
        always.finished(row(run), 5.0)
    assert once.seconds == pytest.approx(10)
    assert always.seconds == pytest.approx(15)


def test_compilations_count_until_the_first_process_is_measured(laid):
    planned = laid()
    rest = left(planned, making=(8.0, 8.0, 8.0), workers=2)
    assert rest.seconds == pytest.approx(40 + 12)
    rest.made(planned.queue[0].run_id, 24.0)
    assert rest.seconds == pytest.approx(40 + 8 * 2), "twice the estimate by now"
    rest.dropped(planned.queue[1].run_id)
    assert rest.seconds == pytest.approx(30 + 8 * 2)
    rest.begun(planned.queue[0].run_id)
    assert rest.seconds == pytest.approx(30)


def test_processes_that_a_cell_may_not_need_count_by_their_share(laid):
    planned = laid(1, 8)
    rest = left(planned, processes=3.5)
    assert rest.seconds == pytest.approx(35)
    for run in planned.queue[:3]:
        rest.begun(run.run_id)
        rest.finished(row(run), 0.0)
    assert rest.seconds == pytest.approx(5)
    rest.unneeded(planned.queue[3].run_id)
    assert rest.seconds == 0
    for run in planned.queue[3:]:
        rest.unneeded(run.run_id)


def test_a_cell_that_needs_more_processes_than_expected_may_need_still_more(laid):
    planned = laid(1, 8)
    rest, before = left(planned, processes=3.0), 0.0
    for run in planned.queue:
        rest.begun(run.run_id)
        if run.repeat >= 3:
            assert 9.9 < rest.seconds < 10.1 * (8 - run.repeat)
        before = rest.seconds
        rest.finished(row(run), 0.0)
        assert rest.seconds == pytest.approx(before - 10)
    assert rest.seconds == pytest.approx(0)
