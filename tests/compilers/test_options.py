"""Options that can't work together are refused early; others reach the library as it spells them."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace

import pytest

from benchmark.compilers.inductor import Inductor
from benchmark.compilers.onnxruntime import OnnxRuntime
from benchmark.compilers.openvino import OpenVino
from benchmark.compilers.tensorrt import TensorRt
from benchmark.errors import LibraryMissing
from benchmark.host import machine


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fast_math": "all"}, "use fast_math=matmult for tf32, or provider=tensorrt for fp16"),
        ({"fast_math": "all", "provider": "cuda"}, "or provider=tensorrt for fp16"),
        ({"provider": "cpu"}, "provider=cpu is for hardware=cpu: choose that, or use provider=auto"),
        ({"quantization": "int8"}, "use quantization=none"),
        ({"execution_mode": "parallel"}, "use execution_mode=sequential"),
        ({"inter_op_threads": 4}, "use execution_mode=parallel, or inter_op_threads=null"),
    ],
)
def test_onnxruntime_refuses_on_a_gpu_what_its_providers_there_lack(options, message):
    assert OnnxRuntime(**options).refuse("cuda").endswith(message)


@pytest.mark.parametrize(
    ("provider", "casts"),
    [
        ("auto", ("none", "matmult")),
        ("cuda", ("none", "matmult")),
        ("tensorrt", ("none", "matmult", "all")),
    ],
)
def test_onnxruntime_casts_on_a_gpu_as_far_as_its_provider_can(provider, casts):
    possible = [
        cast
        for cast in ("none", "matmult", "all")
        if OnnxRuntime(provider=provider, fast_math=cast).refuse("cuda") is None
    ]
    assert tuple(possible) == casts


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_onnxruntime_has_no_providers_of_a_gpu_on_a_cpu(provider):
    assert OnnxRuntime(provider=provider).refuse("cpu") == (
        f"provider={provider} is for hardware=cuda: choose that, or use provider=auto"
    )


RUNTIMES = {"onnx": "1", "onnxscript": "2", "torch": "3"}


def installed(monkeypatch, **versions):
    """Make these distributions all that there is; their names have hyphens for underscores."""
    there = {name.replace("_", "-"): version for name, version in versions.items()}

    def version(name):
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(metadata, "version", version)
    return there


def test_onnxruntime_takes_either_runtime_unless_a_gpu_is_named(monkeypatch):
    there = installed(monkeypatch, onnxruntime_gpu="1.31.0", **RUNTIMES)
    assert OnnxRuntime().versions() == there
    assert OnnxRuntime(provider="cuda").versions() == there
    there = installed(monkeypatch, onnxruntime="1.31.1", **RUNTIMES)
    assert OnnxRuntime().versions() == there
    for provider in ("cuda", "tensorrt"):
        with pytest.raises(LibraryMissing, match=r"onnxruntime-gpu is not installed: .*pip install"):
            OnnxRuntime(provider=provider).versions()
    installed(monkeypatch, **RUNTIMES)
    with pytest.raises(LibraryMissing, match=r"^onnxruntime is not installed: pip install"):
        OnnxRuntime().versions()


def test_onnxruntime_states_which_tensorrt_builds_its_engines(monkeypatch):
    there = installed(monkeypatch, onnxruntime_gpu="1.31.0", tensorrt_cu13="11.1.0", **RUNTIMES)
    assert OnnxRuntime(provider="tensorrt").versions() == there
    assert "tensorrt-cu13" not in OnnxRuntime(provider="cuda").versions()


def test_onnxruntime_takes_what_has():
    assert OnnxRuntime(execution_mode="parallel").refuse("cpu") is None
    assert OnnxRuntime(execution_mode="parallel", inter_op_threads=2).refuse("cpu") is None
    assert OnnxRuntime(inter_op_threads=1).refuse("cpu") is None


def test_onnxruntime_in_int8_is_held_to_int8():
    assert OnnxRuntime(quantization="int8").tolerance == "int8"
    assert OnnxRuntime().tolerance == "none"


def test_openvino_is_reported_what_was_chosen_and_nothing_else():
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


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 4)  # noqa: ARG005 - as psutil names it
    monkeypatch.setattr(machine, "usable_cores", lambda: 4)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(("threads", "given"), [(4, None), (3, 3), (None, None)])
def test_openvino_counts_its_threads_itself_where_they_are_one_for_each_core(threads, given):
    assert OpenVino().settings(threads).get("INFERENCE_NUM_THREADS") == given


@pytest.mark.real
@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(("threads", "given"), [(4, 0), (3, 3), (None, 0)])
def test_onnxruntime_places_its_threads_itself_where_they_are_one_for_each_core(threads, given):
    pytest.importorskip("onnxruntime")
    options = OnnxRuntime()._options(SimpleNamespace(threads=threads), "enable_all")
    assert options.intra_op_num_threads == given


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
def test_tensorrt_casts_what_fast_math_says(fast_math, tf32_off, casts):
    options = TensorRt(fast_math=fast_math, workspace_gib=0.5).options()
    assert options["disable_tf32"] == tf32_off
    assert options.get("autocast_low_precision_type") == ("float16" if casts else None)
    assert options.get("enable_autocast", False) == casts
    assert options["workspace_size"] == 2**29


def test_tensorrt_casts_to_bf16_where_that_is_chosen():
    options = TensorRt(fast_math="all", autocast_dtype="bf16").options()
    assert options["autocast_low_precision_type"] == "bfloat16"
    assert TensorRt(fast_math="all", autocast_dtype="bf16").refuse("cuda") is None
    assert TensorRt(autocast_dtype="bf16").refuse("cuda") == (
        "autocast_dtype=bf16 has no effect with fast_math=none: use fast_math=all, or autocast_dtype=fp16"
    )


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_cu12", "tensorrt_cu13"])
def test_tensorrt_states_its_versions_by_whichever_name_it_is_installed(monkeypatch, name):
    there = installed(monkeypatch, torch_tensorrt="2.14.0", torch="2.14.0", **{name: "11.1.0"})
    assert TensorRt().versions() == there


def test_tensorrt_says_how_to_install_it_where_it_is_not(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(
        LibraryMissing, match=r"torch-tensorrt is not installed: pip install -e '\.\[tensorrt\]'"
    ):
        TensorRt().versions()
