"""The launcher of this project: sees the whole grid before its first cell runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
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
        from benchmark import config
        from benchmark.cli.run import run_grid

        setup_globals()
        state = Singleton.get_state()
        experiments = []
        for number, overrides in enumerate(job_overrides):
            composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(composed):
                composed.hydra.job.id, composed.hydra.job.num = str(number), number
                composed.hydra.runtime.output_dir = str(Path(self.config.hydra.sweep.dir).resolve())
            HydraConfig.instance().set_config(composed)
            if number == 0:
                configure_log(composed.hydra.job_logging, composed.hydra.verbose)
            experiments.append(config.load(composed, filter_overrides(overrides)))
        Singleton.set_state(state)
        raise SystemExit(run_grid(experiments))
