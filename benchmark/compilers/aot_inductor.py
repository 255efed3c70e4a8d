"""AOTInductor: exported, compiled to machine code, packed as a .pt2 that needs no compiler to load.

On a GPU, where it has not run yet, module and inputs are exported on the device. Its kernels are Triton's;
g++ builds what launches them against the headers of the CUDA toolkit in CUDA_HOME (torch 2.13,
torch/_inductor/cpp_builder.py). The package is loaded to the device `cuda`, the only one that a run sees.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark import precision
from benchmark.errors import UnsupportedOperator
from benchmark.host import libraries
from benchmark.precision import AutocastDtype, Dtype, Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.pt2"


@frozen
class AotInductor(CompilerDefaults):
    """`torch.export` and `torch._inductor.aoti_compile_and_package`."""

    fast_math: FastMath = "none"
    """none: true fp32; matmult: torch's matmul precision "medium", on GPUs tf32; all: the graph casts."""
    dtype: Dtype = "fp32"
    """The whole model and its real-valued inputs; fp16 is for GPUs."""
    autocast_dtype: AutocastDtype = "bf16"
    """What `fast_math=all` casts to; fp16 is for GPUs, those before Ampere have nothing faster."""
    freezing: bool = True
    """Fold and pre-pack constant weights: with bf16 this is most of the speed."""
    max_autotune: bool = False
    """Let the compiler time kernel candidates on this host; slow to compile."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "aot_inductor"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = (
        "benchmark.models.numerics",
        "torch._dynamo",
        "torch._inductor.compile_fx",
    )

    @property
    def tolerance(self) -> Tolerance:
        """Sixteen bits are held to what `fast_math=all` is."""
        return precision.tolerance(self.fast_math, self.dtype)

    def refuse(self, kind: str) -> str | None:
        """Refuse types that a device has no speed in, and casts of what is cast already."""
        return precision.refuse(self.fast_math, self.dtype, kind, self.autocast_dtype)

    def versions(self) -> Mapping[str, str]:
        """Torch and the C++ compiler that builds its kernels."""
        found = libraries.versions("torch", install="pip install torch", python=self.python)
        return {**found, "g++": libraries.gxx(self.name)}

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Export with static shapes and compile."""
        import torch
        import torch._inductor

        from benchmark.models import networks, numerics

        device = workload.torch_device
        numerics.configure(self.fast_math, workload.threads, device, self.dtype)
        module = numerics.prepared(
            workload.load_module(), self.fast_math, device, self.dtype, self.autocast_dtype
        )
        options = {"freezing": self.freezing, "max_autotune": self.max_autotune}
        with (
            torch.no_grad(),
            tempfile.TemporaryDirectory() as work,
            torch._inductor.utils.fresh_cache(dir=work),  # noqa: SLF001
        ):
            try:
                program = torch.export.export(
                    module, networks.read_inputs(workload, self.dtype), strict=False
                )
            except torch._dynamo.exc.Unsupported as error:  # noqa: SLF001
                raise UnsupportedOperator(f"torch.export: {str(error).splitlines()[0]}") from error
            torch._inductor.aoti_compile_and_package(  # noqa: SLF001
                program, package_path=str(folder / _FILE), inductor_configs=options
            )
        return CompileReport(
            flags=tuple(f"{name}={value}" for name, value in options.items()),
            subgraphs=1,
            graph_breaks=0,
            unsupported_ops=(),
        )

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the machine code."""
        import torch
        import torch._inductor

        from benchmark.models import networks, numerics

        assert folder is not None  # noqa: S101 - leaves_artifact
        device = workload.torch_device
        arithmetic = numerics.configure(
            self.fast_math, workload.threads, device, self.dtype, self.autocast_dtype
        )
        model = torch._inductor.aoti_load_package(str(folder / _FILE))  # noqa: SLF001
        inputs = networks.read_inputs(workload, self.dtype)

        def call(*tensors: Any) -> Any:
            with torch.inference_mode():
                return model(*tensors)

        return Session(run=lambda: call(*inputs), call=call, arithmetic=arithmetic, inputs=inputs)
