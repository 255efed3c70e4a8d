"""The sweeper of this project: Hydra's product of axes, and beside it `pair`, `include` and `exclude`."""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.benchmark_launchers.grid_launcher import GridLauncher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmark.redaction import without_secrets


class GridSweeper(Sweeper):
    """Hands the whole grid to a `GridLauncher`, and lists of overrides to any other launcher."""

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        max_batch_size: int | None = None,
        **unknown: Any,  # noqa: ARG002 - refused with a message when the cells are made
    ) -> None:
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
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        snapshot = without_secrets(OmegaConf.to_yaml(self.config))
        (folder / "multirun.yaml").write_text(snapshot, encoding="utf-8")
        code = _launch(self.launcher, self, arguments)
        name = self.config.hydra.job.config_name
        self.hydra_context.callbacks.on_multirun_end(config=self.config, config_name=name)
        raise SystemExit(code)


@singledispatch
def _launch(launcher: Launcher, sweeper: GridSweeper, arguments: Sequence[str]) -> int:
    """Run the grid; return its exit code. A stock launcher gets the cells that are not excluded as jobs."""
    from benchmark.config.sweep import jobs
    from benchmark.errors import BenchmarkError, ConfigError

    loader = sweeper.hydra_context.config_loader
    cells = [list(job.overrides) for job in jobs(loader, sweeper.config, arguments) if job.excluded is None]
    step = sweeper.max_batch_size or len(cells)
    codes = []
    for start in range(0, len(cells), step):
        try:
            launched = launcher.launch(cells[start : start + step], initial_job_idx=start)
        except (BenchmarkError, HydraException, OmegaConfBaseException):
            raise
        except Exception as error:
            name = sweeper.config.hydra.runtime.choices["hydra/launcher"]
            message = f"hydra/launcher={name}: {type(error).__name__}: {error}"
            raise ConfigError(message) from error
        codes += [job.return_value for job in launched]  # raises what the job raised
    return max(codes)


@_launch.register
def _(launcher: GridLauncher, sweeper: GridSweeper, arguments: Sequence[str]) -> int:  # noqa: ARG001
    return launcher.launch_grid(arguments)
