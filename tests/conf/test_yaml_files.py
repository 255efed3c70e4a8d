"""Every YAML of every group composes and becomes a typed experiment."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from benchmark.cli.compose import grid

CONF = Path(__file__).parents[2] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
CHOICES = sorted(
    f"{path.parent.relative_to(CONF).as_posix()}={path.stem}"
    for path in CONF.rglob("*.yaml")
    if path.parent.name not in {"conf", "experiment"}
)


def jobs(experiment):
    """Overrides of every cell that an experiment sweeps."""
    diff = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8"))
    swept = [f"{key}={values}" for key, values in diff["hydra"]["sweeper"]["params"].items()]
    return BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(swept), None)[0]


def test_the_defaults_compose(compose):
    assert compose().model.name


@pytest.mark.parametrize("choice", CHOICES)
def test_a_yaml_composes_and_is_typed(compose, choice):
    group, _, name = choice.partition("=")
    chosen = getattr(compose(choice), group, None)
    assert getattr(chosen, "name", name) == name


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_first_and_the_last_cell_of_an_experiment_compose(compose, name):
    swept = jobs(name)
    for overrides in (swept[0], swept[-1]):
        assert compose(f"experiment={name}", *overrides)


@pytest.mark.real
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_cell_of_an_experiment_composes(name):
    assert len(grid([f"experiment={name}"])) == len(jobs(name))
