"""ONNX Runtime: exported to ONNX, its graph optimised once and kept."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmark import libraries
from benchmark.errors import UnsupportedOperator
from benchmark.records import Arithmetic, CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.onnx"


@frozen
class OnnxRuntime:
    """`torch.onnx.export` and the CPU execution provider."""

    fast_math: FastMath = "none"
    """Only none: the CPU provider has no bf16 kernels."""
    graph_optimization_level: Literal["disable_all", "enable_basic", "enable_extended", "enable_all"] = (
        "enable_all"
    )
    """How far the graph is rewritten before it is kept."""

    name: ClassVar[str] = "onnxruntime"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def refuse(self) -> str | None:
        """Refuse casts that its CPU kernels don't have."""
        if self.fast_math != "none":
            return f"fast_math={self.fast_math} can't be had, its CPU provider has no bf16 kernels: use none"
        return None

    def versions(self) -> Mapping[str, str]:
        """The runtime and what exports for it."""
        return libraries.versions(
            "onnxruntime", "onnx", "onnxscript", "torch", install="pip install -e '.[onnxruntime]'"
        )

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Export, optimise, keep the optimised graph and its weights."""
        import onnxruntime
        import torch

        from benchmark import torch_models

        warnings.simplefilter("ignore")
        if workload.threads:
            torch.set_num_threads(workload.threads)
        export = folder / "export"
        export.mkdir()
        try:
            with torch.no_grad():  # attention with a bias (BEiT) decomposes for ONNX only without gradients
                torch.onnx.export(
                    workload.load_module(),
                    torch_models.read_inputs(workload),
                    str(export / _FILE),
                    dynamo=True,
                    external_data=True,
                    input_names=list(workload.input_names),
                    verbose=False,
                )
        except torch.onnx.errors.UnsupportedOperatorError as error:
            raise UnsupportedOperator(f"torch.onnx: {error}") from error
        options = self._options(workload)
        options.graph_optimization_level = getattr(
            onnxruntime.GraphOptimizationLevel, f"ORT_{self.graph_optimization_level.upper()}"
        )
        options.optimized_model_filepath = str(folder / _FILE)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{_FILE}.data"
        )
        onnxruntime.InferenceSession(str(export / _FILE), options, providers=["CPUExecutionProvider"])
        shutil.rmtree(export)
        return CompileReport(flags=(f"graph_optimization_level={self.graph_optimization_level}",))

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

        def run() -> Any:
            return session.run(None, feed)

        fp32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")
        return Session(run=run, arithmetic=fp32, inputs=tuple(feed.values()))

    @staticmethod
    def _options(workload: Workload) -> Any:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = workload.threads or 0
        options.inter_op_num_threads = 1
        return options
