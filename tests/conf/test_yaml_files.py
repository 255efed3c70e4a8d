"""Every YAML of every group composes and becomes a typed experiment."""

from __future__ import annotations

import math
import re

import pytest
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from benchmark.__main__ import VERBS
from benchmark.config.folder import CONF
from benchmark.config.sweep import compose_grid

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
OPTIONS = {
    folder.relative_to(CONF).as_posix(): sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in CONF.rglob("*")
    if folder.is_dir()
    and folder.name not in {"experiment", "hydra", "importer", "preset", "price", "published", "report"}
    and folder.parent.name != "options"
}
"""Names of the YAMLs of every group of a run; those of reports, of imports, of limits and of one compiler's
options are read elsewhere."""
FEW = 4
"""Models of an experiment whose cells are all composed here."""
COMPOSED = [
    [f"{group}={names[turn % len(names)]}" for group, names in OPTIONS.items()]
    for turn in range(max(map(len, OPTIONS.values())))
]
"""As few choices as hold each YAML once: composing takes its time."""


def read(experiment):
    return yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8"))


def params(experiment):
    """Axes of an experiment; none where it has single cells only."""
    return read(experiment)["hydra"].get("sweeper", {}).get("params", {})


def jobs(experiment):
    """Overrides of every cell that an experiment sweeps."""
    swept = [f"{key}={values}" for key, values in params(experiment).items()]
    return BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(swept), None)[0]


def test_the_defaults_compose(compose):
    assert compose().model.name


@pytest.mark.parametrize("choices", COMPOSED, ids=" ".join)
def test_every_yaml_composes_and_is_typed(compose, choices):
    experiment = compose(*choices)
    choices = [
        choice for choice in choices if not choice.startswith("task=")
    ]  # named as Hugging Face spells it
    for group, _, name in (choice.partition("=") for choice in choices):
        assert getattr(getattr(experiment, group, None), "name", name) == name


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_first_and_the_last_cell_of_an_experiment_compose(compose, name):
    swept = jobs(name)
    for overrides in (swept[0], swept[-1]):
        assert compose(f"experiment={name}", *overrides)


def _values(text):
    """How many values a value of `include` stands for."""
    if match := re.fullmatch(r"(choice|range)\((.*)\)", str(text)):
        return len(match[2].split(",")) if match[1] == "choice" else int(match[2])
    return 1


@pytest.mark.real
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_cell_of_an_experiment_composes(name):
    """Of a large one the cells of its first and last model: Hydra needs a quarter of a second for each."""
    diff, axes = read(name), params(name)
    include = diff.get("include", ())
    if "model" in axes:
        models = str(axes["model"]).replace(" ", "").split(",")
    else:  # of its cells, or the one that it overrides
        models = [one["model"] for one in include] or ["its own"]
    ends = {models[0], models[-1]}
    only = [f"model={models[0]},{models[-1]}"] if len(models) > FEW else []
    swept = {**axes, **dict(word.split("=") for word in only)}
    product = math.prod(len(str(values).split(",")) for values in swept.values()) if axes else 0
    rows = math.prod(len(next(iter(block.values()))) for block in diff.get("pair", ()))
    # A single cell without a model gets each of those on the command line.
    wanted = [
        math.prod(map(_values, one.values())) * (len(ends) if only and "model" not in one else 1)
        for one in include
        if not only or one.get("model") in {None, *ends}
    ]
    laid = compose_grid([f"experiment={name}", *only])
    assert len(laid.experiments) + len(laid.excluded) == product * rows + sum(wanted)


def test_the_help_of_a_run_names_every_verb():
    header = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["hydra"]["help"]["header"]
    assert {*VERBS} <= {*header.split()}
