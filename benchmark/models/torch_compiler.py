"""What the compilers of torch itself share: eager, torchscript, inductor and aot_inductor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from benchmark.host import libraries
from benchmark.precision import AutocastDtype, Dtype, Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import Arithmetic, FastMath, Workload, frozen


@frozen
class TorchCompiler(CompilerDefaults):
    """Options of every torch compiler, and what they mean for the module and its inputs."""

    fast_math: FastMath = "none"
    """none: true fp32; matmult: torch's matmul precision "medium", on GPUs tf32; all: autocast."""
    dtype: Dtype = "fp32"
    """Type of all weights and real-valued inputs; fp16 is for GPUs."""
    autocast_dtype: AutocastDtype = "bf16"
    """Type that `fast_math=all` casts to; fp16 is for GPUs: those before Ampere have nothing faster."""
    python: str | None = None
    """Interpreter that builds, compiles and measures; null: the one that runs this program."""

    name: ClassVar[str]
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math. A model of sixteen bits is as inexact as casting everything."""
        return self.fast_math if self.dtype == "fp32" else "all"

    def refuse(self, kind: str) -> str | None:
        """Refuse types that are slow on this kind of device, and casts without effect."""
        if self.autocast_dtype == "fp16" and self.fast_math != "all":
            return (
                f"autocast_dtype=fp16 has no effect with fast_math={self.fast_math}: "
                "use fast_math=all, or autocast_dtype=bf16"
            )
        for option, value in {"dtype": self.dtype, "autocast_dtype": self.autocast_dtype}.items():
            if value == "fp16" and kind == "cpu":
                return (
                    f"{option}=fp16 is for GPUs, on a CPU fp16 products were 188 times slower than bf16 ones "
                    f"(AMD, 2026-11): use {option}=bf16"
                )
        if self.dtype != "fp32" and self.fast_math != "none":
            return (
                f"fast_math={self.fast_math} casts from fp32, of which dtype={self.dtype} leaves nothing: "
                f"use fast_math=none with dtype={self.dtype}, or dtype=fp32"
            )
        return None

    def versions(self) -> Mapping[str, str]:
        """Version of torch."""
        return libraries.versions("torch", install="pip install torch", python=self.python)

    def configure(self, workload: Workload) -> Arithmetic:
        """Set the threads and the precision of this process; return the arithmetic in effect."""
        from benchmark.models import numerics

        return numerics.configure(
            self.fast_math, workload.threads, workload.torch_device, self.dtype, self.autocast_dtype
        )

    def prepared(self, workload: Workload) -> Any:
        """The workload's module, on its device and in its type, with autocast inside where that is chosen."""
        from benchmark.models import numerics

        return numerics.prepared(
            workload.load_module(), self.fast_math, workload.torch_device, self.dtype, self.autocast_dtype
        )

    def inputs(self, workload: Workload) -> tuple[Any, ...]:
        """The workload's inputs, on its device and in its type."""
        from benchmark.models import networks

        return networks.read_inputs(workload, self.dtype)
