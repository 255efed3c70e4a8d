"""ONNX Runtime: the model is exported to ONNX, its graph optimised once and stored.

On a GPU, where it has not run yet (provider options by https://onnxruntime.ai/docs/execution-providers/):

- Inputs and answers are torch's tensors on the card, bound by address, as with other compilers: no copy is
  timed. It runs on torch's stream, so that CUDA events time it too. That stream isn't the default one, which
  it doesn't accept (onnxruntime#19229).
- It takes one caller on a stream, so each thread that calls has a session of its own.
- Nodes that it leaves to the CPU make the cell a fallback, except those that compute shapes.
- Compiling builds TensorRT's engines and stores them in the artefact; loading finds them there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from benchmark.errors import Fallback, LibraryMissing
from benchmark.host import libraries, machine
from benchmark.precision import Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import Arithmetic, CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.onnx"
_ENGINES = "engines"
_CPU = libraries.command_for("onnxruntime")
_GPU = "pip uninstall onnxruntime; pip install onnxruntime-gpu[cuda,cudnn]"
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_CASTS: Mapping[str, tuple[FastMath, ...]] = {
    "cpu": ("none",),
    "cuda": ("none", "matmult"),
    "tensorrt": ("none", "matmult", "all"),
}
_INSTEAD = {
    "cpu": "its CPU provider has no bf16 kernels: use fast_math=none, or quantization=int8",
    "cuda": "its CUDA provider computes in the types of the graph, which are fp32: "
    "use fast_math=matmult for tf32, or provider=tensorrt for fp16",
}
_QUANTISED = ["MatMul", "Attention", "LSTM", "Gather", "EmbedLayerNormalization"]
"""Operators that onnxruntime quantises dynamically (a Gemm becomes a MatMul), except convolutions: those of a
ResNet-50 took 2.5 times as long in int8 as in fp32, on one AMD core (onnxruntime 1.31.1, 2026-11)."""


@frozen
class OnnxRuntime(CompilerDefaults):
    """`torch.onnx.export`, and an execution provider of ONNX Runtime."""

    fast_math: FastMath = "none"
    """none: fp32. On a GPU also matmult: tf32; and with provider=tensorrt all: fp16."""
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """auto is cpu on a CPU and cuda on a GPU; tensorrt leaves unsupported operators to cuda."""
    graph_optimization_level: Literal["disable_all", "enable_basic", "enable_extended", "enable_all"] = (
        "enable_all"
    )
    """How far the graph is optimised before it is stored."""
    quantization: Literal["none", "int8", "int4"] = "none"
    """int8: dynamic quantisation: weights when compiling, their inputs in every call. int4: weights alone, a
    scale for each 32 (MatMulNBits); products stay fp32."""
    execution_mode: Literal["sequential", "parallel"] = "sequential"
    """parallel: branches of the graph run at the same time."""
    inter_op_threads: PositiveInt | None = None
    """Threads for branches; null: 1 if sequential, else the library's choice."""
    allow_spinning: bool = True
    """Threads spin while they wait for work: faster calls, and a CPU that is never idle."""
    python: str | None = None
    """Interpreter that builds, compiles and measures; null: the one that runs this program."""

    name: ClassVar[str] = "onnxruntime"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    @property
    def tolerance(self) -> Tolerance:
        """That of its quantization, else of its fast_math."""
        return self.fast_math if self.quantization == "none" else self.quantization

    def refuse(self, kind: str) -> str | None:
        """Refuse casts that the provider lacks, and options that don't work or have no effect."""
        provider = self._provider(kind)
        if (provider == "cpu") != (kind == "cpu"):
            other = "cuda" if kind == "cpu" else "cpu"
            return f"provider={self.provider} is for hardware={other}: choose that, or use provider=auto"
        if self.fast_math not in _CASTS[provider]:
            return f"fast_math={self.fast_math} doesn't work here, {_INSTEAD[provider]}"
        if provider != "cpu" and (refusal := self._refuse_on_gpu()):
            return refusal
        if self.execution_mode == "sequential" and self.inter_op_threads not in {None, 1}:
            return (
                f"inter_op_threads={self.inter_op_threads} has no effect with execution_mode=sequential: "
                "use execution_mode=parallel, or inter_op_threads=null"
            )
        if self.execution_mode == "parallel" and self.inter_op_threads == 1:
            return (
                "inter_op_threads=1 leaves execution_mode=parallel nothing to run at the same time: "
                "use inter_op_threads=2 or more, or null"
            )
        return None

    def _refuse_on_gpu(self) -> str | None:
        if self.quantization != "none":
            # onnxruntime.ai/docs/performance/model-optimizations/quantization.html, Quantization on GPU
            return f"quantization={self.quantization} is for CPUs here: use quantization=none"
        if self.execution_mode == "parallel":  # it would warn and run sequentially
            return "execution_mode=parallel doesn't work on a GPU: use execution_mode=sequential"
        return None

    def versions(self) -> Mapping[str, str]:
        """Versions of runtime and exporter. `auto` takes either runtime: the device isn't known here."""
        if self.provider in _PROVIDERS:
            found = libraries.versions("onnxruntime-gpu", install=_GPU, python=self.python)
        else:
            either = self._installed("onnxruntime", "onnxruntime-gpu")
            found = either or libraries.versions("onnxruntime", install=_CPU, python=self.python)
        if self.provider == "tensorrt":
            found |= self._installed("tensorrt", "tensorrt-cu12", "tensorrt-cu13")
        return found | libraries.versions("onnx", "onnxscript", "torch", install=_CPU, python=self.python)

    def _installed(self, *names: str) -> dict[str, str]:
        """Versions of the distributions that are installed."""
        found: dict[str, str] = {}
        for name in names:
            with suppress(LibraryMissing):
                found |= libraries.versions(name, install="", python=self.python)
        return found

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Export, optimise and store the graph and its weights; for TensorRT the graph and its engines."""
        import torch

        from benchmark.models import onnx_export, onnx_int4

        warnings.simplefilter("ignore")
        if workload.threads:
            torch.set_num_threads(workload.threads)
        provider = self._provider(workload.torch_device)
        self._forbid_tf32(provider)
        options = self._options(workload, self.graph_optimization_level)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            exported = Path(work) / _FILE
            onnx_export.export(workload, exported)
            if self.quantization == "int8":
                exported = _quantised(exported)
            elif self.quantization == "int4":
                exported = onnx_int4.compressed(exported)
            if provider == "tensorrt":  # a graph with engines can't be written
                for file in exported.parent.iterdir():
                    file.rename(folder / file.name)
                exported = folder / exported.name
            else:
                options.optimized_model_filepath = str(folder / _FILE)
                options.add_session_config_entry(
                    "session.optimized_model_external_initializers_file_name", f"{_FILE}.data"
                )
            if provider != "cpu":
                options.enable_profiling = True
                options.profile_file_prefix = str(Path(work) / "profile")
            session = self._session(provider, exported, options, folder / _ENGINES)
            engines = len([*folder.glob(f"{_ENGINES}/*.engine")])
            if provider == "tensorrt" and not engines:
                raise Fallback("provider=tensorrt: TensorRT supports no part of the graph: use provider=cuda")
            if provider != "cpu":
                _refuse_work_of_the_cpu(session, workload, _PROVIDERS[provider])
        return CompileReport(
            flags=(
                f"graph_optimization_level={self.graph_optimization_level}",
                f"quantization={self.quantization}",
                *(f"{option}={value}" for option, value in self.provider_options(provider).items()),
            ),
            subgraphs=engines or 1,
            ops_on_device_fraction=None if provider == "cpu" else 1.0,
            unsupported_ops=(),
        )

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the optimised graph."""
        assert folder is not None  # noqa: S101 - leaves_artifact
        assert workload.reference is not None  # noqa: S101 - not simulated
        provider = self._provider(workload.torch_device)
        if provider != "cpu":
            return self._on_gpu(provider, workload, folder)
        from safetensors.numpy import load_file

        options = self._options(workload, "disable_all")
        session = self._session(provider, folder / _FILE, options)
        stored = load_file(workload.reference / "inputs.safetensors")
        feed = {node.name: stored[node.name] for node in session.get_inputs()}
        inputs = tuple(stored[name] for name in workload.input_names)

        def run() -> Any:
            return session.run(None, feed)

        def call(*arrays: Any) -> Any:
            given = dict(zip(workload.input_names, arrays, strict=True))
            return session.run(None, {name: given[name] for name in feed})

        products = "int8" if self.quantization == "int8" else "fp32"
        weights = "fp32" if self.quantization == "none" else self.quantization
        arithmetic = Arithmetic(
            model_dtype=weights, matmul_dtype=products, other_dtype="fp32", autocast=self.fast_math
        )
        return Session(run=run, call=call, arithmetic=arithmetic, inputs=inputs)

    def _on_gpu(self, provider: str, workload: Workload, folder: Path) -> Session:
        """A session for each thread that calls, on its stream, which is another than the default one."""
        import torch

        from benchmark.models import networks, numerics, onnx_export

        self._forbid_tf32(provider)
        # GPUs before Ampere lack tf32: the type of torch's products is the type of the provider's.
        arithmetic = numerics.configure(self.fast_math, workload.threads, "cuda", autocast_dtype="fp16")
        inputs = networks.read_inputs(workload)
        threads = threading.local()

        def mine() -> Any:
            """Session of this thread, with the inputs and answers that it is bound to."""
            if not hasattr(threads, "session"):
                if not torch.cuda.current_stream().cuda_stream:
                    torch.cuda.set_stream(torch.cuda.Stream())
                stream = torch.cuda.current_stream().cuda_stream
                threads.session = self._opened(provider, workload, folder, stream)
                threads.bound = onnx_export.bound_to(threads.session, workload.input_names)
                threads.ready, threads.answers = threads.bound(inputs)
            return threads

        def run() -> Any:
            own = mine()
            own.session.run_with_iobinding(own.ready)
            return own.answers

        def call(*tensors: Any) -> Any:
            own = mine()
            binding, fresh = own.bound(tensors)
            own.session.run_with_iobinding(binding)
            return fresh

        mine()
        return Session(run=run, call=call, arithmetic=arithmetic, inputs=inputs)

    def _opened(self, provider: str, workload: Workload, folder: Path, stream: int) -> Any:
        """Open the artefact on a stream."""
        level = self.graph_optimization_level if provider == "tensorrt" else "disable_all"
        options = self._options(workload, level)
        with tempfile.TemporaryDirectory() as work:  # a copy: the artefact must not change
            engines = Path(work) / _ENGINES
            if provider == "tensorrt":
                shutil.copytree(folder / _ENGINES, engines)
            return self._session(provider, folder / _FILE, options, engines, stream)

    def _forbid_tf32(self, provider: str) -> None:
        """Switch tf32 off for TensorRT under fast_math=none. cuBLAS reads the switch once, when it starts."""
        if provider == "tensorrt" and self.fast_math == "none":
            os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # its only switch, onnxruntime#26029

    def _provider(self, kind: str) -> str:
        return self.provider if self.provider != "auto" else "cpu" if kind == "cpu" else "cuda"

    def provider_options(self, provider: str) -> dict[str, str]:
        """Options of the execution provider on a GPU."""
        return {
            "cpu": {},
            "cuda": {"use_tf32": str(int(self.fast_math != "none"))},
            "tensorrt": {"trt_fp16_enable": str(int(self.fast_math == "all"))},
        }[provider]

    def _session(
        self, provider: str, graph: Path, options: Any, engines: Path | None = None, stream: int | None = None
    ) -> Any:
        """Open the graph with this provider.

        Raises:
            LibraryMissing: the installed onnxruntime lacks the provider.
            Fallback: the provider doesn't start, so that the CPU would run the graph.
        """
        import onnxruntime

        if provider == "cpu":
            return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        if (name := _PROVIDERS[provider]) not in onnxruntime.get_available_providers():
            raise LibraryMissing(f"the onnxruntime installed here has no {name}: {_GPU}")
        common = {"device_id": "0"} | ({"user_compute_stream": str(stream)} if stream else {})
        chain = [(_PROVIDERS["cuda"], {**common, **self.provider_options("cuda")})]
        if provider == "tensorrt":
            cache = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(engines)}
            chain.insert(0, (name, {**common, **cache, **self.provider_options(provider)}))
        session = onnxruntime.InferenceSession(str(graph), options, chain, enable_fallback=0)
        if name not in session.get_providers():
            raise Fallback(_fallback(name))
        return session

    def _options(self, workload: Workload, level: str) -> Any:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level.upper()}")
        own = machine.of_every_core(workload.threads)
        options.intra_op_num_threads = 0 if own else workload.threads or 0
        parallel = self.execution_mode == "parallel"
        options.execution_mode = getattr(onnxruntime.ExecutionMode, f"ORT_{self.execution_mode.upper()}")
        options.inter_op_num_threads = self.inter_op_threads or (0 if parallel else 1)
        for pool in ("intra_op", "inter_op"):
            options.add_session_config_entry(f"session.{pool}.allow_spinning", str(int(self.allow_spinning)))
        return options


def _fallback(provider: str) -> str:
    return (
        f"onnxruntime would leave the graph to the CPU: {provider} lacks a library, which the log names "
        f"({_GPU}; pip install tensorrt for TensorRT's)"
    )


def _refuse_work_of_the_cpu(session: Any, workload: Workload, provider: str) -> None:
    """Call once, profiled.

    Raises:
        Fallback: the CPU computed part of the graph.
    """
    from safetensors.numpy import load_file

    from benchmark.models.onnx_placement import computed_on_cpu

    assert workload.reference is not None  # noqa: S101 - not simulated
    stored = load_file(workload.reference / "inputs.safetensors")
    session.run(None, {node.name: stored[node.name] for node in session.get_inputs()})
    if left := computed_on_cpu(Path(session.end_profiling())):
        raise Fallback(
            f"onnxruntime leaves {', '.join(left)} to the CPU: {provider} has no kernel for it: use "
            "compiler.graph_optimization_level=enable_all, or another compiler"
        )


def _quantised(exported: Path) -> Path:
    """Write the graph with int8 weights beside the exported one."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(exported, load_external_data=False)
    # The exporter stores shapes of weights too; quantisation transposes some and then fails on these shapes.
    del graph.graph.value_info[:]
    onnx.save(graph, exported)
    quantised = exported.with_name("int8.onnx")
    quantize_dynamic(
        str(exported),
        str(quantised),
        op_types_to_quantize=_QUANTISED,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
    )
    return quantised
