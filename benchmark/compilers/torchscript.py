"""TorchScript: traced once, frozen, loaded without Python code."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark import precision
from benchmark.host import libraries
from benchmark.precision import AutocastDtype, Dtype, Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.ts"


@frozen
class TorchScript(CompilerDefaults):
    """`torch.jit.trace` and `torch.jit.freeze`.

    Without `torch.jit.optimize_for_inference`: what it makes of a ResNet-50 is no faster and can't be saved
    ("required keyword attribute 'value' is undefined", torch 2.13, 2026-11).
    """

    fast_math: FastMath = "none"
    """none: true fp32; matmult: torch's matmul precision "medium", on GPUs tf32; all: the graph casts."""
    dtype: Dtype = "fp32"
    """The whole model and its real-valued inputs; fp16 is for GPUs."""
    autocast_dtype: AutocastDtype = "bf16"
    """What `fast_math=all` casts to; fp16 is for GPUs, those before Ampere have nothing faster."""
    freeze: bool = True
    """Inline the weights and fold constants (torch.jit.freeze)."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "torchscript"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    leaves_artifact: ClassVar[bool] = True
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

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Trace with the workload's inputs."""
        import torch

        from benchmark.models import networks, numerics

        warnings.simplefilter("ignore")  # deprecation and tracer notes, a hundred lines a model
        device = workload.torch_device
        numerics.configure(self.fast_math, workload.threads, device, self.dtype)
        module = numerics.prepared(
            workload.load_module(), self.fast_math, device, self.dtype, self.autocast_dtype
        )
        with torch.inference_mode():
            traced = torch.jit.trace(
                module, networks.read_inputs(workload, self.dtype), strict=False, check_trace=False
            )
            if self.freeze:
                traced = torch.jit.freeze(traced)
        torch.jit.save(traced, str(folder / _FILE))
        return CompileReport(flags=("torch.jit.freeze",) if self.freeze else ())

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the graph; its profiling executor optimises in the first two calls."""
        import torch

        from benchmark.models import networks, numerics

        assert folder is not None  # noqa: S101 - leaves_artifact
        warnings.simplefilter("ignore")
        device = workload.torch_device
        arithmetic = numerics.configure(
            self.fast_math, workload.threads, device, self.dtype, self.autocast_dtype
        )
        module = torch.jit.load(str(folder / _FILE), map_location=device)
        inputs = networks.read_inputs(workload, self.dtype)

        def call(*tensors: Any) -> Any:
            with torch.inference_mode():
                return module(*tensors)

        return Session(run=lambda: call(*inputs), call=call, arithmetic=arithmetic, inputs=inputs)
