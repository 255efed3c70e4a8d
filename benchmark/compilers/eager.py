"""PyTorch as it comes: operators one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark import libraries
from benchmark.records import CompileReport, FastMath, Session, Workload, frozen


@frozen
class Eager:
    """No compiler at all: the baseline of every comparison."""

    fast_math: FastMath = "none"
    """none: true fp32; matmult: torch's matmul precision "medium"; all: bf16 autocast."""

    name: ClassVar[str] = "eager"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    leaves_artifact: ClassVar[bool] = False
    preload: ClassVar[tuple[str, ...]] = ("benchmark.torch_arithmetic",)

    def refuse(self) -> str | None:
        """Every option works on every host."""
        return None

    def versions(self) -> Mapping[str, str]:
        """Torch alone."""
        return libraries.versions("torch", install="pip install torch")

    def compile(self, workload: Workload, folder: Path) -> CompileReport:  # noqa: ARG002
        """Leave nothing."""
        return CompileReport()

    def load(self, workload: Workload, folder: Path | None) -> Session:  # noqa: ARG002
        """Load the module itself."""
        import torch

        from benchmark import torch_arithmetic, torch_models

        device = workload.torch_device
        arithmetic = torch_arithmetic.settle(self.fast_math, workload.threads, device)
        module = torch_arithmetic.prepared(workload.load_module(), self.fast_math, device)
        inputs = torch_models.read_inputs(workload)

        def run() -> Any:
            with torch.inference_mode():
                return module(*inputs)

        return Session(run=run, arithmetic=arithmetic, inputs=inputs)
