"""The core uses every answer of a plug-in that it doesn't know: a compiler and a device of one's own."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from typing import ClassVar

import pytest

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import cell_of
from benchmark.compilers.simulated import Simulated
from benchmark.devices.cpu import Cpu
from benchmark.devices.simulated import SimulatedDevice
from benchmark.protocols import Compiler, CompilerDefaults, Device
from benchmark.records import frozen
from benchmark.stages.build import build
from benchmark.stages.peak import peak
from benchmark.stages.plan import plan, refuse
from benchmark.timing.roofline import Peak
from tests.stages.test_row import START, Attempt, row


@frozen
class OnlyVision(Simulated):
    """Takes image models, each split over some cores."""

    pipeline_cores: int | None = 1

    def refuse_model(self, model, task):
        return None if "image" in task else f"model={model.name}: {task} is no vision task"


@frozen
class Accelerator(Cpu):
    """A device that torch computes on under another name than its own."""

    kind: ClassVar[str] = "cpu"
    torch_device: ClassVar[str | None] = "cuda"


@frozen
class WithoutKernels(Cpu):
    """A device that torch has no kernels for."""

    torch_device: ClassVar[None] = None


class Child:
    """Stands for the child process: notes the torch device, and leaves the files that a child leaves."""

    def __call__(self, function, *arguments):
        *_, folder = arguments
        if function.__name__ == "_measure":
            return Peak(flops_per_s={"fp32": 1e9}, copy_bytes_per_s=((1 << 20, 1e9),))
        (folder / "model.safetensors").write_bytes(b"")
        counts = dict.fromkeys(("calls", "parameters", "flops_per_call", "weight_bytes"), 1)
        return {
            "label": "",
            "name": "model",
            "input_names": [],
            "input_shapes": {},
            "input_dtypes": {},
        } | counts


@pytest.fixture
def cache(tmp_path):
    opened = CompileCache(tmp_path / "cache")
    opened.prepare()
    return opened


def row_of(experiment):
    (planned,) = plan([experiment], lambda _: {}).runs
    return row(Attempt(planned=planned, started_at=START, finished_at=START)).values


def test_the_defaults_take_every_model_and_have_no_pipeline(simulated):
    assert isinstance(Simulated(), CompilerDefaults)
    assert isinstance(Simulated(), Compiler)
    assert Simulated().refuse_model(simulated().model, "text-classification") is None
    assert row_of(simulated())["pipeline_cores"] is None


def test_a_model_that_the_compiler_refuses_is_incompatible(simulated):
    experiment = replace(simulated("model=bert_tiny"), compiler=OnlyVision())
    assert refuse(cell_of(experiment)) == (
        "compiler=simulated: model=bert_tiny: text-classification is no vision task"
    )
    assert refuse(cell_of(replace(simulated("model=vit_tiny"), compiler=OnlyVision()))) is None


@pytest.mark.parametrize("cores", [None, 1])
def test_pipeline_cores_go_into_the_row(simulated, cores):
    experiment = replace(simulated("model=vit_tiny"), compiler=OnlyVision(pipeline_cores=cores))
    assert refuse(cell_of(experiment)) is None
    assert row_of(experiment)["pipeline_cores"] == cores


def test_a_pipeline_needs_its_cores(simulated):
    experiment = replace(simulated("model=vit_tiny"), compiler=OnlyVision(pipeline_cores=3))
    assert refuse(cell_of(experiment)) == "compiler.pipeline_cores=3 needs hardware.cores=3, not 1"


@pytest.mark.parametrize(("device", "expected"), [(Accelerator(), "cuda"), (WithoutKernels(), "cpu")])
def test_a_workload_is_made_for_the_torch_device_of_its_device(compose, cache, monkeypatch, device, expected):
    monkeypatch.setattr(metadata, "version", lambda _: "1.0")
    (run,) = plan([replace(compose(), hardware=device)], lambda _: {}).runs
    assert build(run.cell, run.environment, cache, Child()).torch_device == expected


@pytest.mark.parametrize(("device", "has_peak"), [(Accelerator(), True), (WithoutKernels(), False)])
def test_a_peak_is_measured_where_torch_has_kernels(compose, cache, monkeypatch, device, has_peak):
    monkeypatch.setattr(metadata, "version", lambda _: "1.0")
    (run,) = plan([replace(compose(), hardware=device)], lambda _: {}).runs
    assert (peak(device, run.environment, cache, Child()) is not None) == has_peak


def test_a_simulated_device_fits_its_seam_and_has_no_torch_device():
    assert isinstance(SimulatedDevice(), Device)
    assert SimulatedDevice().torch_device is None
