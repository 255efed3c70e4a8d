"""libtorch-neuronx-lite: torch.compile(backend="neuron_libtorch"), on Trainium2 and Trainium3.

The library under vLLM's plug-in for Neuron, with public wheels. By the documents of that plug-in
(aws-neuron-sdk at 81ce03ae, vllm-neuron/docs/design/compilation) and by public programs that call the
library; it has not run on a device here.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

from benchmark.errors import CompileFailed, LibraryMissing
from benchmark.neuron import compiler_logs
from benchmark.neuron.torch_compile import DEVICE, TorchCompileOnNeuron, set_variables
from benchmark.records import CompileReport, Session, Workload, frozen

_BACKEND: Final = "neuron_libtorch"
"""Registered on import where a device is: by /dev/neuron*."""
_CAPTURE: Final = "neuron_libtorch_graph_capture"
"""Registered on import everywhere: it lowers and compiles a graph of meta tensors, and runs nothing."""
_CACHE: Final = "cache"


@frozen
class NeuronLibtorch(TorchCompileOnNeuron):
    """`torch.compile(backend="neuron_libtorch")`. The folder of the library's own cache is the artefact.

    A hit in it is required when the model is loaded, so that what is timed was compiled before.
    """

    name: ClassVar[str] = "neuron_libtorch"
    distributions: ClassVar[tuple[str, ...]] = ("libtorch_neuronx_lite", "neuronx-cc")
    install: ClassVar[str] = (
        "pip install libtorch_neuronx_lite neuronx-cc --extra-index-url https://pip.repos.neuron.amazonaws.com"
    )
    proof: ClassVar[tuple[str, str]] = ("libtorch_neuronx_lite", "")

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Call the module once on the device; without one, lower it on meta tensors.

        Raises:
            UnsupportedOperator, OutOfDeviceMemory, CompileFailed: by the compiler's NCC_ codes, or since the
                library left no program.
        """
        flags = self.installed_flags(workload)
        set_variables(NEURON_PLATFORM_TARGET_OVERRIDE=str(workload.target))
        self._prepare(folder / _CACHE)
        from torch._dynamo import list_backends

        from benchmark.models import networks

        module = workload.load_module()
        has_device = _BACKEND in list_backends(exclude_tags=())
        narrow = self.narrowed(module, networks.read_inputs(workload))
        with tempfile.TemporaryDirectory() as work, compiler_logs.compiling(Path(work)):
            if has_device:
                self._session(module, workload, Path(work))
            else:
                self._capture(module, workload, Path(work))
        if not (neff_bytes := compiler_logs.neff_bytes(folder / _CACHE)):
            raise CompileFailed(
                "the library captured the graph and left no program (.neff) in its cache: this version of "
                "libtorch_neuronx_lite compiles on an instance with the device only"
            )
        for lock in (folder / _CACHE).rglob("*.lock"):
            lock.unlink()
        return CompileReport(flags=tuple(flags), neff_bytes=neff_bytes, narrowed=narrow)

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Compile again with a copy of the cache, where a miss is an error; the library writes locks there.

        Raises:
            Incompatible: this process has other logical cores than the program was compiled for.
        """
        assert folder is not None  # noqa: S101 - leaves_artifact
        with tempfile.TemporaryDirectory() as work:
            shutil.copytree(folder / _CACHE, Path(work, _CACHE))
            set_variables(NEURON_LIBTORCH_ASSERT_CACHE_HIT="1")
            self._prepare(Path(work, _CACHE))
            return self._session(workload.load_module(), workload, Path(work))

    def _prepare(self, cache: Path) -> None:
        """Import the library, with its cache in a folder; its backend wants a process group, of one.

        Raises:
            LibraryMissing: it can't be imported.
        """
        self.set_cores()
        set_variables(NEURON_LIBTORCH_CACHE_ROOT=cache)
        _imported(self.proof[0], self.install)
        from torch import distributed

        if not distributed.is_initialized():
            distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)

    def _session(self, module: Any, workload: Workload, work: Path) -> Session:
        from benchmark.models import networks

        compiled = self._compiled(module.to(DEVICE), _BACKEND, workload, work)
        return networks.device_session(compiled, networks.read_inputs(workload), DEVICE, self.arithmetic())

    def _compiled(self, module: Any, backend: str, workload: Workload, work: Path) -> Any:
        import torch

        arguments = " ".join(self.installed_flags(workload))
        options = {"compiler_args": arguments, "compiler_workdir": str(work)}
        return torch.compile(module, backend=backend, fullgraph=True, dynamic=False, options=options)

    def _capture(self, module: Any, workload: Workload, work: Path) -> None:
        """Lower and compile without a device: "meta" tensors have shapes and types, and no values."""
        import torch
        from torch._dynamo.exc import BackendCompilerFailed

        from benchmark.models import networks

        set_variables(NEURON_LIBTORCH_CPU_COMPILE="1")
        done = _imported("libtorch_neuronx_lite.compile.capture_backend", self.install).CaptureComplete
        inputs = [tensor.to("meta") for tensor in networks.read_inputs(workload)]
        try:
            with torch.no_grad():
                self._compiled(module.to("meta"), _CAPTURE, workload, work)(*inputs)
        except done:
            return
        except BackendCompilerFailed as error:  # Dynamo's wrapping of what a backend raises
            if not isinstance(error.inner_exception, done):
                raise


def _imported(name: str, install: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise LibraryMissing(f"{name} can't be imported ({error}): {install}") from error
