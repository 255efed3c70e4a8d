"""A cell's configuration is Hydra's own, however many cells share its composition."""

from __future__ import annotations

import random

import pytest
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from benchmark.config import experiment
from benchmark.config.compose import Composer
from benchmark.config.folder import CONF
from benchmark.errors import ConfigError

AXES = {
    "model": ["vit_tiny,bert_tiny", "glob(bert_t*)", "choice(beit_tiny,vit_tiny)"],
    "compiler": ["eager", "eager,simulated"],
    "hardware": ["simulated", "cpu,inf2"],
    "batch": ["1,2,4", "range(1,9,3)", "sort(4,1,2)", "'7'", "shuffle(1,2)"],
    "seq_len": ["8,16", "null"],
    "campaign": ["a,'b c'", "interpolated-${model.name}"],
    "output_folder": ["x,y", "'folder of ${campaign}'"],
    "compiler.fast_math": ["none,all", "matmult"],
    "sampling.min_s": ["1.5,2", "range(0.5,1.5,0.5)"],
    "sampling": ["quick"],
    "verify.min_cosine.all": ["0.5,0.6"],
    "verify": ["{min_cosine:{none:0.1}}"],
    "+verify.extra": ["1,2"],
    "++seed": ["3"],
    "seed": ["1,true,1.0"],
    "hardware.name": ["z,y", "tag(t1,choice(z,y))"],
    "store.root": ["/somewhere/q,s3://bucket/r"],
    "limits.memory_gib": ["null,3"],
    "weights": ["'${model.name}',random", "'a=b, c'"],
    "model.name": ["own"],
    "hardware.affinity": ["[0,1],[0]"],
    "~cache": [""],
    "budget.hours": ["1.0,2"],
}
"""Values for each key, in the whole of Hydra's grammar; some fit no configuration."""


@pytest.fixture(scope="module")
def hydra():
    """Hydra at an hour that stands still: a second may pass between two compositions."""
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="benchmark"):
        OmegaConf.register_new_resolver("now", lambda pattern: f"once {pattern}", replace=True)
        yield GlobalHydra.instance().config_loader()
    setup_globals()


def outcome(composed):
    """The configuration with the type of every value, or what was refused."""
    try:
        return repr(sorted(composed().items()))
    except (HydraException, ConfigError) as error:
        return f"{type(error).__name__}: {error}"


def sweep(rng):
    keys = rng.sample(list(AXES), rng.randint(2, 6))
    return [key if key.startswith("~") else f"{key}={rng.choice(AXES[key])}" for key in keys]


@pytest.mark.parametrize("seed", range(10))
def test_cells_of_a_random_sweep_are_composed_as_hydra_does(hydra, seed):
    rng = random.Random(seed)  # noqa: S311 - no secret
    arguments = sweep(rng)
    master = hydra.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    parsed = OverridesParser.create(config_loader=hydra).parse_overrides(arguments)
    (jobs,) = BasicSweeper.split_arguments(parsed, None)
    composer = Composer(hydra, master)
    ours = [outcome(lambda job=job: dict(composer.compose(job).plain)) for job in jobs]
    for number in rng.sample(range(len(jobs)), min(3, len(jobs))):
        theirs = outcome(
            lambda number=number: experiment.plain(hydra.load_sweep_config(master, jobs[number]))
        )
        assert ours[number] == theirs, jobs[number]


@pytest.fixture
def counted(hydra, monkeypatch):
    """A composer, and how often it has asked Hydra."""
    asked = []
    compose = hydra.load_sweep_config
    monkeypatch.setattr(hydra, "load_sweep_config", lambda *given: asked.append(given[1]) or compose(*given))
    return Composer(hydra, hydra.load_configuration("config", [], run_mode=RunMode.MULTIRUN)), asked


def test_cells_that_differ_in_plain_values_share_one_composition(counted):
    composer, asked = counted
    cells = [
        composer.compose(["hardware=simulated", f"batch={n}", "compiler.fast_math=all"]) for n in range(1, 50)
    ]
    assert len(asked) == 1
    assert [cell.plain["batch"] for cell in cells] == list(range(1, 50))
    assert all(cell.plain["compiler"] is cells[0].plain["compiler"] for cell in cells)


def test_a_value_that_others_refer_to_is_composed_by_hydra(counted):
    composer, asked = counted
    folders = [composer.compose([f"campaign={name}"]).plain["output_folder"] for name in ("a", "b", "a")]
    assert folders == ["./outputs/a", "./outputs/b", "./outputs/a"]
    assert ["campaign=a"] in asked
    assert len(asked) == 3  # the template in which it turned out that others refer to it, a, b


def test_choices_are_known_by_group(counted):
    composer, _ = counted
    composed = composer.compose(["hardware=inf2", "batch=3"])
    assert composed.values(
        ["hardware", "compiler", "batch", "compiler.optlevel", "absent", "batch.absent"]
    ) == {
        "hardware": "inf2",
        "compiler": "neuronx",
        "batch": 3,
        "compiler.optlevel": 2,
    }


def test_a_configuration_that_asks_hydra_differs_by_cell(hydra):
    master = hydra.load_configuration("config", ["+mine=${hydra:job.num}"], run_mode=RunMode.MULTIRUN)
    composer = Composer(hydra, master)
    numbers = [composer.compose(["+mine=${hydra:job.num}", f"batch={n}"], n).plain["mine"] for n in (4, 5)]
    assert numbers == [4, 5]


def test_what_hydra_derives_from_the_overrides_differs_by_cell(hydra):
    own = ["hydra.job.config.override_dirname.exclude_keys=[mine]"]
    composer = Composer(hydra, hydra.load_configuration("config", own, run_mode=RunMode.MULTIRUN))
    key = "+mine=${hydra.job.override_dirname}"
    names = [composer.compose([f"batch={n}", key]).plain["mine"] for n in (4, 5)]
    assert ["batch=4" in names[0], "batch=5" in names[1]] == [True, True]


def test_variables_see_the_values_of_the_cell(hydra):
    own = ["+hydra.job.env_set.MARK='${batch}-${model.name}'"]
    composer = Composer(hydra, hydra.load_configuration("config", own, run_mode=RunMode.MULTIRUN))
    found = [composer.compose([f"batch={n}"]).environment for n in (1, 2)]
    assert found == [{"MARK": "1-bert_tiny"}, {"MARK": "2-bert_tiny"}]
