"""Compose the cells of a grid as Hydra does: the one place where overrides become experiments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from hydra.core.utils import filter_overrides
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from benchmark import config
from benchmark.config import Experiment

CONF = str(Path(__file__).resolve().parents[2] / "conf")


def cells(loader: ConfigLoader, master: DictConfig, jobs: Iterable[Sequence[str]]) -> list[Experiment]:
    """Compose and type every job of a sweep.

    Raises:
        ConfigError, HydraException: the first job that can't be composed.
    """
    state = Singleton.get_state()
    experiments = []
    for number, overrides in enumerate(jobs):
        composed = loader.load_sweep_config(master, list(overrides))
        with open_dict(composed):
            composed.hydra.job.id, composed.hydra.job.num = str(number), number
            composed.hydra.runtime.output_dir = str(Path(master.hydra.sweep.dir).resolve())
        HydraConfig.instance().set_config(composed)  # for ${hydra:...} in a user's own YAML
        experiments.append(config.load(composed, filter_overrides(overrides)))
    Singleton.set_state(state)
    return experiments


def grid(arguments: Sequence[str]) -> list[Experiment]:
    """Compose what a run with these overrides would run, without Hydra's output folder."""
    given = [argument for argument in arguments if argument not in {"-m", "--multirun"}]
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONF, version_base="1.3", job_name="benchmark"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", given, run_mode=RunMode.MULTIRUN)
        params = dict(master.hydra.sweeper.params or {})
        swept = [f"{key}={value}" for key, value in params.items()]
        task = list(master.hydra.overrides.task)
        parsed = OverridesParser.create(config_loader=loader).parse_overrides([*swept, *task])
        (jobs,) = BasicSweeper.split_arguments(parsed, None)
        return cells(loader, master, jobs)


def options(group: str) -> list[str]:
    """Names of the YAMLs of a config group."""
    return sorted(path.stem for path in (Path(CONF) / group).glob("*.yaml"))
