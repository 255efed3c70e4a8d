"""TorchScript: traced once, frozen, loaded without Python code."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from benchmark.models.dynamic_int8 import DynamicInt8
from benchmark.records import CompileReport, Session, Workload, frozen

_FILE = "model.ts"


@frozen
class TorchScript(DynamicInt8):
    """`torch.jit.trace` and `torch.jit.freeze`.

    `torch.jit.optimize_for_inference` isn't used: it makes a ResNet-50 no faster, and the result can't be
    saved ("required keyword attribute 'value' is undefined", torch 2.13, 2026-11).
    """

    freeze: bool = True
    """Inline the weights and fold constants (torch.jit.freeze)."""

    name: ClassVar[str] = "torchscript"
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ("benchmark.models.numerics",)

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Trace the module with the workload's inputs."""
        import torch

        warnings.simplefilter("ignore")  # a hundred deprecation and tracer warnings for each model
        self.configure(workload)
        module = self.prepared(workload)
        with torch.inference_mode():
            traced = torch.jit.trace(module, self.inputs(workload), strict=False, check_trace=False)
            if self.freeze:
                traced = torch.jit.freeze(traced)
        torch.jit.save(traced, str(folder / _FILE))
        return CompileReport(flags=("torch.jit.freeze",) if self.freeze else ())

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the graph. Its profiling executor optimises during the first two calls."""
        import torch

        from benchmark.models import networks

        assert folder is not None  # noqa: S101 - leaves_artifact
        warnings.simplefilter("ignore")
        arithmetic = self.configure(workload)
        module = torch.jit.load(str(folder / _FILE), map_location=workload.torch_device)
        session = networks.inference_session(module, self.inputs(workload), arithmetic)
        return replace(session, choices=self.choices(workload))
