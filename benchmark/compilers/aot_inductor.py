"""AOTInductor: exported, compiled to machine code, packed as a .pt2 that needs no compiler to load.

On a GPU, where it has not run yet, module and inputs are exported on the device. Its kernels are Triton's;
g++ builds the code that launches them, against the headers of the CUDA toolkit in CUDA_HOME (torch 2.13,
torch/_inductor/cpp_builder.py). The package is loaded to the device `cuda`, the only one that a run sees.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmark.errors import LibraryMissing, UnsupportedOperator
from benchmark.host import libraries
from benchmark.models.torch_compiler import TorchCompiler, use_own_folder
from benchmark.nvidia import toolkit
from benchmark.records import CompileReport, Session, Workload, frozen

_FILE = "model.pt2"


@frozen
class AotInductor(TorchCompiler):
    """`torch.export` and `torch._inductor.aoti_compile_and_package`."""

    freezing: bool = True
    """Fold and pre-pack constant weights; with bf16 most of the speed comes from this."""
    max_autotune: bool = False
    """Time candidate kernels on this host and choose the fastest; slow to compile."""

    name: ClassVar[str] = "aot_inductor"
    leaves_artifact: ClassVar[bool] = True
    fixes_precision: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = (
        "benchmark.models.numerics",
        "torch._dynamo",
        "torch._inductor.compile_fx",
    )

    def versions(self) -> Mapping[str, str]:
        """Versions of torch and of the C++ compiler that builds its kernels."""
        return {**super().versions(), "g++": libraries.gxx(self.name)}

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Export with static shapes and compile.

        Raises:
            LibraryMissing: on a GPU, without the CUDA toolkit's headers.
        """
        import torch
        import torch._inductor

        if workload.torch_device == "cuda" and (lacking := toolkit.lacking_for_aot_inductor()):
            raise LibraryMissing(lacking)
        use_own_folder()
        self.configure(workload)
        module = self.prepared(workload)
        options = {"freezing": self.freezing, "max_autotune": self.max_autotune}
        with (
            torch.no_grad(),
            tempfile.TemporaryDirectory() as work,
            torch._inductor.utils.fresh_cache(dir=work),  # noqa: SLF001
        ):
            try:
                program = torch.export.export(module, self.inputs(workload), strict=False)
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

        from benchmark.models import networks

        assert folder is not None  # noqa: S101 - leaves_artifact
        arithmetic = self.configure(workload)
        model = torch._inductor.aoti_load_package(str(folder / _FILE))  # noqa: SLF001
        return networks.inference_session(model, self.inputs(workload), arithmetic)
