"""When a grid stops between two cells: at the user's wish, or when its hours or dollars are used up."""

from __future__ import annotations

import time
from typing import Literal

from benchmark.cell import Plan, PlannedRun
from benchmark.cloud.prices import price
from benchmark.config.experiment import Budget
from benchmark.errors import ConfigError

Ending = Literal["done", "interrupted", "budget"]
"""How a grid ended: `done` when every run has its row."""


class BudgetTracker:
    """Counts the time and the money of one command."""

    def __init__(self, budget: Budget) -> None:
        self.limits = budget
        self.stop_requested = False
        """Set when the user wants to stop after the current cell."""
        self.usd: float | None = None
        """Dollars so far; None where no price is known."""
        self._since = time.monotonic()

    @property
    def hours(self) -> float:
        """Hours since the command began to run cells."""
        return (time.monotonic() - self._since) / 3600

    def spend(self, seconds: float, run: PlannedRun) -> None:
        """Count the seconds of a run, at the price of its machine."""
        if (usd_per_hour := hourly(run)) is not None:
            self.usd = (self.usd or 0) + usd_per_hour * seconds / 3600

    def stop_reason(self) -> Ending | None:
        """Why the next cell must not start, or None."""
        if self.stop_requested:
            return "interrupted"
        out_of_time = self.limits.hours is not None and self.hours >= self.limits.hours
        out_of_money = self.limits.usd is not None and (self.usd or 0) >= self.limits.usd
        return "budget" if out_of_time or out_of_money else None


def hourly(run: PlannedRun) -> float | None:
    """Dollars an hour of the run's machine: as configured, else its on-demand price."""
    if (configured := run.cell.experiment.budget.usd_per_hour) is not None:
        return configured
    instance_type = run.environment.facts.instance_type
    known = price(instance_type) if instance_type else None
    return known.usd_per_hour if known else None


def refuse_unpriced(plan: Plan) -> None:
    """Refuse a budget in dollars for machines that have no price.

    Raises:
        ConfigError: says what to set.
    """
    for run in plan.queue:
        if run.fate == "run" and run.cell.experiment.budget.usd is not None and hourly(run) is None:
            machine = run.environment.facts.instance_type or f"hardware={run.cell.experiment.hardware.name}"
            raise ConfigError(
                f"budget.usd={run.cell.experiment.budget.usd:g}: no price is known for {machine}: set "
                "budget.usd_per_hour=, or hardware.instance_type= to one of benchmark/cloud/prices.csv"
            )
