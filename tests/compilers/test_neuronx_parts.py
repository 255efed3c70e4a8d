"""Options of torch-neuronx by part and by model: command lines, variables, types, and what is refused."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from pydantic import ValidationError

from benchmark.cell import cell_of
from benchmark.compilers.neuronx import NeuronX
from benchmark.config.folder import options
from benchmark.errors import Incompatible
from benchmark.identity import hashed, options_of
from benchmark.models.pipelines import NETWORKS
from benchmark.neuron.parts import Parts
from benchmark.records import Model
from benchmark.stages.plan import refuse
from tests.compilers.neuron_workloads import fakes, small_workload

__all__ = ["fakes"]
V3 = "neuroncore-v3"
UNET = {"model_type": "unet-inference", "fast_loading": True, "dtype": "bf16"}
VIT = Model(name="vit", architecture={"model_type": "vit"})
MODELS = sorted({*options("options/neuronx")} & {*options("model")})


def test_a_part_has_its_own_options_and_the_rest_of_the_whole_model():
    compiler = NeuronX(fast_math="matmult", optlevel=3, parts={"unet": UNET})
    lines = compiler.commands(VIT, ("text_encoder", "unet"), "inf2", {})
    cast = "--auto-cast matmult --auto-cast-type bf16 --optlevel 3"
    assert lines == {
        "text_encoder": f"neuronx-cc compile --target inf2 {cast} --model-type generic",
        "unet": f"neuronx-cc compile --target inf2 {cast} --model-type unet-inference "
        "--enable-fast-loading-neuron-binaries",
    }


def test_the_least_exact_part_decides_what_counts_as_right():
    assert NeuronX(parts={"unet": UNET}).tolerance == "all"
    assert NeuronX(fast_math="matmult", parts={"unet": {"fast_loading": True}}).tolerance == "matmult"
    assert NeuronX(parts={"unet": {"fast_math": "all", "auto_cast_type": "fp8_e4m3"}}).tolerance == "int8"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"parts": {"unt": {}}}, "unt"),
        ({"parts": {"unet": {"model_typ": "generic"}}}, "model_typ"),
        ({"parts": {"unet": {"fast_loading": "yes"}}}, "valid boolean"),
        ({"environment": {"NEURON_RT_VISIBLE_CORES": "0"}}, "is no variable that changes a program"),
        ({"environment": "NEURON_FUSE_SOFTMAX=1"}, "should be a mapping"),
        ({"saturate_infinity": "trn2"}, "before_trn2"),
    ],
)
def test_what_is_no_option_of_a_part_is_refused_at_once(given, text):
    with pytest.raises(ValidationError, match=text):
        NeuronX(**given)


def test_each_option_of_a_part_and_each_variable_makes_another_artefact():
    every = [
        NeuronX(),
        NeuronX(dtype="bf16"),
        NeuronX(environment={"NEURON_FUSE_SOFTMAX": "1"}),
        NeuronX(environment={"NEURON_FUSE_SOFTMAX": "0"}),
        NeuronX(parts={"unet": {"dtype": "bf16"}}),
        NeuronX(parts={"vae_decoder": {"dtype": "bf16"}}),
        NeuronX(parts={"unet": {"optlevel": 3}}),
    ]
    assert len({hashed(options_of(one)) for one in every}) == len(every)


def test_a_switch_of_cores_before_trn2_is_given_there_alone():
    compiler = NeuronX(saturate_infinity="before_trn2")
    assert "--enable-saturate-infinity" in compiler.flags("inf2")
    assert "--enable-saturate-infinity" not in compiler.flags("trn2")
    assert compiler.refuse(V3) is None


def test_a_part_is_refused_what_its_cores_lack():
    refusal = NeuronX(parts={"unet": {"saturate_infinity": True}}).refuse(V3)
    assert refusal.startswith("parts.unet.saturate_infinity=true has no effect on neuroncore-v3")


def test_variables_are_part_of_the_command_and_one_that_is_null_is_left_out():
    compiler = NeuronX(environment={"NEURON_FUSE_SOFTMAX": 1, "NEURON_CUSTOM_SILU": None})
    assert compiler.environment == (("NEURON_FUSE_SOFTMAX", "1"),)
    (line,) = compiler.commands(VIT, ("model",), "inf2", {}).values()
    assert line.startswith("NEURON_FUSE_SOFTMAX=1 neuronx-cc compile --target inf2 ")


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
def test_a_part_is_compiled_and_loaded_in_its_type_and_variables_are_set_first(tmp_path, fakes, monkeypatch):
    import torch

    monkeypatch.delenv("NEURON_FUSE_SOFTMAX", raising=False)
    workload = small_workload(tmp_path, target="inf2", name="unet")
    compiler = NeuronX(parts={"unet": UNET}, environment={"NEURON_FUSE_SOFTMAX": "1"})
    report = compiler.compile(workload, tmp_path)
    assert os.environ.pop("NEURON_FUSE_SOFTMAX") == "1"
    assert report.flags[0] == "NEURON_FUSE_SOFTMAX=1"
    assert "unet-inference" in report.flags
    session = compiler.load(workload, tmp_path)
    assert (session.arithmetic.model_dtype, session.arithmetic.matmul_dtype) == ("bf16", "bf16")
    assert session.inputs[0].dtype is torch.bfloat16
    assert session.run()[0].dtype is torch.bfloat16


def test_a_variable_that_the_command_has_otherwise_is_refused(tmp_path, fakes, monkeypatch):
    monkeypatch.setenv("NEURON_FUSE_SOFTMAX", "0")
    compiler = NeuronX(environment={"NEURON_FUSE_SOFTMAX": "1"})
    with pytest.raises(Incompatible, match="was started with NEURON_FUSE_SOFTMAX=0: unset it"):
        compiler.compile(small_workload(tmp_path, target="inf2"), tmp_path)


@pytest.mark.parametrize("model", MODELS)
def test_the_options_of_a_model_are_chosen_by_it_and_fit_it(compose, model):
    for hardware in ("inf2", "trn2"):
        # In fp32 the largest are too large for a core.
        experiment = compose(f"model={model}", f"hardware={hardware}", "compiler.fast_math=matmult")
        assert replace(experiment.compiler, fast_math="none") != NeuronX()
        assert refuse(cell_of(experiment)) is None


def test_options_of_a_model_are_those_of_one_compiler_and_can_be_left_out(compose):
    assert compose("model=vit", "hardware=inf2", "options=none").compiler == NeuronX()
    assert compose("model=vit", "hardware=inf2", "compiler.model_type=generic").compiler == NeuronX()
    assert compose("model=vit").compiler.name == "torchscript"


def test_options_for_a_part_that_the_model_lacks_are_refused(compose):
    part = "+compiler.parts.refiner.optlevel=3"
    assert refuse(cell_of(compose("model=vit", "hardware=inf2", part))) == (
        "compiler.parts.refiner: model=vit has no such part (it is one network): leave it out"
    )
    assert refuse(cell_of(compose("model=sd21", "hardware=inf2", part))) == (
        "compiler.parts.refiner: model=sd21 has no such part (its parts: text_encoder, unet, vae_decoder): "
        "leave it out"
    )


def test_every_part_that_a_model_can_have_can_have_options():
    parts = {*NETWORKS} - {"vae"} | {"vae_decoder", "vae_encoder", "prefill", "decode"}
    assert {*Parts.__annotations__} == parts
