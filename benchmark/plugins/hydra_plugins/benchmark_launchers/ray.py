"""The launcher for many hosts: plans the whole grid as `staged` does, and runs it on a Ray cluster."""

from collections.abc import Sequence
from typing import Any

from hydra_plugins.benchmark_launchers.staged import StagedLauncher


class RayLauncher(StagedLauncher):
    """Its options stand in the section `launcher`: address, wait_s, compile_workers."""

    def start(self, experiments: Sequence[Any], excluded: tuple[Any, ...] = ()) -> int:
        """Run these experiments on the nodes that have their hardware; return the exit code."""
        from benchmark.cli.start import start_on_cluster

        return start_on_cluster(experiments, excluded)
