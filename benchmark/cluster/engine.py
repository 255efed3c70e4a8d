"""A grid on the nodes of a Ray cluster."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from benchmark.cell import Environment, Plan
from benchmark.cluster.connection import connected
from benchmark.cluster.schedule import Schedule
from benchmark.cluster.survey import Survey
from benchmark.config.experiment import Experiment
from benchmark.execution.interpreters import Interpreters
from benchmark.pipeline.budget import Ending
from benchmark.pipeline.engine import Runner
from benchmark.pipeline.runner import Pipeline
from benchmark.pipeline.services import Services
from benchmark.records import Row

logger = logging.getLogger(__name__)

_LOOK_S: Final = 0.5


class Cluster:
    """Looks at the nodes for the plan, and runs the plan on them."""

    def __init__(self, ray: Any, experiments: Sequence[Experiment], probe: Path | None) -> None:
        """Look at the nodes; wait for hardware that none has, as long as `launcher.wait_s` says.

        Raises:
            ConfigError: nodes run another version of this program.
        """
        self._ray = ray
        self._hosts: dict[str, str] = {}
        self.interpreters = Interpreters(set(), {})  # children run on the nodes
        self._survey = Survey(ray, experiments, probe)
        self._wait(experiments[0].launcher.wait_s)

    @property
    def timed_at_once(self) -> int:
        """One on each node that times."""
        return max(1, len(self._survey.timing))

    def look(self, experiment: Experiment) -> tuple[Environment, str | None]:
        """The environment on the nodes that have the hardware, and what they lack."""
        return self._survey.look(experiment)

    def runner(self, services: Services) -> Runner:
        """Gives refused runs their rows here, and the others where they are timed."""
        return _OnNodes(self._ray, self._survey, services, self._hosts)

    def host_of(self, row: Row) -> str:
        """Name of the node that a row comes from; that of this host for cells that were refused."""
        return self._hosts.get(row.run_id, "")

    def _wait(self, seconds: float) -> None:
        until, said = time.monotonic() + seconds, False
        while (lacking := self._survey.not_offered()) and time.monotonic() < until:
            if not said:
                logger.warning("waiting up to %g s: %s", seconds, "; ".join(lacking))
                said = True
            time.sleep(_LOOK_S)
            self._survey.refresh()


class _OnNodes:
    """Runs plans on the nodes."""

    def __init__(self, ray: Any, survey: Survey, services: Services, hosts: dict[str, str]) -> None:
        """`hosts` takes the name of the node that each row comes from, by run_id."""
        self._ray, self._survey, self._services, self._hosts = ray, survey, services, hosts

    def run(self, plan: Plan, workers: int) -> Ending:  # noqa: ARG002 - each node has its own
        """Give every run its row."""
        ending = Pipeline(self._services).run(plan._replace(queue=plan.refused))
        if not plan.pending:
            return ending
        return Schedule(self._ray, self._survey, plan, self._services, self._hosts).run()


@contextmanager
def joined(experiments: Sequence[Experiment], *, reads_only: bool = False) -> Iterator[Cluster]:
    """The cluster of `launcher.address`, connected while the block runs; `reads_only` leaves the cache alone.

    Raises:
        LibraryMissing: Ray isn't installed here.
        ConfigError: no cluster, one that refuses this command, or nodes with another version.
    """
    first = experiments[0]
    with connected(first.launcher.address, first.environment) as ray, ExitStack() as stack:
        probe = None if reads_only else stack.enter_context(probe_in(first.cache_root))
        yield Cluster(ray, experiments, probe)


@contextmanager
def probe_in(cache_root: str) -> Iterator[Path | None]:
    """A file in the cache while the block runs: nodes that see it share the cache."""
    if "://" in cache_root:
        yield None
        return
    probe = Path(cache_root) / f".probe-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        with suppress(OSError):  # the command reports it when it prepares the cache
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
        yield probe
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
