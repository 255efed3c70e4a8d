"""torch_neuron.trace (inf1) by its documented interface: flags and refusals; the rest by a stand-in."""

from __future__ import annotations

import inspect

import pytest
from pydantic import ValidationError

from benchmark.compilers.neuron import Neuron, _visible_cores
from benchmark.errors import CompileFailed, Fallback, Incompatible, LibraryMissing, UnsupportedOperator
from tests.compilers.neuron_workloads import FAKES, fakes, small_workload, stub

__all__ = ["fakes"]
ONE_CORE = ["--neuroncore-pipeline-cores", "1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["none"]),
        ({"cast_type": "fp16"}, ["none"]),
        ({"fast_math": "matmult"}, ["fp32-cast-matmult-bf16"]),
        ({"fast_math": "matmult", "cast_type": "fp16"}, ["fp32-cast-matmult-fp16"]),
        ({"fast_math": "matmult", "cast_type": "mixed"}, ["fp32-cast-matmult"]),
        ({"fast_math": "all"}, ["all"]),
        ({"fast_math": "all", "cast_type": "fp16"}, ["fp32-cast-all-fp16"]),
        ({"fast_math": "all", "fast_relayout": False}, ["all", "no-fast-relayout"]),
        ({"fast_math": "none", "fast_relayout": True}, ["none", "fast-relayout"]),
    ],
)
def test_every_legal_combination_of_fast_math_has_its_words_as_tokens(options, words):
    assert Neuron(**options).flags() == ["--fast-math", *words, *ONE_CORE]


def test_every_switch_is_a_flag():
    compiler = Neuron(pipeline_cores=4, saturate_infinity=True, fast_context_switch=True, fast_loading=True)
    assert compiler.flags() == [
        *("--fast-math", "none", "--neuroncore-pipeline-cores", "4"),
        "--enable-saturate-infinity",
        "--enable-fast-context-switch",
        "--enable-fast-loading-neuron-binaries",
    ]


def test_trace_is_given_what_differs_from_its_defaults():
    assert Neuron().arguments() == {}
    assert Neuron(
        dynamic_batch=True, separate_weights=True, single_fusion_ratio_threshold=1.0
    ).arguments() == {
        "dynamic_batch_size": True,
        "separate_weights": True,
        "single_fusion_ratio_threshold": 1.0,
    }
    assert Neuron(fallback=False).arguments() == {"fallback": False}


@pytest.mark.parametrize(
    ("options", "outcome_text"),
    [
        ({"cast_type": "tf32"}, "'bf16', 'fp16' or 'mixed'"),
        ({"force_operators": ["embedding"]}, "embedding is no aten::operator"),
    ],
)
def test_an_option_that_is_none_is_refused_at_once(options, outcome_text):
    with pytest.raises(ValidationError, match=outcome_text):
        Neuron(**options)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"fast_math": "all", "cast_type": "mixed"}, "use bf16 or fp16 with fast_math=all"),
        ({"fallback": False, "force_operators": ["aten::embedding"]}, "leave force_operators out"),
        ({"fallback": False, "minimum_segment_size": 1}, "leave minimum_segment_size out"),
    ],
)
def test_options_that_exclude_each_other_make_the_cell_incompatible(options, advice):
    assert Neuron(**options).refuse("neuroncore-v1").endswith(advice)
    assert Neuron().refuse("neuroncore-v1") is None


@pytest.mark.parametrize(
    ("options", "effective", "tolerance"),
    [
        ({}, ("fp32", "bf16", "fp32"), "matmult"),
        ({"fast_math": "matmult", "cast_type": "mixed"}, ("fp32", "bf16", "fp32"), "matmult"),
        ({"fast_math": "matmult", "cast_type": "fp16"}, ("fp32", "fp16", "fp32"), "matmult"),
        ({"fast_math": "all"}, ("fp32", "bf16", "bf16"), "all"),
        ({"float32_to_float16": True}, ("fp16", "bf16", "fp32"), "all"),
    ],
)
def test_products_are_never_fp32_and_answers_are_held_to_that(options, effective, tolerance):
    arithmetic = Neuron(**options)._arithmetic()
    assert (arithmetic.model_dtype, arithmetic.matmul_dtype, arithmetic.other_dtype) == effective
    assert Neuron(**options).tolerance == tolerance


@pytest.mark.parametrize(
    ("visible", "count", "cores"),
    [
        (None, None, None),
        (None, "0", None),
        (None, "4", 4),
        ("0-3", "1", 4),
        ("0,2", None, 2),
        ("1", None, 1),
    ],
)
def test_the_cores_of_a_run_are_counted_as_the_runtime_does(monkeypatch, visible, count, cores):
    for name, value in (("NEURON_RT_VISIBLE_CORES", visible), ("NEURON_RT_NUM_CORES", count)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert _visible_cores() == cores


def test_a_pipeline_of_more_cores_than_the_run_has_is_refused(monkeypatch):
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "0")
    with pytest.raises(Incompatible, match=r"use hardware\.cores=4"):
        Neuron(pipeline_cores=4).load(None, None)


def test_stubs_are_distinguished_from_the_libraries_without_an_import(tmp_path, monkeypatch):
    stub(tmp_path, "torch_neuron", "torch-neuron")
    stub(tmp_path, "neuroncc", "neuron-cc")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LibraryMissing, match="neuron-cc 1\\.0 here are PyPI's stub") as missing:
        Neuron().versions()
    assert str(missing.value).startswith("torch-neuron 1.0 and ")
    assert "pip install torch-neuron==1.13.1.*" in str(missing.value)


def test_versions_of_the_stand_in_say_that_it_is_one(monkeypatch):
    monkeypatch.syspath_prepend(str(FAKES))
    assert all(version.endswith("+simulated") for version in Neuron().versions().values())


def through_the_stand_in(test):
    return pytest.mark.real(pytest.mark.filterwarnings("ignore")(test))


@pytest.fixture
def workload(tmp_path, fakes, monkeypatch):
    monkeypatch.delenv("NEURON_RT_NUM_CORES", raising=False)
    return small_workload(tmp_path, target="inf1")


@pytest.fixture
def failing(monkeypatch):
    return lambda how: monkeypatch.setenv("FAKE_NEURON_FAILURE", how)


@through_the_stand_in
def test_its_signature_is_the_documented_one(fakes):
    import torch_neuron

    assert str(inspect.signature(torch_neuron.trace)) == (
        "(model, example_inputs, compiler_args=None, compiler_timeout=None, compiler_workdir=None, "
        "subgraph_builder_function=None, minimum_segment_size=2, single_fusion_ratio_threshold=0.6, "
        "fallback=True, dynamic_batch_size=False, optimizations=None, separate_weights=False, "
        "**kwargs_to_torch_jit_trace)"
    )
    with pytest.raises(TypeError):
        torch_neuron.trace(None, (), compiler_args="--fast-math none")


@through_the_stand_in
def test_it_answers_in_bf16_even_for_none(workload, tmp_path):
    import torch

    report = Neuron().compile(workload, tmp_path)
    assert report.flags == ("--fast-math", "none", *ONE_CORE)
    assert (report.subgraphs, report.script_modules, report.neff_bytes) == (1, 5, 1024)
    assert (report.ops_on_device_fraction, report.unsupported_ops) == (1.0, None)
    session = Neuron().load(workload, tmp_path)
    answer, exact = session.answers(tmp_path), workload.load_module()(*session.inputs)
    assert not torch.allclose(answer, exact, atol=1e-5)
    assert torch.allclose(answer, exact, atol=1e-2)


@through_the_stand_in
@pytest.mark.parametrize("name", ["model", "decoder"])
def test_outputs_that_are_not_calculated_are_never_timed(workload, tmp_path, failing, name, capfd):
    from dataclasses import replace

    Neuron().compile(workload, tmp_path)
    failing("not_calculated")
    with pytest.raises(Fallback, match="NOT CALCULATED"):
        Neuron().load(replace(workload, name=name), tmp_path).answers(tmp_path)
    capfd.readouterr()


@through_the_stand_in
def test_a_silent_fallback_is_no_compilation(workload, tmp_path, failing):
    failing("fallback")
    with pytest.raises(Fallback, match=r"compiled 0 subgraphs, and then: torch\.neuron\.trace failed on"):
        Neuron().compile(workload, tmp_path)


@through_the_stand_in
def test_what_is_left_to_the_cpu_is_reported(workload, tmp_path, failing):
    failing("partial")
    report = Neuron().compile(workload, tmp_path)
    assert (report.subgraphs, report.ops_on_device_fraction) == (1, 242 / 249)
    assert report.unsupported_ops == ("aten::embedding",)


@through_the_stand_in
def test_an_operator_that_is_forced_is_left_to_the_cpu_no_longer(workload, tmp_path, failing):
    failing("partial")
    report = Neuron(force_operators=["aten::embedding"]).compile(workload, tmp_path)
    assert (report.ops_on_device_fraction, report.unsupported_ops) == (1.0, None)


@through_the_stand_in
def test_without_fallback_an_unknown_operator_is_a_failure_with_its_name(workload, tmp_path, failing):
    failing("partial")
    with pytest.raises(UnsupportedOperator) as failure:
        Neuron(fallback=False).compile(workload, tmp_path)
    assert failure.value.raised == "AttributeError"
    assert "embedding" in str(failure.value)


@through_the_stand_in
def test_a_node_without_an_operator_in_its_name_ends_forcing(workload, tmp_path, monkeypatch):
    import torch_neuron

    monkeypatch.setattr(
        torch_neuron.Node, "__init__", lambda self, *_: setattr(self, "name", ("Embeddings",))
    )
    with pytest.raises(CompileFailed, match=r"use compiler\.fallback=false"):
        Neuron(force_operators=["aten::embedding"]).compile(workload, tmp_path)


@through_the_stand_in
def test_other_batches_are_taken_where_requested(workload, tmp_path):
    import torch

    compiler = Neuron(dynamic_batch=True, float32_to_float16=True)
    compiler.compile(workload, tmp_path)
    assert compiler.load(workload, tmp_path).call(torch.rand(5, 4)).shape == (5, 3)
    Neuron().compile(workload, tmp_path)
    with pytest.raises(RuntimeError, match="shape"):
        Neuron().load(workload, tmp_path).call(torch.rand(5, 4))


@through_the_stand_in
@pytest.mark.parametrize(
    ("flags", "outcome_text"),
    [
        (["--auto-cast", "none"], "unrecognized"),
        (["--fast-math", "fp32-cast-matmult no-fast-relayout"], "invalid choice"),
        (["--fast-math", "fp32-cast-all", "fp32-cast-matmult"], "mutually exclusive"),
        (["--neuroncore-pipeline-cores", "two"], "invalid int"),
    ],
)
def test_the_stand_in_refuses_flags_that_are_not_documented(fakes, flags, outcome_text):
    import neuron_pretence

    with pytest.raises(RuntimeError, match=outcome_text):
        neuron_pretence.neuron_cc(flags, None)
