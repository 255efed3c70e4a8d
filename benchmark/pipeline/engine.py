"""Where a grid runs: on this host, or on the nodes of a cluster."""

from __future__ import annotations

from typing import Protocol

from benchmark.cell import Environment, Plan
from benchmark.config.experiment import Experiment
from benchmark.execution.interpreters import Interpreters
from benchmark.pipeline.budget import Ending
from benchmark.pipeline.runner import Pipeline
from benchmark.pipeline.services import Services
from benchmark.records import Row
from benchmark.stages.plan import look_here


class Runner(Protocol):
    """Runs plans; what it learned in one plan holds in the next."""

    def run(self, plan: Plan, workers: int) -> Ending:
        """Give every run of the queue its row, or stop when the user or the budget says so.

        Raises:
            KeyboardInterrupt: the runs under way have left `interrupted` rows.
        """


class Engine(Protocol):
    """Looks at hosts for the plan of a grid, and runs the plan on them."""

    interpreters: Interpreters
    """Starts the child processes on this host."""

    @property
    def timed_at_once(self) -> int:
        """Runs that are timed at the same time, each on a host of its own."""

    def host_of(self, row: Row) -> str:
        """Name of the host that a row comes from, for lines of progress; empty where there is only one."""

    def look(self, experiment: Experiment) -> tuple[Environment, str | None]:
        """The environment of an experiment, and what the hosts lack for it; None: nothing."""

    def runner(self, services: Services) -> Runner:
        """What runs the plans of a command."""


class ThisHost:
    """Runs one cell after the other here."""

    timed_at_once = 1

    def __init__(self, interpreters: Interpreters) -> None:
        self.interpreters = interpreters

    def host_of(self, row: Row) -> str:  # noqa: ARG002 - there is one
        """Not said: there is one."""
        return ""

    def look(self, experiment: Experiment) -> tuple[Environment, str | None]:
        """The environment here, and what is missing."""
        return look_here(experiment)

    def runner(self, services: Services) -> Runner:
        """Runs a queue cell by cell; compiles `workers` at a time before."""
        return Pipeline(services)
