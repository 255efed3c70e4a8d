"""Where models sit and compute, by stand-ins that have cores, and what crosses the host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark.cache.compile_cache import CompileCache
from benchmark.compilers.neuron import Neuron
from benchmark.compilers.neuronx import NeuronX
from benchmark.execution.forkserver import inline
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.plan import plan
from benchmark.timing.session import load
from tests.compilers.neuron_workloads import fakes, small_workload

__all__ = ["fakes"]
pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def pretence(fakes, monkeypatch):
    """The stand-in's runtime, as in a fresh process; `cores` makes these visible to it."""
    import neuron_pretence

    monkeypatch.setenv("FAKE_NEURON_CORES", "4")
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "2-3")
    neuron_pretence.restart()
    yield neuron_pretence
    neuron_pretence.restart()


def cores(pretence):
    """The host's core of each call so far."""
    return [call["core"] for call in pretence.CALLS]


@pytest.fixture
def compiled(tmp_path, fakes):
    workload = small_workload(tmp_path, target="inf2")
    NeuronX().compile(workload, tmp_path)
    return workload, tmp_path


def test_the_stand_in_deals_plain_models_to_the_visible_cores_in_turns(compiled, pretence):
    import torch

    _, folder = compiled
    models = [torch.jit.load(str(folder / "model.pt")) for _ in range(3)]
    for model in models:
        model(torch.rand(2, 4))
        model(torch.rand(2, 4))
    assert cores(pretence) == [2, 2, 3, 3, 2, 2]


def test_the_stand_in_counts_cores_from_the_first_visible_one_and_knows_no_other(compiled, pretence):
    import torch
    import torch_neuronx

    _, folder = compiled
    with torch_neuronx.neuron_cores_context(start_nc=1, nc_count=1):
        model = torch.jit.load(str(folder / "model.pt"))
    model(torch.rand(2, 4))
    torch_neuronx.set_neuron_cores(model, start_nc=0, nc_count=2)
    for _ in range(3):
        model(torch.rand(2, 4))
    assert cores(pretence) == [3, 2, 3, 2]
    with pytest.raises(RuntimeError, match="NeuronCores 2 to 2 were requested, and 2 are visible"):
        torch_neuronx.set_neuron_cores(model, start_nc=2, nc_count=1)
    with pytest.raises(ValueError, match="invalid number"):
        torch_neuronx.set_neuron_cores(model, start_nc=0, nc_count=3)


@pytest.mark.parametrize("compiler", [NeuronX(), NeuronX(inline_weights=False), Neuron()])
def test_a_model_sits_on_the_core_that_the_plan_gave_it(tmp_path, pretence, compiler):
    workload = small_workload(tmp_path, target="inf2")
    compiler.compile(workload, tmp_path)
    for place in ((1,), (1,), (0,)):
        compiler.load(replace(workload, cores=place), tmp_path).run()
    assert cores(pretence) == [3, 3, 2]


def test_a_divided_batch_is_computed_by_two_cores_at_a_time(tmp_path, pretence):
    import torch

    workload = replace(small_workload(tmp_path, target="inf2"), cores=(0, 1))
    NeuronX().compile(workload, tmp_path)
    session = NeuronX().load(workload, tmp_path)
    answer = session.call(*session.inputs)
    assert torch.allclose(answer, workload.load_module()(*session.inputs), atol=1e-6)
    assert sorted(cores(pretence)) == [2, 3]
    assert {tuple(call["in"]) for call in pretence.CALLS} == {(1, 16)}  # one row of four numbers each


def test_threads_of_the_library_record_no_gradients_of_what_is_left_to_the_cpu(tmp_path, pretence):
    workload = replace(small_workload(tmp_path, target="inf2"), cores=(0, 1))
    compiler = NeuronX(partitioner=True, ops_to_partition=["aten::log_softmax"])
    compiler.compile(workload, tmp_path)
    session = compiler.load(workload, tmp_path)
    (answer,) = session.call(*session.inputs)
    assert not answer.requires_grad


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    opened = CompileCache(tmp_path_factory.mktemp("cache"))
    opened.prepare()
    return opened


@pytest.fixture
def generate(pretence, compose, cache, monkeypatch):
    """Build, compile and load T5 in this process, as for inf2."""

    def run(*overrides):
        e = compose("model=t5_tiny", "hardware=inf2", "input_length=8", "output_length=4", *overrides)
        (run,) = plan([e], lambda _: {}).runs
        workload = build(run.cell, run.environment, cache, inline)
        artifact = compile_(run.cell, workload, run.environment, cache, inline)
        monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "2-3")
        session, _ = load(e.hardware, e.compiler, workload, artifact.folder)
        pretence.CALLS.clear()
        return workload, session

    return run


def test_no_cache_tensor_crosses_the_host_in_a_step_of_a_generation(generate, pretence):
    workload, session = generate()
    session.run()
    prefill, *steps = pretence.CALLS
    assert len(steps) == 3
    assert prefill["out"][0] == 1 + len(workload.parts[1].states)
    for step in steps:
        assert (step["in"][0], step["out"][0]) == (2, 1)  # token and position, and logits


def test_without_aliases_every_step_moves_the_whole_cache(generate, pretence):
    workload, session = generate("compiler.kv_cache=host")
    session.run()
    _, *steps = pretence.CALLS
    states = len(workload.parts[1].states)
    for step in steps:
        assert (step["in"][0], step["out"][0]) == (2 + states, 1 + states // 2)
