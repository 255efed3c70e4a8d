"""PyTorch as it comes: operators one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark import precision
from benchmark.host import libraries
from benchmark.precision import AutocastDtype, Dtype, Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import CompileReport, FastMath, Session, Workload, frozen


@frozen
class Eager(CompilerDefaults):
    """No compiler at all: the baseline of every comparison."""

    fast_math: FastMath = "none"
    """none: true fp32; matmult: torch's matmul precision "medium", on GPUs tf32; all: autocast."""
    dtype: Dtype = "fp32"
    """The whole model and its real-valued inputs; fp16 is for GPUs."""
    autocast_dtype: AutocastDtype = "bf16"
    """What `fast_math=all` casts to; fp16 is for GPUs, those before Ampere have nothing faster."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "eager"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    leaves_artifact: ClassVar[bool] = False
    preload: ClassVar[tuple[str, ...]] = ("benchmark.models.numerics",)

    @property
    def tolerance(self) -> Tolerance:
        """Sixteen bits are held to what `fast_math=all` is."""
        return precision.tolerance(self.fast_math, self.dtype)

    def refuse(self, kind: str) -> str | None:
        """Refuse types that a device has no speed in, and casts of what is cast already."""
        return precision.refuse(self.fast_math, self.dtype, kind, self.autocast_dtype)

    def versions(self) -> Mapping[str, str]:
        """Torch alone."""
        return libraries.versions("torch", install="pip install torch", python=self.python)

    def compile(self, workload: Workload, folder: Path) -> CompileReport:  # noqa: ARG002
        """Leave nothing."""
        return CompileReport()

    def load(self, workload: Workload, folder: Path | None) -> Session:  # noqa: ARG002
        """Load the module itself."""
        import torch

        from benchmark.models import networks, numerics

        device = workload.torch_device
        arithmetic = numerics.configure(
            self.fast_math, workload.threads, device, self.dtype, self.autocast_dtype
        )
        module = numerics.prepared(
            workload.load_module(), self.fast_math, device, self.dtype, self.autocast_dtype
        )
        inputs = networks.read_inputs(workload, self.dtype)

        def call(*tensors: Any) -> Any:
            with torch.inference_mode():
                return module(*tensors)

        return Session(run=lambda: call(*inputs), call=call, arithmetic=arithmetic, inputs=inputs)
