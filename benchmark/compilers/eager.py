"""PyTorch without a compiler: operators run one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from benchmark.models.torch_compiler import TorchCompiler
from benchmark.records import CompileReport, Session, Workload, frozen


@frozen
class Eager(TorchCompiler):
    """No compiler: the baseline of every comparison."""

    name: ClassVar[str] = "eager"
    leaves_artifact: ClassVar[bool] = False
    preload: ClassVar[tuple[str, ...]] = ("benchmark.models.numerics",)

    def compile(self, workload: Workload, folder: Path) -> CompileReport:  # noqa: ARG002
        """Write nothing."""
        return CompileReport()

    def load(self, workload: Workload, folder: Path | None) -> Session:  # noqa: ARG002
        """Load the module itself."""
        from benchmark.models import networks

        arithmetic = self.configure(workload)
        session = networks.inference_session(self.prepared(workload), self.inputs(workload), arithmetic)
        return replace(session, choices=self.choices(workload))
