"""torch-neuronx: NeuronCores of the second generation on (inf2, trn1, trn2).

By the documented interface (aws-neuron-sdk, torch_neuronx.trace); it has not run on a device yet.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from benchmark import libraries
from benchmark.errors import LibraryMissing
from benchmark.precision import Tolerance
from benchmark.records import Arithmetic, CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.pt"
_INSTALL = "pip install torch-neuronx neuronx-cc --extra-index-url https://pip.repos.neuron.amazonaws.com"


@frozen
class NeuronX:
    """`torch_neuronx.trace`; `--auto-cast` is always given: its default changed with neuronx-cc 2.22."""

    fast_math: FastMath = "none"
    """`--auto-cast`: none is true fp32, matmult casts matrix products, all casts everything."""
    auto_cast_type: Literal["bf16", "fp16", "tf32", "fp8_e4m3"] = "bf16"
    """`--auto-cast-type`; without effect when fast_math is none."""
    optlevel: Literal[1, 2, 3] = 2
    """`--optlevel`: compile time against speed."""
    model_type: Literal["generic", "transformer", "unet-inference"] = "transformer"
    """`--model-type`: which optimisations apply."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "neuronx"
    runs_on: ClassVar[frozenset[str]] = frozenset({"neuroncore-v2", "neuroncore-v3"})
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
        found = libraries.versions("torch-neuronx", "neuronx-cc", install=_INSTALL, python=self.python)
        if stubs := [name for name, version in found.items() if version.startswith("1.0")]:
            raise LibraryMissing(f"{' and '.join(stubs)} here is PyPI's stub: {_INSTALL}")
        return found

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Trace for the target at hand."""
        import torch
        import torch_neuronx

        from benchmark import torch_models

        flags = self._flags()
        with tempfile.TemporaryDirectory() as work:
            traced = torch_neuronx.trace(
                workload.load_module(),
                torch_models.read_inputs(workload),
                compiler_workdir=work,
                compiler_args=flags,
            )
        torch.jit.save(traced, str(folder / _FILE))
        return CompileReport(flags=tuple(flags))

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load to one NeuronCore; calls take and return CPU tensors, so wall time is end to end."""
        import torch
        import torch_neuronx  # noqa: F401 - registers the operators that the file names

        from benchmark import torch_models

        assert folder is not None  # noqa: S101 - leaves_artifact
        model = torch.jit.load(str(folder / _FILE))
        inputs = torch_models.read_inputs(workload)

        matmul = "fp32" if self.fast_math == "none" else self.auto_cast_type
        other = self.auto_cast_type if self.fast_math == "all" else "fp32"
        return Session(
            run=lambda: model(*inputs),
            call=model,
            inputs=inputs,
            arithmetic=Arithmetic(
                model_dtype="fp32", matmul_dtype=matmul, other_dtype=other, autocast=self.fast_math
            ),
        )

    def _flags(self) -> list[str]:
        flags = ["--auto-cast", self.fast_math]
        if self.fast_math != "none":
            flags += ["--auto-cast-type", self.auto_cast_type]
        return [*flags, "--optlevel", str(self.optlevel), "--model-type", self.model_type]
