"""OpenXLA: torch.compile(backend="openxla") of torch_xla, on its PJRT device for CPUs.

torch_xla 2.9 is the newest on PyPI and needs torch 2.9 (2026-11). Beside a newer torch it needs a virtual
environment of its own, whose interpreter is `python`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.host import libraries
from benchmark.precision import Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import CompileReport, FastMath, Session, Workload, frozen

_INSTALL = (
    "pip install torch==2.9.1 torch_xla==2.9.0 transformers==4.57.6 "
    "filelock numpy omegaconf psutil pydantic scipy"
)
_ELSEWHERE = "compiler.python=FOLDER/bin/python takes it from python3 -m venv FOLDER; FOLDER/bin/"


@frozen
class OpenXla(CompilerDefaults):
    """`torch.compile(backend="openxla")`. It compiles during the first call: first_call_ms has the time.

    compile_s is null, since there is no artefact: on CPUs its persistent cache can't be read again
    (PersistentCacheDeserializeFailure, torch_xla 2.9.0, 2026-11).
    """

    fast_math: FastMath = "none"
    """none: true fp32; all: bf16 autocast inside the graph. It can't cast matrix products only."""
    python: str | None = None
    """Interpreter that builds, compiles and measures; null: the one that runs this program."""

    name: ClassVar[str] = "openxla"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu"})
    leaves_artifact: ClassVar[bool] = False
    preload: ClassVar[tuple[str, ...]] = ("benchmark.models.numerics", "torch._dynamo", "torch_xla")

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math."""
        return self.fast_math

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - it runs on one kind only
        """Refuse casts that it lacks."""
        if self.fast_math == "matmult":
            return "fast_math=matmult doesn't work, it casts all or nothing: use none or all"
        return None

    def versions(self) -> Mapping[str, str]:
        """Versions of torch and torch_xla."""
        install = _INSTALL if self.python else _ELSEWHERE + _INSTALL
        return libraries.versions("torch", "torch_xla", install=install, python=self.python)

    def compile(self, workload: Workload, folder: Path) -> CompileReport:  # noqa: ARG002
        """Write nothing."""
        return CompileReport()

    def load(self, workload: Workload, folder: Path | None) -> Session:  # noqa: ARG002
        """Move the module to XLA's device; the first call compiles it."""
        # XLA reads both when it makes its first device; the second is the size of its thread pools.
        os.environ["PJRT_DEVICE"] = "CPU"
        os.environ["NPROC"] = str(workload.threads or os.cpu_count())
        import torch
        import torch_xla

        from benchmark.models import networks, numerics

        device = torch_xla.device()
        arithmetic = numerics.configure(self.fast_math, workload.threads, "xla")
        module = numerics.prepared(workload.load_module(), self.fast_math, "xla")
        compiled = torch.compile(module, backend="openxla", dynamic=False)
        inputs = networks.read_inputs(workload)

        def call(*tensors: Any) -> Any:
            # Timed: copy the inputs to XLA's memory, run the graph, copy the answers back. XLA runs
            # asynchronously; the copy of an answer waits for it.
            with torch.inference_mode(mode=False), torch.no_grad():
                answers = compiled(*(tensor.to(device) for tensor in tensors))
                return tuple(answer.cpu() for answer in answers)

        return Session(run=lambda: call(*inputs), call=call, arithmetic=arithmetic, inputs=inputs)
