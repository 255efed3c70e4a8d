"""TorchNeuron: torch.compile(backend="neuron") of the native torch-neuronx, on Trainium2 and Trainium3.

A closed beta of AWS (aws-neuron-sdk at 81ce03ae, frameworks/torch/pytorch-native-overview.rst). By a public
copy of its source (parmoham-aws/test-repo-parmoham at 98154b86); it has not run on a device here.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

from benchmark.errors import CompileFailed, Fallback, LibraryMissing, Unavailable
from benchmark.neuron import compiler_logs
from benchmark.neuron.torch_compile import DEVICE, TorchCompileOnNeuron, set_variables
from benchmark.records import CompileReport, Session, Workload, frozen

_CACHE: Final = "cache"
_NO_FALLBACK: Final = {
    "TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "1",
    "TORCH_NEURONX_FALLBACK_ONLY_FOR_UNIMPLEMENTED_OPS": "1",
    "TORCH_NEURONX_DYNAMO_DISABLE_CPU_AUTOCOPY": "1",
}
"""Without these, what the device can't run is run on the CPU in silence (backend.py:237 of that copy)."""


@frozen
class TorchNeuron(TorchCompileOnNeuron):
    """`torch.compile(backend="neuron")`. The folder of the library's own cache is the artefact.

    An operator that the library ran on the CPU is status `fallback`, though the environment forbids it.
    """

    name: ClassVar[str] = "torchneuron"
    distributions: ClassVar[tuple[str, ...]] = ("torch-neuronx", "neuronx-cc")
    install: ClassVar[str] = (
        "pip install the wheels of the native one, which AWS gives to those in its closed beta, or use "
        "compiler=neuron_libtorch"
    )
    proof: ClassVar[tuple[str, str]] = ("torch_neuronx", "get_fallback_ops")

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Call the module once on the device: the library can't compile elsewhere.

        Raises:
            Unavailable: there is no device.
            Fallback: operators ran on the CPU.
            UnsupportedOperator, OutOfDeviceMemory, CompileFailed: by the compiler's NCC_ codes, or since the
                library left no program.
        """
        from benchmark.models import networks

        library = self._library(workload, folder / _CACHE)
        module = workload.load_module()
        narrow = self.narrowed(module, networks.read_inputs(workload))
        with tempfile.TemporaryDirectory() as work, compiler_logs.compiling(Path(work)):
            self._session(library, module, workload)
        if not (neff_bytes := compiler_logs.neff_bytes(folder / _CACHE)):
            raise CompileFailed("the library left no program (.neff) in its cache")
        return CompileReport(
            flags=tuple(self.installed_flags(workload)), neff_bytes=neff_bytes, narrowed=narrow
        )

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Compile again, with a copy of the cache.

        Raises:
            Incompatible: this process has other logical cores than the program was compiled for.
            Fallback: operators ran on the CPU.
        """
        assert folder is not None  # noqa: S101 - leaves_artifact
        with tempfile.TemporaryDirectory() as work:
            shutil.copytree(folder / _CACHE, Path(work, _CACHE))
            library = self._library(workload, Path(work, _CACHE))
            return self._session(library, workload.load_module(), workload)

    def _library(self, workload: Workload, cache: Path) -> Any:
        self.set_cores()
        # The last of two options wins, and these come after the library's own.
        set_variables(
            NEURON_CC_FLAGS=" ".join(self.installed_flags(workload)),
            TORCH_NEURONX_NEFF_CACHE_DIR=cache,
            **_NO_FALLBACK,
        )
        import torch

        try:
            library = importlib.import_module(self.proof[0])
        except (ImportError, OSError, RuntimeError) as error:
            raise LibraryMissing(f"{self.proof[0]} can't be imported ({error}): {self.install}") from error
        if not torch.neuron.is_available():  # the library adds it
            raise Unavailable(
                "torchneuron compiles on the device only, and sees none: compile on the instance"
            )
        return library

    def _session(self, library: Any, module: Any, workload: Workload) -> Session:
        import torch

        from benchmark.models import networks

        library.clear_op_tracking()
        compiled = torch.compile(module.to(DEVICE), backend="neuron", fullgraph=True, dynamic=False)
        inputs = networks.read_inputs(workload)
        session = networks.device_session(compiled, inputs, DEVICE, self.arithmetic())
        if operators := sorted(library.get_fallback_ops()):
            raise Fallback(f"ran on the CPU: {', '.join(operators)}", operators=tuple(operators))
        return session
