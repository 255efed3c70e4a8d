"""The launcher of this project: sees the whole grid before its first cell runs."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class StagedLauncher(Launcher):
    """Composes and types every cell, then hands the grid to `benchmark.cli.run`."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """Keep what composing a cell needs."""
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:  # noqa: ARG002
        """Run the grid and leave with its exit code; Hydra's own returns would lose it."""
        from benchmark.cli.compose import cells
        from benchmark.cli.run import run_grid

        setup_globals()
        with open_dict(self.config):
            self.config.hydra.runtime.output_dir = self.config.hydra.sweep.dir
        configure_log(self.config.hydra.job_logging, self.config.hydra.verbose)
        experiments = cells(self.hydra_context.config_loader, self.config, job_overrides)
        raise SystemExit(run_grid(experiments))
