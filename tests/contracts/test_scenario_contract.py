"""What every scenario promises, on a clock of its own: one suite over the files of conf/scenario."""

from __future__ import annotations

import pytest

from benchmark.protocols import Scenario
from benchmark.records import Arithmetic, Sampling, Session
from tests.plugins import group

SCENARIOS = group("scenario")
TIMED = [
    name
    for name, kind in SCENARIOS.items()
    if not (kind().labelled or kind().training is not None or kind().serving is not None)
]
"""Those that call a compiled model with the same inputs again and again."""
CALL_NS = 2_000_000


@pytest.fixture(params=TIMED)
def scenario(request):
    return SCENARIOS[request.param]()


def session():
    """A call that takes 2 ms of an invented clock."""
    now = 0

    def run():
        nonlocal now
        now += CALL_NS

    fp32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")
    return Session(run=run, arithmetic=fp32, clock=lambda: now)


def sampling(**wanted):
    usual = {
        "warmup_calls": 0,
        "warmup_s": 0.0,
        "min_calls": 1,
        "max_calls": 1000,
        "min_s": 0.0,
        "max_s": 60.0,
    }
    return Sampling(**{**usual, **wanted})


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_fits_its_seam(name):
    assert isinstance(SCENARIOS[name](), Scenario)


def test_every_sample_is_what_the_clock_said(scenario):
    timing = scenario.measure([session()], sampling(min_calls=25))
    assert set(timing.nanoseconds) == {CALL_NS}
    assert len(timing.nanoseconds) >= 25


def test_sampling_goes_on_for_its_seconds(scenario):
    timing = scenario.measure([session()], sampling(min_s=0.5))
    assert timing.wall_s >= 0.5
    assert len(timing.nanoseconds) == round(timing.wall_s / (CALL_NS / 1e9))


def test_no_sampling_passes_its_greatest_number_of_calls(scenario):
    assert len(scenario.measure([session()], sampling(min_calls=7, max_calls=7)).nanoseconds) == 7


def test_warm_up_calls_are_counted_and_not_timed(scenario):
    timing = scenario.measure([session()], sampling(warmup_calls=5, max_calls=10))
    assert timing.warmup_calls >= 5
    assert timing.warmup_s == pytest.approx(timing.warmup_calls * CALL_NS / 1e9)
    assert timing.wall_s == pytest.approx(len(timing.nanoseconds) * CALL_NS / 1e9)
