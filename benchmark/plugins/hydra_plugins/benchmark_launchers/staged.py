"""The launcher of this project: it plans the whole grid before the first cell runs."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.benchmark_launchers.grid_launcher import GridLauncher
from omegaconf import DictConfig, open_dict


class StagedLauncher(GridLauncher):
    """Composes and types every cell, then starts the grid."""

    def __init__(self, **options: Any) -> None:
        """Take any options: `setup` refuses them all, with the launcher that has them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """Keep what composing a cell needs."""
        self.hydra_context = hydra_context
        self.config = config

    def launch_grid(self, arguments: Sequence[str]) -> int:
        """Run the grid of these overrides; return its exit code."""
        from benchmark.config.sweep import typed_grid

        self._configure()
        grid = typed_grid(self.hydra_context.config_loader, self.config, arguments)
        return self.start(grid.experiments, grid.excluded)

    def start(self, experiments: Sequence[Any], excluded: tuple[Any, ...] = ()) -> int:
        """Run these experiments on this host; return the exit code."""
        from benchmark.cli.start import start

        return start(experiments, excluded)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:  # noqa: ARG002
        """Run the cells that another sweeper has expanded; each job returns the exit code of the grid."""
        from benchmark.config.compose import Composer
        from benchmark.config.experiment import Gate
        from benchmark.config.folder import search_path
        from benchmark.config.hydra_settings import refuse_in_grid

        self._configure()
        refuse_in_grid(self.config)
        constant = frozenset.intersection(*map(frozenset, job_overrides))
        composer = Composer(self.hydra_context.config_loader, self.config, constant)
        gate = Gate(search_path(self.config.hydra))
        cells = [composer.compose(overrides, number) for number, overrides in enumerate(job_overrides)]
        code = self.start(
            [
                gate.experiment(cell.plain, filter_overrides(overrides), cell.environment)
                for cell, overrides in zip(cells, job_overrides, strict=True)
            ]
        )
        if code:
            raise SystemExit(code)  # another sweeper drops what a job returns
        return [
            JobReturn(overrides=filter_overrides(overrides), status=JobStatus.COMPLETED, _return_value=code)
            for overrides in job_overrides
        ]

    def _configure(self) -> None:
        setup_globals()
        with open_dict(self.config):
            self.config.hydra.runtime.output_dir = self.config.hydra.sweep.dir
        configure_log(self.config.hydra.job_logging, self.config.hydra.verbose)
