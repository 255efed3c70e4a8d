"""The gate: what passes is typed and immutable, what doesn't is refused with its full key."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from importlib.util import find_spec
from typing import ClassVar

import hydra
import pytest
from omegaconf import OmegaConf

from benchmark.compilers.simulated import Simulated
from benchmark.config import experiment as config
from benchmark.config import others
from benchmark.config.folder import CONF
from benchmark.devices.simulated import SimulatedDevice
from benchmark.errors import ConfigError
from benchmark.records import Model, Sampling, frozen
from benchmark.scenarios.latency import Latency
from benchmark.tasks.text_classification import TextClassification


@pytest.fixture(scope="module")
def composed():
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", overrides=["hardware=simulated"])


@pytest.fixture
def load(composed):
    """Load the composed configuration with some keys changed, or removed where the value is `...`."""

    def loaded(changes, overrides=()):
        cfg = copy.deepcopy(composed)
        OmegaConf.set_struct(cfg, value=False)
        for key, value in changes.items():
            section, _, name = key.rpartition(".")
            if value is ...:
                del (OmegaConf.select(cfg, section) if section else cfg)[name]
            else:
                OmegaConf.update(cfg, key, value, force_add=True)
        return config.load(cfg, overrides)

    return loaded


@pytest.fixture
def mistakes(load):
    """The sentences of the ConfigError that a changed configuration raises."""

    def message(changes):
        with pytest.raises(ConfigError) as refused:
            load(changes)
        return str(refused.value).splitlines()

    return message


def test_every_part_of_an_experiment_is_typed(load):
    experiment = load({"batch": 4, "compiler.call_ms": 2})
    assert experiment.model == Model(
        name="bert_tiny",
        architecture=experiment.model.architecture,
        parameters=experiment.model.parameters,
        max_sequence_length=512,
    )
    assert experiment.model.architecture["model_type"] == "bert"
    assert experiment.task == TextClassification()
    assert experiment.hardware == SimulatedDevice()
    assert experiment.compiler == Simulated(call_ms=2.0)
    assert type(experiment.scenario) is Latency
    assert type(experiment.sampling) is Sampling
    assert (experiment.batch, experiment.seq_len, experiment.weights) == (4, 128, "random")
    assert experiment.store_root == "outputs/results"
    assert experiment.cache_root == "compile_cache"


def test_the_row_will_know_the_configuration_and_what_the_user_changed(load):
    experiment = load({"batch": 4}, ["batch=4"])
    assert experiment.overrides == ("batch=4",)
    resolved = json.loads(experiment.resolved)
    assert (resolved["batch"], resolved["model"]["name"]) == (4, "bert_tiny")
    assert "hydra" not in resolved


def test_an_experiment_and_its_parts_are_immutable(load):
    experiment = load({})
    for part, name in [
        (experiment, "batch"),
        (experiment.model, "name"),
        (experiment.task, "max_sequence_length"),
        (experiment.hardware, "name"),
        (experiment.compiler, "fast_math"),
        (experiment.sampling, "min_calls"),
        (experiment.limits, "memory_gib"),
    ]:
        with pytest.raises(FrozenInstanceError):
            setattr(part, name, 1)


def test_hardware_chooses_its_natural_compiler_but_the_command_line_wins(compose):
    assert compose("hardware=inf2").compiler.name == "neuronx"
    assert compose("hardware=inf2", "compiler=eager").compiler.name == "eager"
    assert compose("compiler=eager", "hardware=inf1").compiler.name == "eager"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("batch", 0, "batch=0: should be greater than 0"),
        ("batch", -1, "batch=-1: should be greater than 0"),
        ("batch", "two", "batch=two: should be a valid integer"),
        ("batch", 1.0, "batch=1.0: should be a valid integer"),
        ("batch", True, "batch=true: should be a valid integer"),
        ("batch", None, "batch=null: should be a valid integer"),
        ("batch", [1, 2], "batch=[1,2]: should be one value: to sweep write batch=1,2 after -m, or "),
        ("batch", ..., "batch: is missing"),
        ("seq_len", 0, "seq_len=0: should be greater than 0"),
        ("seed", -1, "seed=-1: should be greater than or equal to 0"),
        ("seed", 2**32, "seed=4294967296: should be less than 4294967296"),
        ("run", "maybe", "run=maybe: should be 'missing', 'failed', 'stale' or 'all'"),
        ("campaign", "a/b", r"campaign=a/b: should match pattern '^\w[\w.,:+=@-]*$'"),
        ("campaign", "..", "campaign=..: should match pattern"),
        ("campaign", "", "campaign=: should match pattern"),
        ("campaign", "x" * 121, f"campaign={'x' * 121}: should have at most 120 characters"),
        ("weights", "", "weights=: should have at least 1 character"),
        ("compiler.fast_math", "bf16", "compiler.fast_math=bf16: should be 'none', 'matmult' or 'all'"),
        ("compiler.call_ms", "soon", "compiler.call_ms=soon: should be a valid number"),
        ("hardware.isolated", "yes", "hardware.isolated=yes: should be a valid boolean"),
        ("sampling.min_calls", 0, "sampling.min_calls=0: should be greater than 0"),
        ("sampling.max_s", float("inf"), "sampling.max_s=inf: should be a finite number"),
        ("limits.memory_gib", 0, "limits.memory_gib=0: should be greater than 0"),
        ("model.parameters", "many", "model.parameters=many: should be a valid dictionary"),
        ("model.parameters.fill_mask", "many", "model.parameters.fill_mask=many: should be a valid integer"),
        ("model.name", ..., "model.name: is missing"),
        ("model.max_sequence_length", 0, "model.max_sequence_length=0: should be greater than 0"),
        ("verify.min_cosine.none", 2, "verify.min_cosine.none=2: should be less than or equal to 1"),
        (
            "verify.min_cosine.all",
            ...,
            "verify.min_cosine={'none': 0.9999, 'matmult': 0.95, 'int8': 0.85, 'int4': 0.6}: should have at",
        ),
        ("store", "local", "store=local: should be a mapping; its keys: store.root"),
        ("store.root", None, "store.root=null: should be a valid string"),
        ("store", ..., "store=null: should be a mapping; its keys: store.root"),
        (
            "sampling",
            "quick",
            "sampling=quick: a YAML chooses a name in its defaults list: write `defaults: [override",
        ),
        ("seed", "${nope}", "seed: Interpolation key 'nope' not found"),
        ("seed", "???", "seed: Missing mandatory value: seed"),
    ],
)
def test_a_value_that_cannot_be_meant_is_said_with_its_full_key(mistakes, key, value, sentence):
    (message,) = mistakes({key: value})
    assert message.startswith(sentence)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("btach", "btach: unknown key; did you mean 'batch'?"),
        ("zzz", "zzz: unknown key; known: task, hardware, compiler, scenario, dataset, model, "),
        ("compiler.fastmath", "compiler.fastmath: unknown key; did you mean 'fast_math'?"),
        ("hardware.isolatd", "hardware.isolatd: unknown key; did you mean 'isolated'?"),
        ("sampling.min_cals", "sampling.min_cals: unknown key; did you mean 'min_calls'?"),
        ("model.hubid", "model.hubid: unknown key; did you mean 'hub_id'?"),
        ("model.max_length", "model.max_length: unknown key; did you mean 'max_sequence_length'?"),
        ("store.rot", "store.rot: unknown key; did you mean 'root'?"),
        ("scenario.zzz", "scenario.zzz: unknown key; "),
        ("model.task", "model.task: unknown key; "),
        ("store_root", "store_root: unknown key; did you mean 'store'?"),
        ("overrides", "overrides: unknown key; "),
        ("resolved", "resolved: unknown key; "),
    ],
)
def test_an_unknown_key_is_said_with_the_nearest_or_all_known_ones(mistakes, key, sentence):
    (message,) = mistakes({key: 1})
    assert message.startswith(sentence)


@pytest.mark.parametrize(
    ("slot", "target", "seam", "absent"),
    [
        (
            "compiler",
            "benchmark.devices.cpu.Cpu",
            "Compiler",
            (
                "weight_bytes, commands, placement, refuse_model, known_fault, versions, compile, load, "
                "refuse_training, for_training"
            ),
        ),
        (
            "hardware",
            "benchmark.compilers.simulated.Simulated",
            "Device",
            "missing, facts, shares, configure_process, synchronized, of_rank, state",
        ),
        ("scenario", "benchmark.devices.cpu.Cpu", "Scenario", "variants, measure"),
        (
            "task",
            "benchmark.scenarios.latency.Latency",
            "Task",
            "axes_of, unit_of, parts_of, shares_of, make_weights, module, inputs",
        ),
        (
            "compiler",
            "benchmark.published.documents.Document",
            "Compiler",
            (
                "weight_bytes, commands, placement, refuse, refuse_model, known_fault, versions, compile, "
                "load, refuse_training, for_training"
            ),
        ),
    ],
)
def test_a_plug_in_in_the_wrong_slot_is_refused(mistakes, slot, target, seam, absent):
    assert mistakes({f"{slot}._target_": target}) == [
        f"{slot}._target_={target}: is no {seam}, see benchmark/protocols.py: it lacks {absent}"
    ]


@pytest.mark.parametrize("target", ["benchmark.compilers.simulated.Imagined", "benchmark.compilers.no.Thing"])
def test_a_plug_in_that_cannot_be_imported_is_refused(mistakes, target):
    (message,) = mistakes({"compiler._target_": target})
    assert message.startswith(f"compiler._target_={target}: cannot be imported (")


@pytest.mark.parametrize("target", ["os.system", "no.such.Thing", "Thing", "", "benchmark.cli.side.main"])
def test_a_class_that_is_not_registered_is_refused_with_the_way_to_register_it(mistakes, target):
    (mistake,) = mistakes({"compiler._target_": target})
    assert mistake == (
        f"compiler._target_={target}: is no registered plug-in: if the code is yours, write "
        f"`plugins: [{target.partition('.')[0] or 'my_module'}]` into benchmark.yaml in this folder"
    )


@pytest.fixture
def _ours(monkeypatch):
    """Register the classes of this module, as benchmark.yaml does."""
    monkeypatch.setattr(others, "modules", lambda: frozenset({__name__}))


PROPERTIES = (
    "name, runs_on, leaves_artifact, unpickles, preload, python, fast_math, tolerance, pipeline_cores, "
    "variables, parts_named"
)


class HalfACompiler:
    """Has every method of a compiler, but neither a name nor anything else."""

    def refuse(self): ...
    def weight_bytes(self, part): ...
    def commands(self, model, parts, target, versions): ...
    def placement(self, parts, cores): ...
    def refuse_model(self, model, task): ...
    def known_fault(self, model_type, versions): ...
    def versions(self): ...
    def compile(self, workload, folder): ...
    def load(self, workload, folder): ...
    def refuse_training(self): ...
    def for_training(self, workload, folder): ...


@pytest.mark.usefixtures("_ours")
def test_a_plug_in_without_the_properties_of_its_seam_is_refused(mistakes):
    name = f"{__name__}.HalfACompiler"
    assert mistakes({"compiler": ..., "compiler._target_": name}) == [
        f"compiler._target_={name}: is no Compiler, see benchmark/protocols.py: it lacks {PROPERTIES}"
    ]


@frozen
class NoTorchDevice:
    """Has everything that a device must answer, but `torch_device`."""

    name: str = "mine"
    kind: ClassVar[str] = "simulated"
    simulated: ClassVar[bool] = True
    isolated: ClassVar[bool] = False
    core_memory_bytes: ClassVar[None] = None

    def refuse(self): ...
    def missing(self): ...
    def facts(self): ...
    def shares(self, replicas): ...
    def configure_process(self, share=()): ...
    def synchronized(self, session): ...
    def of_rank(self, rank): ...
    def state(self): ...


@pytest.mark.usefixtures("_ours")
def test_a_plug_in_that_lacks_one_answer_is_refused_by_its_name(mistakes):
    name = f"{__name__}.NoTorchDevice"
    assert mistakes({"hardware": ..., "hardware._target_": name}) == [
        f"hardware._target_={name}: is no Device, see benchmark/protocols.py: it lacks torch_device"
    ]


@pytest.mark.parametrize("slot", ["compiler", "hardware", "scenario", "task"])
def test_a_plug_in_without_a_target_is_refused(mistakes, slot):
    sentence = "should be a mapping with a `_target_`"
    assert mistakes({f"{slot}._target_": ...})[0].endswith(sentence)
    assert mistakes({slot: ...}) == [f"{slot}=null: {sentence}"]


def test_every_mistake_is_reported_at_once(mistakes):
    message = mistakes(
        {
            "batch": 0,
            "seed": -1,
            "campaign": "a/b",
            "compiler.fast_math": "bf16",
            "compiler.fault": "explode",
            "sampling.min_calls": -1,
            "model.max_sequence_length": "long",
            "btach": 2,
        }
    )
    assert sorted(sentence.partition("=")[0].partition(":")[0] for sentence in message) == [
        "batch",
        "btach",
        "campaign",
        "compiler.fast_math",
        "compiler.fault",
        "model.max_sequence_length",
        "sampling.min_calls",
        "seed",
    ]


@frozen
class WithOptions(Simulated):
    options: Mapping[str, int] | list[int] | tuple[int, ...] = ()


@pytest.mark.usefixtures("_ours")
@pytest.mark.parametrize(("value", "kind"), [({"a": 1}, "mapping"), ([1, 2], "list")])
def test_an_option_that_can_be_no_part_of_a_cells_identity_is_refused(mistakes, value, kind):
    (sentence,) = mistakes({"compiler._target_": f"{__name__}.WithOptions", "compiler.options": value})
    assert sentence.startswith(f"compiler.options={value}: is a {kind}; an option of a plug-in is ")


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_what_a_models_yaml_leaves_out_is_the_default_of_its_configuration(load):
    left_out = ("max_sequence_length", "architecture.max_position_embeddings", "parameters")
    model = load({f"model.{name}": ... for name in left_out}).model
    assert (model.max_sequence_length, model.parameters) == (512, {})
    assert load({"model.max_sequence_length": None}).model.max_sequence_length is None
    pictures = {"model.architecture": {"model_type": "vit"}}
    assert load(pictures).model.image_size == 224


def test_a_model_knows_the_yaml_it_was_read_from_and_cannot_be_given_one(load, mistakes):
    assert load({}).model.file == str(CONF / "model" / "bert_tiny.yaml")
    assert mistakes({"model.file": "x.yaml"}) == ["model.file: unknown key; this program fills it in"]
