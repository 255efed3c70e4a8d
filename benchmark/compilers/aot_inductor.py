"""AOTInductor: exported, compiled to machine code, packed as a .pt2 that needs no compiler to load."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark import libraries
from benchmark.errors import LibraryMissing, UnsupportedOperator
from benchmark.records import CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.pt2"


@frozen
class AotInductor:
    """`torch.export` and `torch._inductor.aoti_compile_and_package`."""

    fast_math: FastMath = "none"
    """none: true fp32; matmult: torch's matmul precision "medium"; all: bf16 autocast inside the graph."""
    freezing: bool = True
    """Fold and pre-pack constant weights: with bf16 this is most of the speed."""
    max_autotune: bool = False
    """Let the compiler time kernel candidates on this host; slow to compile."""

    name: ClassVar[str] = "aot_inductor"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = (
        "benchmark.torch_arithmetic",
        "torch._dynamo",
        "torch._inductor.compile_fx",
    )

    def refuse(self) -> str | None:
        """Every option works on every host."""
        return None

    def versions(self) -> Mapping[str, str]:
        """Torch and the C++ compiler that builds its kernels."""
        return {**libraries.versions("torch", install="pip install torch"), "g++": _gxx()}

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Export with static shapes and compile."""
        import torch
        import torch._inductor

        from benchmark import torch_arithmetic, torch_models

        torch_arithmetic.settle(self.fast_math, workload.threads, workload.torch_device)
        module = torch_arithmetic.prepared(workload.load_module(), self.fast_math, workload.torch_device)
        options = {"freezing": self.freezing, "max_autotune": self.max_autotune}
        with (
            torch.no_grad(),
            tempfile.TemporaryDirectory() as work,
            torch._inductor.utils.fresh_cache(dir=work),  # noqa: SLF001
        ):
            try:
                program = torch.export.export(module, torch_models.read_inputs(workload), strict=False)
            except torch._dynamo.exc.Unsupported as error:  # noqa: SLF001
                raise UnsupportedOperator(f"torch.export: {str(error).splitlines()[0]}") from error
            torch._inductor.aoti_compile_and_package(  # noqa: SLF001
                program, package_path=str(folder / _FILE), inductor_configs=options
            )
        return CompileReport(
            flags=tuple(f"{name}={value}" for name, value in options.items()), graph_breaks=0
        )

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the machine code."""
        import torch
        import torch._inductor

        from benchmark import torch_arithmetic, torch_models

        assert folder is not None  # noqa: S101 - leaves_artifact
        arithmetic = torch_arithmetic.settle(self.fast_math, workload.threads, workload.torch_device)
        model = torch._inductor.aoti_load_package(str(folder / _FILE))  # noqa: SLF001
        inputs = torch_models.read_inputs(workload)

        def run() -> Any:
            with torch.inference_mode():
                return model(*inputs)

        return Session(run=run, arithmetic=arithmetic, inputs=inputs)


def _gxx() -> str:
    """Version of the C++ compiler.

    Raises:
        LibraryMissing: there is none on the path.
    """
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise LibraryMissing("aot_inductor compiles with g++, which is not on the path: apt-get install g++")
    told = subprocess.run(  # noqa: S603 - the compiler on the path
        [compiler, "--version"], capture_output=True, text=True, timeout=30, check=False
    ).stdout
    found = re.search(r"\d+\.\d+[.\d]*", told)
    return found[0] if found else "unknown"
