"""What stops a grid between two cells: the user, hours, dollars."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from benchmark.config.experiment import Budget
from benchmark.errors import ConfigError
from benchmark.pipeline.budget import BudgetTracker, hourly, refuse_unpriced
from benchmark.stages.plan import plan

FREE = Budget(hours=None, usd=None, usd_per_hour=None)


@pytest.fixture
def planned(simulated):
    return lambda *overrides: plan([simulated(*overrides)], lambda _: {})


@pytest.fixture
def run(planned):
    return lambda *overrides: planned(*overrides).runs[0]


def test_nothing_stops_a_grid_without_a_budget(run):
    budget = BudgetTracker(FREE)
    budget.spend(1e9, run())
    assert budget.stop_reason() is None
    assert budget.usd is None


def test_the_user_stops_it():
    budget = BudgetTracker(FREE)
    budget.stop_requested = True
    assert budget.stop_reason() == "interrupted"


def test_hours_count_from_the_start():
    budget = BudgetTracker(replace(FREE, hours=1e-6))
    time.sleep(0.005)
    assert budget.stop_reason() == "budget"
    assert BudgetTracker(replace(FREE, hours=1.0)).stop_reason() is None


def test_dollars_are_seconds_at_the_price_of_the_machine(run):
    budget = BudgetTracker(replace(FREE, usd=0.75))
    inf2 = run("hardware.instance_type=inf2.xlarge")
    budget.spend(1800, inf2)
    assert budget.usd == pytest.approx(0.7582 / 2)
    assert budget.stop_reason() is None
    budget.spend(1800, inf2)
    assert budget.stop_reason() == "budget"


def test_a_configured_price_wins_over_the_price_book(run):
    assert hourly(run("hardware.instance_type=inf2.xlarge")) == 0.7582
    assert hourly(run("hardware.instance_type=inf2.xlarge", "budget.usd_per_hour=0.2")) == 0.2
    assert hourly(run("hardware.instance_type=unheard.of")) is None
    assert hourly(run()) is None


def test_a_budget_in_dollars_needs_a_price(planned):
    with pytest.raises(
        ConfigError, match=r"^budget\.usd=5: no price is known for hardware=simulated: set budget"
    ):
        refuse_unpriced(planned("budget.usd=5"))
    with pytest.raises(ConfigError, match=r"no price is known for own\.large: "):
        refuse_unpriced(planned("budget.usd=5", "hardware.instance_type=own.large"))
    refuse_unpriced(planned("budget.usd=5", "budget.usd_per_hour=1"))
    refuse_unpriced(planned())
