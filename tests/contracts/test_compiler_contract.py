"""What every compiler promises, whichever it is: one suite over the files of conf/compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any, get_args

import pytest

from benchmark.cache.manifest import Manifest
from benchmark.cell import cell_of
from benchmark.errors import LibraryMissing, RunFailure, WrongAnswer
from benchmark.execution.forkserver import inline
from benchmark.measurement import Measurement
from benchmark.paths import CachePaths
from benchmark.protocols import Compiler
from benchmark.records import Artifact, FastMath, Workload
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.measure import measure
from benchmark.stages.plan import plan
from benchmark.stages.verify import compare, judge
from tests.contracts.inductor_cache import cache_hits_and_misses
from tests.plugins import group

HARDWARE = os.environ.get("BENCHMARK_HARDWARE", "cpu")
"""Where real compilers are asked to run: `BENCHMARK_HARDWARE=cuda make test` on a host with a GPU."""
COMPILERS = group("compiler")
CASTS = get_args(FastMath)
MODELS = {"bert_tiny": ("none", "all"), "vit_tiny": ("none",)}
"""Models and how far their arithmetic may leave fp32. A sample: `make matrix` has every model under every
compiler."""
HARD = {
    "eager": ("t5_tiny",),
    "torchscript": ("detr_tiny",),
    "onnxruntime": ("beit_tiny", "pixart_tiny"),
    "openvino": ("beit_tiny", "t5_tiny", "timesformer_tiny", "mistral_tiny"),
}
"""Models that a compiler had trouble with, such as BEiT's position bias, and models of several parts."""
WRONG = {("openvino", "timesformer_tiny")}
"""Pairs whose compiled model answers wrongly: the check has to see it. OpenVINO 2026.4.1 is off by .05 of the
distance between two inputs' answers (torchscript 5e-8, onnxruntime 4e-7). Its fused attention is wrong where
TimeSformer has as many frames as heads; with its internal property SNIPPETS_MODE=DISABLE it is right."""
SLOW = {"aot_inductor": ("none",), "inductor": ("none",)}
"""Those that call a C++ compiler, half a minute each time, do with vit_tiny and these."""
OPTIONS = {
    "eager": ("dtype=bf16",),
    "torchscript": ("dtype=bf16", "fast_math=matmult"),
    "onnxruntime": ("quantization=int8", "quantization=int4")
    if HARDWARE == "cpu"
    else ("provider=tensorrt",),
}
"""Options beside fast_math that change what is computed or where, for bert_tiny."""
WORDS = {"fp32", "tf32", "bf16", "fp16", "int8", "mixed", "int4"}
READ_BY_TORCH = {"inductor"}
"""Torch's own compile cache is pickles, which torch reads by itself; it gets them from the artefact alone, of
whose files the manifest has the sha256."""
PICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class Made:
    """One workload, compiled twice and measured once."""

    cell: Any
    workload: Workload
    artifact: Artifact
    again: Artifact
    measured: Measurement


def combinations():
    for name, kind in COMPILERS.items():
        hardware = "simulated" if "simulated" in kind.runs_on else HARDWARE
        marks = () if hardware == "simulated" else (pytest.mark.real,)
        if hardware not in kind.runs_on:
            reason = f"{name} runs on {' or '.join(sorted(kind.runs_on))}: not on {HARDWARE}"
            marks = (*marks, pytest.mark.skip(reason=reason))
            yield pytest.param((name, hardware, "bert_tiny", "fast_math=none"), marks=marks, id=name)
            continue
        hard = dict.fromkeys(HARD.get(name, ()), ("none",))
        for model, casts in ({"vit_tiny": SLOW[name]} if name in SLOW else MODELS | hard).items():
            possible = [cast for cast in casts if kind(fast_math=cast).refuse(hardware) is None]
            others = OPTIONS.get(name, ()) if model == "bert_tiny" else ()
            for option in (*(f"fast_math={cast}" for cast in possible), *others):
                yield pytest.param(
                    (name, hardware, model, option), marks=marks, id=f"{name}-{model}-{option}"
                )


@pytest.fixture(scope="module", params=combinations())
def made(request, experiment, cache):
    name, hardware, model, option = request.param
    asked = experiment(
        f"hardware={hardware}",
        f"model={model}",
        f"compiler={name}",
        f"compiler.{option}",
        *("seq_len=32", "input_length=16", "output_length=4", "steps=2"),
    )
    planned, *_ = plan([asked], lambda _: {}).runs
    if planned.fate == "unavailable":
        pytest.skip(planned.reason)
    call = inline if asked.hardware.simulated else request.getfixturevalue("in_a_child")
    cell = planned.cell
    workload = build(cell, planned.environment, cache, call)
    artifact = compile_(cell, workload, planned.environment, cache, call)
    again = compile_(cell, workload, planned.environment, cache, call)
    measured = measure(cell, workload, artifact, call)
    return Made(cell=cell, workload=workload, artifact=artifact, again=again, measured=measured)


def test_a_compiled_model_answers_as_the_reference_does(made):
    quality, e = compare(made.workload, made.measured), made.cell.experiment
    if (e.compiler.name, e.model.name) in WRONG:
        with pytest.raises(WrongAnswer):
            judge(made.cell, quality)
        return
    judge(made.cell, quality)
    assert quality.cosine is not None or made.cell.experiment.hardware.simulated


def test_the_arithmetic_in_effect_is_stated(made):
    """A cast that this CPU lacks may have no effect, and the row says so; the type of a model always has."""
    arithmetic, compiler = made.measured.arithmetic, made.cell.experiment.compiler
    stated = {arithmetic.model_dtype, arithmetic.matmul_dtype, arithmetic.other_dtype}
    assert stated <= WORDS
    assert arithmetic.autocast == compiler.fast_math
    if compiler.tolerance == "none":
        assert stated == {"fp32"}
    if getattr(compiler, "dtype", "fp32") != "fp32":
        assert stated == {compiler.dtype}
    integers = {"int8", "int4"}
    assert stated & integers == {compiler.tolerance} & integers


def test_an_artefact_has_files_where_one_is_promised(made):
    assert (made.artifact.folder is not None) == made.cell.experiment.compiler.leaves_artifact
    assert made.artifact.folder is None or made.artifact.artifact_bytes > 0


def test_measuring_leaves_the_artefact_as_it_was(made):
    if made.artifact.folder is not None:
        found = {path for path in made.artifact.folder.rglob("*") if path.is_file()}
        manifest = CachePaths(root=made.artifact.folder.parent).manifest(made.artifact.folder)
        listed = Manifest.read(manifest).files
        assert found == {manifest, *(made.artifact.folder / name for name in listed)}
        assert {name: (made.artifact.folder / name).stat().st_size for name in listed} == {
            name: file.bytes for name, file in listed.items()
        }


def test_nothing_in_an_artefact_would_be_unpickled(made):
    """Torch's own containers are read by its restricted loader; a bare pickle runs whatever it says."""
    if made.cell.experiment.compiler.name in READ_BY_TORCH:
        return
    for path in made.artifact.folder.rglob("*") if made.artifact.folder else ():
        if path.is_file():
            assert path.suffix not in {".pkl", ".pickle", ".joblib"}
            with path.open("rb") as file:
                assert file.read(2) not in PICKLED, path.name


@pytest.mark.parametrize("name", COMPILERS)
@pytest.mark.parametrize("cast", CASTS)
def test_a_cast_that_cannot_be_had_is_refused_with_advice_and_true_fp32_never(name, cast):
    for kind in COMPILERS[name].runs_on:
        refusal = COMPILERS[name](fast_math=cast).refuse(kind)
        if refusal is not None:
            assert cast != "none"
            assert f"fast_math={cast}" in refusal
            assert "use " in refusal


def test_the_second_time_the_artefact_comes_from_the_cache(made):
    if made.cell.experiment.compiler.leaves_artifact:
        assert made.again.cache_hit
        assert replace(made.again, cache_hit=made.artifact.cache_hit) == made.artifact


def test_every_call_was_timed(made):
    nanoseconds = made.measured.timing.nanoseconds
    assert 2 <= len(nanoseconds) <= 3
    assert min(nanoseconds) > 0


@pytest.mark.real
def test_aot_inductor_refuses_inputs_of_another_shape(experiment, cache, in_a_child):
    """By default its static program answers them, in the shape it was compiled for."""
    words = ("model=vit_tiny", "compiler=aot_inductor")
    planned, *_ = plan([experiment(*words)], lambda _: {}).runs
    if planned.fate != "run":
        pytest.skip(planned.reason)
    workload = build(planned.cell, planned.environment, cache, in_a_child)
    artifact = compile_(planned.cell, workload, planned.environment, cache, in_a_child)
    two = cell_of(experiment(*words, "batch=2"))
    with pytest.raises(RunFailure, match=r"(?i)shape|dim|size"):
        measure(two, build(two, planned.environment, cache, in_a_child), artifact, in_a_child)


@pytest.mark.real
def test_inductor_finds_its_code_in_the_artefact(experiment, cache, in_a_child):
    planned, *_ = plan([experiment("model=vit_tiny", "compiler=inductor")], lambda _: {}).runs
    if planned.fate != "run":
        pytest.skip(planned.reason)
    workload = build(planned.cell, planned.environment, cache, in_a_child)
    artifact = compile_(planned.cell, workload, planned.environment, cache, in_a_child)
    assert (artifact.report.subgraphs, artifact.report.graph_breaks) == (1, 0)
    compiler = planned.cell.experiment.compiler
    assert in_a_child(cache_hits_and_misses, compiler, workload, artifact.folder / "model") == (1, 0)


TELL_VERSIONS = """
import json, sys
from importlib import import_module
from benchmark.errors import LibraryMissing

message = {}
for name in sys.argv[1:]:
    module, _, kind = name.rpartition(".")
    before = set(sys.modules)
    try:
        versions = dict(getattr(import_module(module), kind)().versions())
    except LibraryMissing as error:
        versions = str(error)
    message[name] = [versions, sorted({module.partition(".")[0] for module in set(sys.modules) - before})]
print(json.dumps(message))
"""


@pytest.fixture(scope="module")
def message():
    names = [f"{kind.__module__}.{kind.__name__}" for kind in COMPILERS.values()]
    ran = subprocess.run(
        [sys.executable, "-c", TELL_VERSIONS, *names], capture_output=True, timeout=60, check=True
    )
    return dict(zip(COMPILERS, json.loads(ran.stdout).values(), strict=True))


@pytest.mark.parametrize("name", COMPILERS)
def test_versions_are_reported_without_importing_the_library(message, name):
    versions, imported = message[name]
    assert not {
        "torch",
        "transformers",
        "onnxruntime",
        "openvino",
        "torch_neuronx",
        "torch_neuron",
        "torch_tensorrt",
    } & set(imported)
    if isinstance(versions, dict):
        assert versions
        assert all(versions.values())
    else:
        assert "install" in versions


@pytest.mark.parametrize("name", COMPILERS)
def test_a_compiler_fits_its_seam(name):
    compiler = COMPILERS[name]()
    assert isinstance(compiler, Compiler)
    assert compiler.fast_math == "none"
    assert compiler.tolerance == ("matmult" if "neuroncore-v1" in compiler.runs_on else "none")  # bf16 always
    assert {compiler.refuse(kind) for kind in compiler.runs_on} == {None}


def test_a_missing_library_is_answered_with_its_command():
    missing = [name for name, kind in COMPILERS.items() if not _installed(kind)]
    if not missing:
        pytest.skip("every library of every compiler is installed here")
    for name in missing:
        with pytest.raises(LibraryMissing, match=r"pip install|apt-get install"):
            COMPILERS[name]().versions()


def _installed(kind):
    try:
        kind().versions()
    except LibraryMissing:
        return False
    return True
