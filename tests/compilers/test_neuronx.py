"""torch_neuronx.trace by its documented interface: flags and refusals; reports and failures by a stand-in."""

from __future__ import annotations

import inspect
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from benchmark.compilers.neuron import Neuron
from benchmark.compilers.neuronx import NeuronX
from benchmark.compilers.optimum_neuron import OptimumNeuron
from benchmark.errors import (
    CompileFailed,
    Fallback,
    Incompatible,
    LibraryMissing,
    OutOfDeviceMemory,
    UnsupportedOperator,
)
from tests.compilers.neuron_workloads import fakes, forget, small_workload, stub

__all__ = ["fakes"]
ALWAYS = ["--target", "inf2", "--auto-cast", "none", "--optlevel", "2", "--model-type", "generic"]
V2, V3 = "neuroncore-v2", "neuroncore-v3"


def test_what_decides_the_code_is_always_given():
    assert NeuronX().flags("inf2") == ALWAYS


def test_the_type_of_a_cast_is_given_only_where_something_is_cast():
    assert NeuronX(auto_cast_type="fp16").flags("inf2") == ALWAYS
    assert NeuronX(fast_math="all", auto_cast_type="tf32").flags("trn1")[:6] == [
        *("--target", "trn1", "--auto-cast", "all", "--auto-cast-type", "tf32")
    ]


def test_every_switch_is_a_flag():
    compiler = NeuronX(
        lnc=1,
        target="trn2",
        mixed_precision_accumulation=False,
        saturate_infinity=True,
        fast_context_switch=True,
        fast_loading=True,
    )
    assert compiler.flags("inf2") == [
        *("--target", "trn2", "--auto-cast", "none", "--optlevel", "2", "--model-type", "generic"),
        *("-lnc", "1"),
        "--disable-mixed-precision-accumulation",
        "--enable-saturate-infinity",
        "--enable-fast-context-switch",
        "--enable-fast-loading-neuron-binaries",
    ]


@pytest.mark.parametrize(
    ("options", "kind", "advice"),
    [
        ({"target": "trn2"}, V2, "use target=null, or inf2 or trn1 or trn1n"),
        ({"target": "inf2"}, V3, "use target=null, or trn2"),
        ({"lnc": 2}, V2, "use lnc=null"),
        ({"native_int64": "enabled"}, V2, "use disabled and all"),
        ({"saturate_infinity": True}, V3, "use before_trn2 or false"),
    ],
)
def test_what_a_generation_of_cores_lacks_is_refused(options, kind, advice):
    refusal = NeuronX(**options).refuse(kind)
    key, value = next(iter(options.items()))
    assert refusal.startswith(f"{key}={str(value).lower() if value is True else value} ")
    assert refusal.endswith(advice)


INTEGERS = ["--native-int64", "disabled", "--implicit-integer-downcast", "all"]


@pytest.mark.parametrize(
    ("target", "version", "expected"),
    [
        ("trn2", "2.27.5334.0", INTEGERS),
        ("trn2", "3.1", INTEGERS),
        ("trn2", "2.26.6360.0", []),
        ("inf2", "2.27.5334.0", []),
        ("trn2", "", []),
    ],
)
def test_what_becomes_of_integers_is_always_given_where_the_compiler_takes_it(target, version, expected):
    flags = NeuronX().flags(target, version)
    assert [flag for flag in flags if flag in INTEGERS] == expected


def test_integers_can_be_computed_as_they_are():
    flags = NeuronX(native_int64="enabled", implicit_integer_downcast="none").flags("trn2", "2.27")
    assert flags[-4:] == ["--native-int64", "enabled", "--implicit-integer-downcast", "none"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("NEURON_FUSE_SOFTMAX", True),
        ("NEURON_CUSTOM_SILU", True),
        ("NEURON_CC_FLAGS", True),
        ("XLA_FLAGS", True),
        ("NEURON_RT_VISIBLE_CORES", False),
        ("NEURON_PROCESS_TAG", False),
        ("OMP_NUM_THREADS", False),
    ],
)
def test_variables_of_the_compiler_change_the_program_and_those_of_the_runtime_do_not(name, counts):
    for compiler in (NeuronX(), Neuron(), OptimumNeuron()):
        assert bool(re.fullmatch(compiler.variables, name)) == counts


@pytest.mark.parametrize(
    ("kind", "version", "is_known"),
    [
        ("wav2vec2", "2.9.0.2.15.32035", True),
        ("convbert", "2.8.1.2", True),
        ("yolos", "2.8.0.2.10.16998", False),
        ("yolos", "2.91", False),
        ("bert", "2.9.0.2.15.32035", False),
    ],
)
def test_a_crash_that_release_notes_have_is_known(kind, version, is_known):
    known = NeuronX().known_fault(kind, {"torch-neuronx": version})
    assert bool(known) == is_known
    assert ("release notes of SDK 2.29" in known) == is_known


def test_what_it_has_is_taken():
    assert NeuronX(target="trn1", saturate_infinity=True).refuse(V2) is None
    assert NeuronX(target="trn2", lnc=1).refuse(V3) is None


@pytest.mark.parametrize(
    ("options", "outcome_text"),
    [
        ({"partitioner": True, "max_subgraph_count": 0}, "1 or more, or -1"),
        ({"partitioner": True, "ops_to_partition": ["sort"]}, "sort is no aten::operator"),
        ({"auto_cast_type": "fp32"}, "bf16"),
        ({"lnc": 3}, "1 or 2"),
    ],
)
def test_an_option_that_is_none_is_refused_at_once(options, outcome_text):
    with pytest.raises(ValidationError, match=outcome_text):
        NeuronX(**options)


@pytest.mark.parametrize("options", [{"ops_to_partition": ["aten::sort"]}, {"support_threshold": 0.8}])
def test_an_option_without_effect_makes_the_cell_incompatible(options):
    assert "has no effect without partitioner=true" in NeuronX(**options).refuse(V2)
    assert NeuronX(partitioner=True, **options).refuse(V2) is None


def test_answers_are_held_to_the_arithmetic_in_effect():
    assert NeuronX().tolerance == NeuronX(auto_cast_type="fp8_e4m3").tolerance == "none"
    assert NeuronX(fast_math="matmult", auto_cast_type="tf32").tolerance == "matmult"
    assert NeuronX(fast_math="all", auto_cast_type="fp8_e4m3").tolerance == "int8"


@pytest.mark.parametrize(
    ("options", "matmul", "other"),
    [
        ({}, "fp32", "fp32"),
        ({"fast_math": "matmult"}, "bf16", "fp32"),
        ({"fast_math": "all", "auto_cast_type": "fp16"}, "fp16", "fp16"),
        ({"fast_math": "matmult", "auto_cast_type": "fp8_e4m3"}, "fp8", "fp32"),
    ],
)
def test_the_arithmetic_in_effect_is_stated(options, matmul, other):
    arithmetic = NeuronX(**options)._arithmetic()
    assert (arithmetic.model_dtype, arithmetic.matmul_dtype, arithmetic.other_dtype) == (
        "fp32",
        matmul,
        other,
    )


def test_stubs_are_distinguished_from_the_libraries_without_an_import(tmp_path, monkeypatch):
    for module, distribution in (("torch_neuronx", "torch-neuronx"), ("neuronxcc", "neuronx-cc")):
        stub(tmp_path, module, distribution)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LibraryMissing) as missing:
        NeuronX().versions()
    outcome_text = "torch-neuronx 1.0 and neuronx-cc 1.0 here are PyPI's stub: pip install"
    assert str(missing.value).startswith(outcome_text)
    assert "WRONG PACKAGE" in str(missing.value)
    assert "--extra-index-url https://pip.repos.neuron.amazonaws.com" in str(missing.value)


@pytest.mark.usefixtures("fakes")
def test_versions_of_the_stand_in_say_that_it_is_one():
    versions = NeuronX().versions()
    assert set(versions) == {"torch-neuronx", "neuronx-cc"}
    assert all(version.endswith("+simulated") for version in versions.values())


def through_the_stand_in(test):
    return pytest.mark.real(pytest.mark.filterwarnings("ignore")(test))


@pytest.fixture
def workload(tmp_path, fakes):
    return small_workload(tmp_path, target="inf2")


@pytest.fixture
def failing(monkeypatch):
    return lambda how: monkeypatch.setenv("FAKE_NEURON_FAILURE", how)


@through_the_stand_in
def test_its_signature_is_the_documented_one(fakes):
    import torch_neuronx

    assert str(inspect.signature(torch_neuronx.trace)) == (
        "(func, example_inputs, *_, input_output_aliases={}, compiler_workdir=None, compiler_args=None, "
        "partitioner_config=None, inline_weights_to_neff=True, cpu_backend=False)"
    )


@through_the_stand_in
def test_it_answers_as_the_model_does_after_a_compilation(workload, tmp_path):
    import torch

    report = NeuronX().compile(workload, tmp_path)
    assert report.flags == tuple(ALWAYS)
    assert (report.subgraphs, report.neff_bytes, report.unsupported_ops) == (1, 1024, None)
    assert report.script_modules == 5  # as torch.jit nests the stand-in's: list, subgraph, model, two layers
    session = NeuronX().load(workload, tmp_path)
    assert torch.allclose(session.run(), workload.load_module()(*session.inputs), atol=1e-6)


@through_the_stand_in
def test_integers_that_this_version_of_the_compiler_cannot_keep_are_refused(workload, tmp_path):
    compiler = NeuronX(target="trn2", native_int64="enabled")
    with pytest.raises(Incompatible, match=r"need neuronx-cc 2\.27 or later, here is 2\.26"):
        compiler.compile(workload, tmp_path)


@through_the_stand_in
@pytest.mark.parametrize("compiler", [NeuronX(), Neuron()])
def test_no_thread_of_callers_records_gradients(compiler, workload, tmp_path):
    """As in scenario=throughput; what is left to the CPU would record them."""
    import neuron_pretence

    compiler.compile(workload, tmp_path)
    session = compiler.load(workload, tmp_path)
    neuron_pretence.GRADIENTS.clear()
    with ThreadPoolExecutor(1) as worker:
        worker.submit(session.run).result()
        worker.submit(session.call, *session.inputs).result()
    assert neuron_pretence.GRADIENTS == [False, False]


@through_the_stand_in
def test_arguments_are_given_by_name(workload, tmp_path, monkeypatch):
    import torch_neuronx

    given = {}

    def trace(*positional, **named):
        given.update(named, positional=len(positional))
        return original(*positional, **named)

    original = torch_neuronx.trace
    monkeypatch.setattr(torch_neuronx, "trace", trace)
    NeuronX().compile(workload, tmp_path)
    assert given.pop("positional") == 2
    assert given.pop("compiler_workdir")
    assert given == {
        "compiler_args": ALWAYS,
        "partitioner_config": None,
        "inline_weights_to_neff": True,
        "cpu_backend": True,
    }


@through_the_stand_in
def test_it_refuses_another_shape_and_another_type_as_the_device_does(workload, tmp_path):
    import torch

    NeuronX().compile(workload, tmp_path)
    call = NeuronX().load(workload, tmp_path).call
    for wrong, outcome_text in ((torch.rand(3, 4), "shape"), (torch.rand(2, 4).double(), "float32")):
        with pytest.raises(RuntimeError, match=outcome_text):
            call(wrong)


@through_the_stand_in
def test_dynamic_batches_are_taken_where_requested(workload, tmp_path):
    import torch

    compiler = NeuronX(dynamic_batch=True)
    compiler.compile(workload, tmp_path)
    assert compiler.load(workload, tmp_path).call(torch.rand(5, 4)).shape == (5, 3)


@through_the_stand_in
def test_weights_that_lie_apart_are_placed_on_the_core(workload, tmp_path, monkeypatch):
    import neuron_pretence
    import torch

    compiler = NeuronX(inline_weights=False)
    compiler.compile(workload, tmp_path)
    before, loaded = torch.jit.load(str(tmp_path / "model.pt")), torch.jit.load(str(tmp_path / "model.pt"))
    monkeypatch.setattr(torch.jit, "load", lambda _: loaded)
    compiler.load(workload, tmp_path)
    where = neuron_pretence.WEIGHTS
    assert [int(neuron_pretence.states(model)[0][where]) for model in (before, loaded)] == [0, 1]


@through_the_stand_in
def test_without_a_target_it_does_not_guess(workload, tmp_path):
    from dataclasses import replace

    with pytest.raises(CompileFailed, match=r"set compiler\.target"):
        NeuronX().compile(replace(workload, target=None), tmp_path)
    assert NeuronX(target="trn1").compile(replace(workload, target=None), tmp_path).flags[1] == "trn1"


@pytest.mark.parametrize(
    ("how", "kind", "raised", "names"),
    [
        ("NCC_EVRF001", UnsupportedOperator, "NCC_EVRF001", ("topk",)),
        ("NCC_EOOM001", OutOfDeviceMemory, "NCC_EOOM001", ()),
        ("NCC_EMOD025", CompileFailed, "NCC_EMOD025", ()),
        ("unsupported", UnsupportedOperator, "NCC_EVRF001", ("topk",)),
    ],
)
@through_the_stand_in
def test_failures_have_the_compilers_code(  # noqa: PLR0913, PLR0917
    workload, tmp_path, failing, how, kind, raised, names, capsys
):
    failing(how)
    with pytest.raises(kind) as failure:
        NeuronX().compile(workload, tmp_path)
    assert type(failure.value) is kind
    assert (failure.value.raised, failure.value.operators) == (raised, names)
    if how != "unsupported":
        assert "log-neuron-cc.txt\nCompilation started\n" in capsys.readouterr().err


@through_the_stand_in
def test_a_program_with_nothing_of_the_device_is_a_fallback(workload, tmp_path, failing):
    failing("fallback")
    with pytest.raises(Fallback, match="without a neuron:: operator"):
        NeuronX().compile(workload, tmp_path)


@through_the_stand_in
def test_what_the_partitioner_leaves_to_the_cpu_is_reported(workload, tmp_path, failing):
    failing("unsupported")
    report = NeuronX(partitioner=True).compile(workload, tmp_path)
    assert (report.subgraphs, report.ops_on_device_fraction) == (2, 6 / 7)
    assert report.unsupported_ops == ("aten::sort",)


@through_the_stand_in
def test_the_partitioner_gets_the_same_flags_for_its_subgraphs(workload, tmp_path, monkeypatch):
    import torch_neuronx

    configs = []

    class Kept(torch_neuronx.PartitionerConfig):
        def __init__(self, **named):
            configs.append(named)
            super().__init__(**named)

    monkeypatch.setattr(torch_neuronx, "PartitionerConfig", Kept)
    compiler = NeuronX(partitioner=True, support_threshold=0.8, ops_to_partition=["aten::log_softmax"])
    assert compiler.compile(workload, tmp_path).subgraphs == 2
    (config,) = configs
    assert config["trace_kwargs"].pop("compiler_workdir")
    assert config == {
        "trace_kwargs": {"compiler_args": ALWAYS, "cpu_backend": True},
        "model_support_percentage_threshold": 0.8,
        "min_subgraph_size": -1,
        "max_subgraph_count": -1,
        "ops_to_partition": {"aten::log_softmax"},
    }
    known = inspect.signature(torch_neuronx.PartitionerConfig.__mro__[1]).parameters
    assert set(config) <= set(known)  # it would swallow a name that it doesn't know


@through_the_stand_in
def test_too_many_subgraphs_are_the_partitioners_own_error(workload, tmp_path, failing):
    failing("unsupported")
    with pytest.raises(ValueError, match="exceeds the specified max subgraph count of 1"):
        NeuronX(partitioner=True, max_subgraph_count=1).compile(workload, tmp_path)


@through_the_stand_in
def test_analyze_states_operators_before_they_are_compiled(workload, tmp_path, failing):
    assert NeuronX(analyze=True).compile(workload, tmp_path).ops_on_device_fraction == 1.0
    failing("unsupported")
    report = NeuronX(analyze=True, partitioner=True).compile(workload, tmp_path)
    assert (report.ops_on_device_fraction, report.unsupported_ops) == (0.8571, ("aten::sort",))


@through_the_stand_in
def test_logical_cores_have_to_be_those_it_was_compiled_for(workload, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "2")
    with pytest.raises(Incompatible, match=r"compiler\.lnc=1.*NEURON_LOGICAL_NC_CONFIG=2"):
        NeuronX(lnc=1).load(workload, tmp_path)


@through_the_stand_in
def test_the_stand_in_refuses_flags_that_are_not_documented(fakes):
    import neuron_pretence

    for flags, outcome_text in (
        (["--auto-cast", "some"], "invalid choice"),
        (["--fast-math", "none"], "unrecognized"),
        (["--target", "inf2", "-lnc", "2"], "NCC_EARG001"),
    ):
        with pytest.raises(RuntimeError, match=outcome_text):
            neuron_pretence.neuronx_cc(flags, None)


@through_the_stand_in
def test_the_stand_in_needs_a_target_for_its_cpu_backend(workload):
    import torch
    import torch_neuronx

    with pytest.raises(ValueError, match="--target"):
        torch_neuronx.trace(workload.load_module(), torch.rand(2, 4), cpu_backend=True)
    with pytest.raises(TypeError):
        torch_neuronx.trace(workload.load_module(), torch.rand(2, 4), dynamic_batch_size=True)


@through_the_stand_in
def test_the_stand_in_warns_of_arguments_by_position(workload):
    import torch
    import torch_neuronx

    with pytest.warns(UserWarning, match="use keyword arguments"):
        torch_neuronx.trace(workload.load_module(), torch.rand(2, 4), {})


@through_the_stand_in
def test_a_stub_that_is_imported_all_the_same_is_a_missing_library(workload, tmp_path, monkeypatch):
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    stub(stubs, "torch_neuronx", "torch-neuronx")
    forget(monkeypatch, "torch_neuronx")
    monkeypatch.syspath_prepend(str(stubs))
    with pytest.raises(LibraryMissing, match=r"WRONG PACKAGE.*pip install torch-neuronx"):
        NeuronX().compile(workload, tmp_path)
