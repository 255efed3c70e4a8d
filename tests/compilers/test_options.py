"""Options that can't work together are refused early; others reach the library as it spells them."""

from __future__ import annotations

from importlib import metadata

import pytest

from benchmark.compilers.inductor import Inductor
from benchmark.compilers.onnxruntime import OnnxRuntime
from benchmark.compilers.openvino import OpenVino
from benchmark.compilers.tensorrt import TensorRt
from benchmark.errors import LibraryMissing


@pytest.mark.parametrize(
    ("mode", "instead"),
    [("reduce-overhead", "default"), ("max-autotune", "max-autotune-no-cudagraphs")],
)
def test_inductor_refuses_cuda_graphs_on_a_cpu(mode, instead):
    assert Inductor(mode=mode).refuse("cpu") == (
        f"mode={mode} replays CUDA graphs, a CPU has none: use mode={instead}"
    )
    assert Inductor(mode=mode).refuse("cuda") is None
    assert Inductor(mode=instead).refuse("cpu") is None


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"fast_math": "all"}, "use fast_math=none, or quantization=int8"),
        ({"inter_op_threads": 4}, "use execution_mode=parallel, or inter_op_threads=null"),
        ({"inter_op_threads": 1, "execution_mode": "parallel"}, "use inter_op_threads=2 or more, or null"),
    ],
)
def test_onnxruntime_refuses_what_has_no_effect(options, advice):
    refusal = OnnxRuntime(**options).refuse("cpu")
    key, value = next(iter(options.items()))
    assert refusal.startswith(f"{key}={value} ")
    assert refusal.endswith(advice)


def test_onnxruntime_takes_what_has():
    assert OnnxRuntime(execution_mode="parallel").refuse("cpu") is None
    assert OnnxRuntime(execution_mode="parallel", inter_op_threads=2).refuse("cpu") is None
    assert OnnxRuntime(inter_op_threads=1).refuse("cpu") is None


def test_onnxruntime_in_int8_is_held_to_int8():
    assert OnnxRuntime(quantization="int8").tolerance == "int8"
    assert OnnxRuntime().tolerance == "none"


def test_openvino_is_told_what_was_chosen_and_nothing_else():
    assert OpenVino().settings(None) == {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    chosen = OpenVino(
        fast_math="all",
        performance_hint="cumulative_throughput",
        num_streams=2,
        enable_hyper_threading=False,
        enable_cpu_pinning=True,
    )
    assert chosen.settings(4) == {
        "INFERENCE_PRECISION_HINT": "bf16",
        "PERFORMANCE_HINT": "CUMULATIVE_THROUGHPUT",
        "INFERENCE_NUM_THREADS": 4,
        "NUM_STREAMS": 2,
        "ENABLE_HYPER_THREADING": False,
        "ENABLE_CPU_PINNING": True,
    }


def test_tensorrt_in_fp32_has_no_tf32_and_casts_nothing():
    assert TensorRt().options() == {
        "disable_tf32": True,
        "optimization_level": 3,
        "workspace_size": 0,
        "min_block_size": 5,
        "require_full_compilation": False,
    }


@pytest.mark.parametrize(
    ("fast_math", "tf32_off", "casts"),
    [("none", True, False), ("matmult", False, False), ("all", False, True)],
)
def test_tensorrt_casts_as_far_as_it_is_asked_to(fast_math, tf32_off, casts):
    options = TensorRt(fast_math=fast_math, workspace_gib=0.5).options()
    assert options["disable_tf32"] == tf32_off
    assert options.get("autocast_low_precision_type") == ("float16" if casts else None)
    assert options.get("enable_autocast", False) == casts
    assert options["workspace_size"] == 2**29


def test_tensorrt_tells_its_versions_where_it_is_installed(monkeypatch):
    installed = {"torch-tensorrt": "2.13.0", "tensorrt": "11.4.0", "torch": "2.13.0"}
    monkeypatch.setattr(metadata, "version", installed.__getitem__)
    assert TensorRt().versions() == installed


def test_tensorrt_says_how_to_install_it_where_it_is_not(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(
        LibraryMissing, match=r"torch-tensorrt is not installed: pip install -e '\.\[tensorrt\]'"
    ):
        TensorRt().versions()
