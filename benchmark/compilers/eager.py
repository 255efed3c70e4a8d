"""PyTorch without a compiler: operators run one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from benchmark.models.dynamic_int8 import DynamicInt8
from benchmark.records import CompileReport, Session, Workload, frozen
from benchmark.training_records import TrainingSetup


@frozen
class Eager(DynamicInt8):
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

    def refuse_training(self) -> str | None:
        """Refuse what no torch compiler trains with."""
        return self.refuse_training_options()

    def for_training(self, workload: Workload, folder: Path) -> TrainingSetup:  # noqa: ARG002 - writes nothing
        """Operators run one by one."""
        return self.training_setup(workload)
