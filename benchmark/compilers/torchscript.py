"""TorchScript: traced once, frozen, loaded without Python code."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark import libraries
from benchmark.records import CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.ts"


@frozen
class TorchScript:
    """`torch.jit.trace` and `torch.jit.freeze`."""

    fast_math: FastMath = "none"
    """none: true fp32; matmult: torch's matmul precision "medium"; all: bf16 autocast, part of the graph."""
    freeze: bool = True
    """Inline the weights and fold constants (torch.jit.freeze)."""

    name: ClassVar[str] = "torchscript"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ("benchmark.torch_arithmetic",)

    def refuse(self) -> str | None:
        """Every option works on every host."""
        return None

    def versions(self) -> Mapping[str, str]:
        """Torch alone."""
        return libraries.versions("torch", install="pip install torch")

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Trace with the workload's inputs."""
        import torch

        from benchmark import torch_arithmetic, torch_models

        warnings.simplefilter("ignore")  # deprecation and tracer notes, a hundred lines a model
        torch_arithmetic.settle(self.fast_math, workload.threads, workload.torch_device)
        module = torch_arithmetic.prepared(workload.load_module(), self.fast_math, workload.torch_device)
        with torch.inference_mode():
            traced = torch.jit.trace(
                module, torch_models.read_inputs(workload), strict=False, check_trace=False
            )
            if self.freeze:
                traced = torch.jit.freeze(traced)
        torch.jit.save(traced, str(folder / _FILE))
        return CompileReport(flags=("torch.jit.freeze",) if self.freeze else ())

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the graph; its profiling executor optimises in the first two calls."""
        import torch

        from benchmark import torch_arithmetic, torch_models

        assert folder is not None  # noqa: S101 - leaves_artifact
        warnings.simplefilter("ignore")
        arithmetic = torch_arithmetic.settle(self.fast_math, workload.threads, workload.torch_device)
        module = torch.jit.load(str(folder / _FILE), map_location=workload.torch_device)
        inputs = torch_models.read_inputs(workload)

        def run() -> Any:
            with torch.inference_mode():
                return module(*inputs)

        return Session(run=run, arithmetic=arithmetic, inputs=inputs)
