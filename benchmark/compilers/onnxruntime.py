"""ONNX Runtime: exported to ONNX, its graph optimised once and kept."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from benchmark import libraries
from benchmark.errors import UnsupportedOperator
from benchmark.precision import Tolerance
from benchmark.records import Arithmetic, CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.onnx"
_QUANTISED = ["MatMul", "Attention", "LSTM", "Gather", "EmbedLayerNormalization"]
"""All that onnxruntime quantises dynamically (a Gemm becomes a MatMul) but convolutions: those of a ResNet-50
took 2.5 times as long in int8 as in fp32, on one AMD core (onnxruntime 1.31.1, 2026-11)."""


@frozen
class OnnxRuntime:
    """`torch.onnx.export` and the CPU execution provider."""

    fast_math: FastMath = "none"
    """Only none: the CPU provider has no bf16 kernels."""
    graph_optimization_level: Literal["disable_all", "enable_basic", "enable_extended", "enable_all"] = (
        "enable_all"
    )
    """How far the graph is rewritten before it is kept."""
    quantization: Literal["none", "int8"] = "none"
    """int8: weights beforehand, what they are multiplied with in every call (dynamic quantisation)."""
    execution_mode: Literal["sequential", "parallel"] = "sequential"
    """Whether branches of the graph run at the same time."""
    inter_op_threads: PositiveInt | None = None
    """Threads for branches; null takes 1 when sequential, else the library's own choice."""
    allow_spinning: bool = True
    """Let threads spin while they wait for work: quicker calls, and a CPU that is never idle."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "onnxruntime"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    @property
    def tolerance(self) -> Tolerance:
        """Quantised or true fp32: it has no casts."""
        return "int8" if self.quantization == "int8" else self.fast_math

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - the same on every device
        """Refuse casts that its CPU kernels don't have, and thread counts without effect."""
        if self.fast_math != "none":
            return (
                f"fast_math={self.fast_math} can't be had, its CPU provider has no bf16 kernels: "
                "use fast_math=none, or quantization=int8"
            )
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

    def versions(self) -> Mapping[str, str]:
        """The runtime and what exports for it."""
        return libraries.versions(
            "onnxruntime",
            "onnx",
            "onnxscript",
            "torch",
            install="pip install -e '.[onnxruntime]'",
            python=self.python,
        )

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Export, optimise, keep the optimised graph and its weights."""
        import onnxruntime
        import torch

        warnings.simplefilter("ignore")
        if workload.threads:
            torch.set_num_threads(workload.threads)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            exported = self._export(workload, Path(work))
            options = self._options(workload)
            options.graph_optimization_level = getattr(
                onnxruntime.GraphOptimizationLevel, f"ORT_{self.graph_optimization_level.upper()}"
            )
            options.optimized_model_filepath = str(folder / _FILE)
            options.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name", f"{_FILE}.data"
            )
            onnxruntime.InferenceSession(str(exported), options, providers=["CPUExecutionProvider"])
        return CompileReport(
            flags=(
                f"graph_optimization_level={self.graph_optimization_level}",
                f"quantization={self.quantization}",
            ),
            subgraphs=1,
            unsupported_ops=(),
        )

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the graph as it was optimised."""
        import onnxruntime
        from safetensors.numpy import load_file

        assert folder is not None  # noqa: S101 - leaves_artifact
        assert workload.reference is not None  # noqa: S101 - not simulated
        options = self._options(workload)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            str(folder / _FILE), options, providers=["CPUExecutionProvider"]
        )
        stored = load_file(workload.reference / "inputs.safetensors")
        feed = {node.name: stored[node.name] for node in session.get_inputs()}
        inputs = tuple(stored[name] for name in workload.input_names)

        def run() -> Any:
            return session.run(None, feed)

        def call(*arrays: Any) -> Any:
            given = dict(zip(workload.input_names, arrays, strict=True))
            return session.run(None, {name: given[name] for name in feed})

        products = "int8" if self.quantization == "int8" else "fp32"
        arithmetic = Arithmetic(
            model_dtype=products, matmul_dtype=products, other_dtype="fp32", autocast=self.fast_math
        )
        return Session(run=run, call=call, arithmetic=arithmetic, inputs=inputs)

    def _export(self, workload: Workload, folder: Path) -> Path:
        """The graph as torch exports it, quantised where asked."""
        import torch

        from benchmark import torch_models

        exported = folder / _FILE
        try:
            with torch.no_grad():  # attention with a bias (BEiT) decomposes for ONNX only without gradients
                torch.onnx.export(
                    workload.load_module(),
                    torch_models.read_inputs(workload),
                    str(exported),
                    dynamo=True,
                    external_data=True,
                    input_names=list(workload.input_names),
                    custom_translation_table={torch.ops.aten.squeeze.dim: _squeeze},
                    verbose=False,
                )
        except torch.onnx.OnnxExporterError as error:
            if operator := _unsupported(error):
                told = f"torch.onnx has no translation of {operator}"
                raise UnsupportedOperator(told, operators=(operator,)) from error
            raise
        return _quantised(exported) if self.quantization == "int8" else exported

    def _options(self, workload: Workload) -> Any:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = workload.threads or 0
        parallel = self.execution_mode == "parallel"
        options.execution_mode = getattr(onnxruntime.ExecutionMode, f"ORT_{self.execution_mode.upper()}")
        options.inter_op_num_threads = self.inter_op_threads or (0 if parallel else 1)
        for pool in ("intra_op", "inter_op"):
            options.add_session_config_entry(f"session.{pool}.allow_spinning", str(int(self.allow_spinning)))
        return options


def _quantised(exported: Path) -> Path:
    """The graph with int8 weights, beside the one it is made of."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(exported, load_external_data=False)
    # The exporter notes the shapes of weights too; quantisation turns some round and trips over the notes.
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


def _squeeze(tensor: Any, dim: int) -> Any:
    """Translate torch's squeeze, which leaves an axis longer than 1 alone; ONNX's fails (pytorch#36796)."""
    from onnxscript import opset18

    if tensor.shape[dim] != 1:
        return opset18.Identity(tensor)
    axes: Any = opset18.Constant(value_ints=[dim])
    return opset18.Squeeze(tensor, axes)


def _unsupported(error: BaseException | None) -> str | None:
    """The operator that the exporter has no translation of, by the causes of its error."""
    while error is not None:
        if found := re.search(
            r"No ONNX function found for <OpOverload\(op='([^']+)', overload='(\w+)'", str(error)
        ):
            return f"{found[1]}.{found[2]}"
        error = error.__cause__
    return None
