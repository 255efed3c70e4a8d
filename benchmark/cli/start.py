"""Start a grid: the libraries of its children load while this process loads its own and plans."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.config.experiment import Experiment
from benchmark.config.grid import Excluded
from benchmark.errors import ConfigError
from benchmark.execution import leftovers
from benchmark.execution.preload import can_run, distinct, interpreters
from benchmark.execution.server_connection import end_early
from benchmark.paths import CampaignPaths

if TYPE_CHECKING:
    from benchmark.config.sweep import TypedGrid
    from benchmark.pipeline.engine import Engine


def start(
    experiments: Sequence[Experiment], excluded: tuple[Excluded, ...] = (), *, in_a_grid: bool = False
) -> int:
    """Run a grid; the libraries of its children load while this process loads its own and plans.

    `in_a_grid`: the cells are part of a larger grid, so one that can't work leaves its row.
    """
    set_environment(experiments)
    leftovers.clear()
    with interpreters(experiments) as children:
        if any(map(can_run, distinct(experiments))) and not _is_finished(experiments[0]):
            children.start()
        else:
            end_early()
        from benchmark.cli.run import MISTAKE, OK, refuse_hopeless, run_grid
        from benchmark.pipeline.engine import ThisHost

        if not in_a_grid:
            refuse_hopeless(experiments)
        code = run_grid(experiments, excluded, ThisHost(children))
        return OK if in_a_grid and code == MISTAKE else code


def start_on_cluster(experiments: Sequence[Experiment], excluded: tuple[Excluded, ...] = ()) -> int:
    """Run a grid on the nodes of a Ray cluster.

    Raises:
        LibraryMissing: Ray isn't installed here.
        ConfigError: no cluster, one that refuses this command, or nodes with another version.
    """
    end_early()
    set_environment(experiments)
    leftovers.clear()
    from benchmark.cli.run import refuse_hopeless, run_grid

    refuse_hopeless(experiments)
    with _nodes(experiments) as (shared, cluster):
        return run_grid(shared, excluded, cluster)


@contextmanager
def hosts(grid: TypedGrid, *, reads_only: bool = False) -> Iterator[tuple[list[Experiment], Engine]]:
    """The cells of a grid, and what runs them: this host, or the nodes of a cluster while the block runs.

    `reads_only`: nothing will run.

    Raises:
        LibraryMissing: Ray isn't installed here.
        ConfigError: no cluster, one that refuses this command, or nodes with another version.
    """
    if grid.on_cluster:
        with _nodes(grid.experiments, reads_only=reads_only) as nodes:
            yield nodes
        return
    from benchmark.pipeline.engine import ThisHost

    with interpreters(grid.experiments) as children:
        yield grid.experiments, ThisHost(children)


@contextmanager
def _nodes(
    experiments: Sequence[Experiment], *, reads_only: bool = False
) -> Iterator[tuple[list[Experiment], Engine]]:
    """Cells whose places the nodes of a cluster find, and the cluster."""
    from benchmark.cluster.engine import joined

    shared = [replace(e, cache_root=_absolute(e.cache_root)) for e in experiments]
    with joined(shared, reads_only=reads_only) as cluster:
        yield shared, cluster


def set_environment(experiments: Sequence[Experiment]) -> None:
    """Set the environment variables of `hydra.job.env_set` for this command and its children.

    Raises:
        ConfigError: cells need different ones.
    """
    names = {name: None for e in experiments for name in e.environment}
    for name in names:
        values = dict.fromkeys(e.environment.get(name) for e in experiments)
        if len(values) > 1:
            raise ConfigError(
                f"hydra.job.env_set.{name}: differs between cells ({', '.join(map(str, values))}), which "
                "share one environment: run one command for each"
            )
        os.environ[name] = str(*values)


def _is_finished(e: Experiment) -> bool:
    """Whether the last command of this campaign left nothing to run: then this one has no work either."""
    with suppress(OSError, ValueError, KeyError, IndexError):
        newest = CampaignPaths(folder=Path(e.output_folder)).all_progress[-1]
        state = json.loads(newest.read_bytes())
        return state["state"] == "done" and state["remaining"] == 0 and e.run in {"missing", "stale"}
    return False


def _absolute(place: str) -> str:
    """A folder as the nodes of a cluster find it; a URL as it is."""
    return place if "://" in place else str(Path(place).absolute())
