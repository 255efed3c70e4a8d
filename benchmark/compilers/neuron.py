"""torch-neuron: NeuronCores of the first generation (inf1); archived by AWS, kept for comparison.

By the documented interface (aws-neuron-sdk, torch_neuron.trace); it has not run on a device yet.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmark import libraries
from benchmark.errors import CompileFailed, LibraryMissing
from benchmark.precision import Tolerance
from benchmark.records import Arithmetic, CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.pt"
_INSTALL = (
    "pip install torch-neuron==1.13.1.* 'neuron-cc[tensorflow]' "
    "--extra-index-url https://pip.repos.neuron.amazonaws.com (Python 3.9 or 3.10)"
)
_FAST_MATH: dict[FastMath, str] = {"none": "none", "matmult": "fp32-cast-matmult", "all": "all"}


@frozen
class Neuron:
    """`torch_neuron.trace`; even `none` multiplies matrices in bf16 on this hardware, and the row says so."""

    fast_math: FastMath = "none"
    """`--fast-math`: none, fp32-cast-matmult, all."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "neuron"
    runs_on: ClassVar[frozenset[str]] = frozenset({"neuroncore-v1"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ()

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math."""
        return self.fast_math

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - the same on every device
        """Every option is the compiler's own."""
        return None

    def versions(self) -> Mapping[str, str]:
        """Library and compiler; the packages of these names on PyPI are stubs of version 1.0."""
        found = libraries.versions("torch-neuron", "neuron-cc", install=_INSTALL, python=self.python)
        if stubs := [name for name, version in found.items() if version in {"1.0", "1.0.0", "1.0.0.0"}]:
            raise LibraryMissing(f"{' and '.join(stubs)} here is PyPI's stub: {_INSTALL}")
        return found

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Trace; a graph of which nothing was placed on the device counts as failed."""
        import torch
        import torch_neuron

        from benchmark import torch_models

        flags = ["--fast-math", _FAST_MATH[self.fast_math]]
        with tempfile.TemporaryDirectory() as work:
            traced = torch_neuron.trace(
                workload.load_module(),
                torch_models.read_inputs(workload),
                compiler_workdir=work,
                compiler_args=flags,
            )
        subgraphs = sum(
            getattr(part, "original_name", "").startswith("NeuronModule") for part in traced.modules()
        )
        if not subgraphs:
            raise CompileFailed(
                "torch_neuron.trace placed no operator on the device and returned a CPU graph"
            )
        torch.jit.save(traced, str(folder / _FILE))
        return CompileReport(flags=tuple(flags), subgraphs=subgraphs)

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load to one NeuronCore; calls take and return CPU tensors."""
        import torch
        import torch_neuron  # noqa: F401 - registers the operators that the file names

        from benchmark import torch_models

        assert folder is not None  # noqa: S101 - leaves_artifact
        model = torch.jit.load(str(folder / _FILE))
        inputs = torch_models.read_inputs(workload)

        other = "bf16" if self.fast_math == "all" else "fp32"
        return Session(
            run=lambda: model(*inputs),
            call=model,
            inputs=inputs,
            arithmetic=Arithmetic(
                model_dtype="fp32", matmul_dtype="bf16", other_dtype=other, autocast=self.fast_math
            ),
        )
