"""What compilers do on a GPU, against stand-ins for the card and what needs one: no GPU was at hand."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.compilers.inductor import Inductor
from benchmark.compilers.onnxruntime import OnnxRuntime
from benchmark.compilers.tensorrt import TensorRt
from benchmark.errors import Fallback, LibraryMissing
from benchmark.records import Arithmetic, Shape, Workload

pytestmark = pytest.mark.real
torch = pytest.importorskip("torch")

from benchmark.models import networks, numerics, onnx_export  # noqa: E402 - imports torch

CUDA, TRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
TOLD = Arithmetic(model_dtype="fp32", matmul_dtype="tf32", other_dtype="fp32", autocast="matmult")


class Network(torch.nn.Module):
    """One input is not used, one is of integers, and there are two answers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x, unused, mask):
        del unused
        return self.linear(x) * mask[:, :3].float(), mask.sum(1)


@pytest.fixture
def workload(tmp_path):
    from safetensors.torch import save_file

    inputs = {"x": torch.rand(2, 4), "unused": torch.rand(2), "mask": torch.ones(2, 4, dtype=torch.int64)}
    save_file(inputs, tmp_path / "inputs.safetensors")
    return Workload(
        load_module=lambda: Network().eval(),
        input_names=tuple(inputs),
        input_shapes={name: tuple(tensor.shape) for name, tensor in inputs.items()},
        input_dtypes={name: str(tensor.dtype) for name, tensor in inputs.items()},
        reference=tmp_path,
        weights_digest="0",
        parameters=15,
        flops_per_call=None,
        weight_bytes=None,
        padding_share=None,
        shape=Shape(batch_size=2),
        threads=None,
        torch_device="cuda",
    )


@pytest.fixture
def card(monkeypatch):
    """Torch's side of a card whose memory is the host's and whose streams are numbers."""
    card = SimpleNamespace(stream=SimpleNamespace(cuda_stream=0), settled=[], forbidden=[])

    def configure_process(fast_math, threads, device, **_):
        card.settled.append((fast_math, device))
        card.forbidden.append(os.environ.get("NVIDIA_TF32_OVERRIDE"))  # cuBLAS reads it once
        return TOLD

    def set_stream(stream):
        card.stream = stream

    monkeypatch.setattr(numerics, "configure", configure_process)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: card.stream)
    monkeypatch.setattr(torch.cuda, "set_stream", set_stream)
    monkeypatch.setattr(torch.cuda, "Stream", type("Stream", (), {"cuda_stream": 77}))
    read = networks.read_inputs
    monkeypatch.setattr(networks, "read_inputs", lambda workload: read(replace(workload, torch_device="cpu")))
    return card


class Asked(list):
    """Sessions that were opened; `left` are operators for which the card has no kernel."""


@pytest.fixture
def sessions(monkeypatch):
    """ONNX Runtime's real sessions, its CPU's: what was asked of them is noted, and GPUs are made up."""
    onnxruntime = pytest.importorskip("onnxruntime")
    real, asked, left = onnxruntime.InferenceSession, Asked(), set()
    asked.left = left

    def session(graph, options, providers, **more):
        names = [name for name, _ in providers]
        asked.append(SimpleNamespace(graph=graph, options=options, providers=providers, **more))
        strict = onnxruntime.SessionOptions()
        for name in ("optimized_model_filepath", "enable_profiling", "profile_file_prefix"):
            if getattr(options, name):
                setattr(strict, name, getattr(options, name))
        if TRT in names:
            engines = providers[0][1]["trt_engine_cache_path"]
            Path(engines).mkdir(exist_ok=True)
            Path(engines, "part_0.engine").touch()
        opened = real(graph, strict, providers=["CPUExecutionProvider"])
        monkeypatch.setattr(opened, "get_providers", lambda: [*names, "CPUExecutionProvider"])
        end = opened.end_profiling

        def end_profiling():
            """Of the operators that this card has; it leaves those of `left` to the CPU."""
            file = Path(end())
            events = json.loads(file.read_text())
            for node in (event["args"] for event in events if "op_name" in event.get("args", {})):
                node["provider"] = "CPUExecutionProvider" if node["op_name"] in left else names[0]
            file.write_text(json.dumps(events))
            return str(file)

        monkeypatch.setattr(opened, "end_profiling", end_profiling)
        return opened

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TRT, CUDA, "CPUExecutionProvider"])
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    return asked


@pytest.fixture
def artefact(tmp_path):
    (tmp_path / "artefact").mkdir()
    return tmp_path / "artefact"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("card")
def test_onnxruntime_binds_torchs_tensors_and_answers_as_the_module_does(workload, sessions, artefact):
    compiler = OnnxRuntime(fast_math="matmult")
    report = compiler.compile(workload, artefact)
    assert (report.ops_on_device_fraction, report.subgraphs) == (1.0, 1)
    assert "use_tf32=1" in report.flags
    session = compiler.load(workload, artefact)
    wanted = Network()(*session.inputs)
    for answers in (session.run(), session.call(*session.inputs)):
        for answer, exact in zip(answers, wanted, strict=True):
            torch.testing.assert_close(answer, exact)
    assert session.arithmetic == TOLD
    built, loaded = sessions
    assert built.providers == [(CUDA, {"device_id": "0", "use_tf32": "1"})]
    assert loaded.providers == [(CUDA, {"device_id": "0", "user_compute_stream": "77", "use_tf32": "1"})]
    assert [asked.enable_fallback for asked in sessions] == [0, 0]
    assert not loaded.options.enable_profiling


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("card")
def test_operators_that_the_cpu_computes_are_a_fallback(workload, sessions, artefact):
    sessions.left.add("Mul")
    with pytest.raises(Fallback, match=f"onnxruntime leaves Mul to the CPU: {CUDA} has no kernel"):
        OnnxRuntime().compile(workload, artefact)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("card")
def test_operators_that_compute_shapes_on_the_cpu_are_none(workload, sessions, artefact):
    """Sums of integers for each of two items, as small as a shape."""
    sessions.left.add("ReduceSum")
    assert OnnxRuntime().compile(workload, artefact).ops_on_device_fraction == 1.0


@pytest.mark.filterwarnings("ignore")
def test_each_caller_has_a_session_on_its_own_stream(workload, card, sessions, artefact, monkeypatch):
    compiler = OnnxRuntime()
    compiler.compile(workload, artefact)
    session = compiler.load(workload, artefact)
    expected = session.run()[0].clone()

    def of_another_thread():
        monkeypatch.setattr(card, "stream", SimpleNamespace(cuda_stream=99))  # as its Timer sets it
        return [session.run()[0] for _ in range(2)]

    with ThreadPoolExecutor(1) as worker:
        first, again = worker.submit(of_another_thread).result()
    assert torch.equal(first, expected)
    assert torch.equal(again, expected)
    streams = [asked.providers[0][1].get("user_compute_stream") for asked in sessions]
    assert streams == [None, "77", "99"]


@pytest.mark.filterwarnings("ignore")
def test_tf32_is_forbidden_before_the_first_product_on_the_card(workload, sessions, artefact, card):
    compiler = OnnxRuntime(provider="tensorrt")
    compiler.compile(workload, artefact)
    os.environ.pop("NVIDIA_TF32_OVERRIDE")
    compiler.load(workload, artefact)
    assert card.forbidden == ["0"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("card", "sessions")
def test_onnxruntime_reads_inputs_where_they_lie_and_keeps_answers_apart(workload, artefact):
    compiler = OnnxRuntime()
    compiler.compile(workload, artefact)
    session = compiler.load(workload, artefact)
    before = [answer.clone() for answer in session.run()]
    kept = session.call(*session.inputs)
    session.inputs[0].zero_()
    assert not torch.equal(session.run()[0], before[0])
    assert torch.equal(kept[0], before[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("card")
def test_parts_of_a_model_share_one_stream(workload, card, sessions, artefact):
    compiler = OnnxRuntime()
    compiler.compile(workload, artefact)
    compiler.load(workload, artefact)
    card.stream.cuda_stream = 78  # were it made anew it would be 77 again
    compiler.load(workload, artefact)
    assert [asked.providers[0][1].get("user_compute_stream") for asked in sessions] == [None, "77", "78"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("fast_math", ["none", "matmult", "all"])
def test_tensorrts_engines_are_built_by_compiling_and_found_by_loading(
    workload, sessions, artefact, fast_math
):
    compiler = OnnxRuntime(provider="tensorrt", fast_math=fast_math)
    report = compiler.compile(workload, artefact)
    assert report.subgraphs == 1
    assert os.environ.get("NVIDIA_TF32_OVERRIDE") == ("0" if fast_math == "none" else None)
    files = {path: path.read_bytes() for path in artefact.rglob("*") if path.is_file()}
    assert {path.name for path in files} >= {"model.onnx", "part_0.engine"}
    compiler.load(workload, artefact)
    assert {path: path.read_bytes() for path in artefact.rglob("*") if path.is_file()} == files
    built, loaded = sessions
    assert [name for name, _ in built.providers] == [name for name, _ in loaded.providers] == [TRT, CUDA]
    assert built.providers[0][1] == {
        "device_id": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(artefact / "engines"),
        "trt_fp16_enable": "1" if fast_math == "all" else "0",
    }
    assert built.options.graph_optimization_level == loaded.options.graph_optimization_level
    assert loaded.providers[0][1]["user_compute_stream"] == loaded.providers[1][1]["user_compute_stream"]


@pytest.mark.filterwarnings("ignore")
def test_a_build_for_cpus_is_answered_with_the_command(workload, artefact):
    pytest.importorskip("onnxruntime")
    with pytest.raises(LibraryMissing, match=rf"has no {CUDA}: .*pip install onnxruntime-gpu"):
        OnnxRuntime().compile(workload, artefact)


@pytest.mark.filterwarnings("ignore")
def test_what_onnxruntime_would_leave_to_the_cpu_is_a_fallback(monkeypatch, workload, artefact):
    """The real library without CUDA: it would take the CPU for all of the graph, and does not say so."""
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    with pytest.raises(Fallback, match=rf"to the CPU: {CUDA} lacks a library.*pip install onnxruntime-gpu"):
        OnnxRuntime().compile(workload, artefact)


@pytest.mark.usefixtures("sessions")
def test_a_provider_that_did_not_start_is_a_fallback(monkeypatch, workload, artefact):
    onnxruntime = sys.modules["onnxruntime"]
    absent = SimpleNamespace(get_providers=lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: absent)
    monkeypatch.setattr(onnx_export, "export", lambda _, file: file.touch())
    with pytest.raises(Fallback, match=f"{TRT} lacks a library"):
        OnnxRuntime(provider="tensorrt").compile(workload, artefact)


@pytest.mark.usefixtures("sessions")
def test_a_graph_of_which_tensorrt_takes_nothing_is_a_fallback(monkeypatch, workload, artefact):
    onnxruntime = sys.modules["onnxruntime"]
    idle = SimpleNamespace(get_providers=lambda: [TRT, CUDA])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: idle)
    monkeypatch.setattr(onnx_export, "export", lambda _, file: file.touch())
    with pytest.raises(Fallback, match="TensorRT supports no part of the graph: use provider=cuda"):
        OnnxRuntime(provider="tensorrt").compile(workload, artefact)


@pytest.fixture
def library(monkeypatch):
    """Torch-TensorRT that makes as many engines as it is asked to; its arguments are those of 2.14."""
    library = SimpleNamespace(engines=2, options=None)

    class Converted(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            for number in range(library.engines):
                self.add_module(f"_run_on_acc_{number}", torch.nn.Identity())
            self.add_module("_run_on_gpu_9", module)

    def of_dynamo(exported_program, *, attn_bias_is_causal=True):
        """The option's default is that of 2.14."""

    def compile_(  # noqa: PLR0913 - as documented
        module,
        ir="default",
        *,
        inputs,
        disable_tf32,
        optimization_level,
        workspace_size,
        min_block_size,
        require_full_compilation,
        timing_cache_path,
        enable_autocast=False,
        autocast_low_precision_type=None,
        attn_bias_is_causal=True,
    ):
        library.options = dict(locals())
        return Converted(module)

    def save(module, file_path, *, output_format, arg_inputs):
        assert output_format == "exported_program"
        torch.save(module._run_on_gpu_9.state_dict(), file_path)

    def load(file_path):
        network = Network()
        network.load_state_dict(torch.load(file_path))
        return SimpleNamespace(module=lambda: network)

    library.compile, library.save, library.load = compile_, save, load
    library.dynamo = SimpleNamespace(compile=of_dynamo)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", library)
    return library


@pytest.mark.usefixtures("card")
def test_tensorrt_states_its_engines_and_answers(workload, card, library, artefact):
    workload = replace(workload, torch_device="cpu")
    compiler = TensorRt(fast_math="all", autocast_dtype="bf16")
    report = compiler.compile(workload, artefact)
    assert report.subgraphs == 2
    assert library.options["autocast_low_precision_type"] is torch.bfloat16
    assert library.options["attn_bias_is_causal"] is False
    assert not Path(library.options["timing_cache_path"]).parent.exists()
    session = compiler.load(workload, artefact)
    torch.testing.assert_close(session.run()[0], Network()(*session.inputs)[0])
    assert session.arithmetic == TOLD
    assert {asked for asked, _ in card.settled} == {"all"}


@pytest.mark.usefixtures("card")
def test_a_model_of_which_tensorrt_makes_no_engine_is_a_fallback(workload, library, artefact):
    library.engines = 0
    with pytest.raises(Fallback, match=r"made no engine.*lower compiler.min_block_size=5"):
        TensorRt().compile(replace(workload, torch_device="cpu"), artefact)


@pytest.mark.parametrize(("mode", "keeps"), [("default", False), ("reduce-overhead", True)])
def test_answers_of_replayed_cuda_graphs_are_copied_for_who_calls_again(
    monkeypatch, workload, card, mode, keeps
):
    """A stand-in for torch.compile, whose replays write their answers where the last ones are."""
    place = torch.zeros(2)

    def replayed(*tensors):
        place.add_(1)
        return (place,)

    monkeypatch.setattr(torch, "compile", lambda *_, **__: replayed)
    monkeypatch.setattr(networks, "read_inputs", lambda *_: (torch.rand(2),))
    monkeypatch.setattr(numerics, "configure", lambda *_: TOLD)
    session = Inductor(mode=mode)._session(replace(workload, torch_device="cpu"))
    (first,) = session.call(torch.rand(2))
    held = first.clone()
    session.call(torch.rand(2))
    assert torch.equal(first, held) == keeps
