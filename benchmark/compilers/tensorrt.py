"""Torch-TensorRT: exported, converted to TensorRT engines, saved as an exported program; for NVIDIA GPUs.

By the documented interface (torch_tensorrt.compile with ir="dynamo", torch_tensorrt.save); it has not run on
a device yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from benchmark import libraries
from benchmark.precision import Tolerance
from benchmark.records import Arithmetic, CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.ep"
_PRODUCTS: dict[FastMath, str] = {"none": "fp32", "matmult": "tf32", "all": "fp16"}


@frozen
class TensorRt:
    """`torch_tensorrt.compile(ir="dynamo")`; operators that TensorRT lacks stay with torch."""

    fast_math: FastMath = "none"
    """none: fp32; matmult: tf32 products; all: fp16 wherever TensorRT likes."""
    optimization_level: Annotated[int, Field(ge=0, le=5)] = 3
    """How many tactics TensorRT times: 0 takes the first, 5 compiles longest; 3 is its default."""
    workspace_gib: PositiveFloat | None = None
    """GPU memory that a tactic may use; null lets it use all."""
    min_block_size: PositiveInt = 5
    """Operators that a TensorRT engine has at least; shorter stretches stay with torch."""
    fullgraph: bool = False
    """Refuse a model of which anything would stay with torch."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "tensorrt"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cuda"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ("benchmark.torch_models",)

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math."""
        return self.fast_math

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - it runs on one kind only
        """Every option is the compiler's own."""
        return None

    def versions(self) -> Mapping[str, str]:
        """Library and compiler."""
        return libraries.versions(
            "torch-tensorrt",
            "tensorrt",
            "torch",
            install="pip install -e '.[tensorrt]', beside torch of CUDA",
            python=self.python,
        )

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Export with static shapes, convert, save."""
        import torch
        import torch_tensorrt

        from benchmark import torch_models

        options = self.options()
        flags = tuple(f"{name}={value}" for name, value in options.items())
        if low := options.pop("autocast_low_precision_type", None):
            options["autocast_low_precision_type"] = getattr(torch, low)
        inputs = torch_models.read_inputs(workload)
        module = workload.load_module().to(workload.torch_device)
        with torch.no_grad():
            converted = torch_tensorrt.compile(module, ir="dynamo", inputs=list(inputs), **options)
            torch_tensorrt.save(
                converted, str(folder / _FILE), output_format="exported_program", arg_inputs=list(inputs)
            )
        engines = sum(name.startswith("_run_on_acc") for name, _ in converted.named_children())
        return CompileReport(flags=flags, subgraphs=engines or None)

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the engines, and torch's operators between them."""
        import torch
        import torch_tensorrt

        from benchmark import torch_models

        assert folder is not None  # noqa: S101 - leaves_artifact
        # Torch's operators between the engines obey torch's own switches.
        torch.set_float32_matmul_precision("highest" if self.fast_math == "none" else "high")
        module = torch_tensorrt.load(str(folder / _FILE)).module()
        inputs = torch_models.read_inputs(workload)

        def call(*tensors: Any) -> Any:
            with torch.inference_mode():
                return module(*tensors)

        return Session(run=lambda: call(*inputs), call=call, arithmetic=self._arithmetic(), inputs=inputs)

    def options(self) -> dict[str, Any]:
        """Its fields as `torch_tensorrt.compile` spells them; a precision is one of torch's by name."""
        autocast = {"enable_autocast": True, "autocast_low_precision_type": "float16"}
        return {
            "disable_tf32": self.fast_math == "none",
            "optimization_level": self.optimization_level,
            "workspace_size": round((self.workspace_gib or 0) * 2**30),
            "min_block_size": self.min_block_size,
            "require_full_compilation": self.fullgraph,
        } | (autocast if self.fast_math == "all" else {})

    def _arithmetic(self) -> Arithmetic:
        other = "mixed" if self.fast_math == "all" else "fp32"
        return Arithmetic(
            model_dtype="fp32",
            matmul_dtype=_PRODUCTS[self.fast_math],
            other_dtype=other,
            autocast=self.fast_math,
        )
