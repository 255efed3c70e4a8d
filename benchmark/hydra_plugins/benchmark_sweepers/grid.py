"""The sweeper of this project: Hydra's product, and beside it `pair`, `include` and `exclude`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class GridSweeper(Sweeper):
    """Hands the whole grid to a launcher that can plan it, and lists of overrides to any other."""

    def __init__(self, params: Mapping[str, Any] | None = None, max_batch_size: int | None = None) -> None:
        self.params = params  # read from the configuration, where the command line may have narrowed them
        self.max_batch_size = max_batch_size

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what expanding needs, and make the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: Sequence[str]) -> Any:
        """Run the grid and leave with its exit code, which Hydra's own returns would lose."""
        from benchmark.config.sweep import jobs

        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        if hasattr(self.launcher, "launch_grid"):
            raise SystemExit(self.launcher.launch_grid(arguments))
        loader = self.hydra_context.config_loader
        cells = [list(job.overrides) for job in jobs(loader, self.config, arguments) if job.excluded is None]
        step = self.max_batch_size or len(cells)
        returns = [
            job.return_value  # raises what the job raised
            for start in range(0, len(cells), step)
            for job in self.launcher.launch(cells[start : start + step], initial_job_idx=start)
        ]
        raise SystemExit(max(returns))
