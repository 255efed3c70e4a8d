"""torch.compile: Dynamo captures the graph, Inductor compiles it; Inductor's cache folder is the artefact."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmark.errors import LibraryMissing, UnsupportedOperator
from benchmark.host import libraries
from benchmark.models.torch_compiler import TorchCompiler, use_own_folder
from benchmark.nvidia import toolkit
from benchmark.records import CompileReport, Session, Workload, frozen
from benchmark.training_records import TrainingSetup

_CACHE = "cache"
_FOLDERS = {"TORCHINDUCTOR_CACHE_DIR": "", "TRITON_CACHE_DIR": "triton"}
"""Variables that name torch's caches, and where these lie in the cache of an artefact."""
_CUDA_GRAPHS = {"reduce-overhead": "default", "max-autotune": "max-autotune-no-cudagraphs"}
"""Modes that replay CUDA graphs, and the same modes without them."""


@frozen
class Inductor(TorchCompiler):
    """`torch.compile(backend="inductor")`. Loading captures the graph again; its code is in the cache."""

    mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "default"
    """reduce-overhead replays CUDA graphs; max-autotune times candidate kernels and is slow to compile."""
    freezing: bool = True
    """Fold and pre-pack constant weights; with bf16 most of the speed comes from this."""
    fullgraph: bool = False
    """Fail if the model isn't captured as one graph, instead of running the code between graphs in Python."""
    dynamic: bool = False
    """Generate code for all sizes, instead of the cell's alone."""
    cpp_wrapper: bool = False
    """Call the kernels from generated C++ instead of Python: less time between kernels."""

    name: ClassVar[str] = "inductor"
    leaves_artifact: ClassVar[bool] = True
    unpickles: ClassVar[bool] = True
    fixes_precision: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = (
        "benchmark.models.numerics",
        "torch._dynamo",
        "torch._inductor.compile_fx",
    )

    def refuse(self, kind: str) -> str | None:
        """Refuse CUDA graphs on a CPU, and the types that every torch compiler refuses."""
        if kind == "cpu" and self.mode in _CUDA_GRAPHS:
            return f"mode={self.mode} replays CUDA graphs, a CPU has none: use mode={_CUDA_GRAPHS[self.mode]}"
        return super().refuse(kind)

    def versions(self) -> Mapping[str, str]:
        """Versions of torch and of the C++ compiler that builds its kernels."""
        return {**super().versions(), "g++": libraries.gxx(self.name)}

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Call the module once, with torch's cache in `folder`.

        Raises:
            LibraryMissing: on a GPU, where Triton can't build its launchers.
        """
        import torch
        from torch._dynamo.utils import counters

        if workload.torch_device == "cuda" and (lacking := toolkit.lacking_for_triton()):
            raise LibraryMissing(lacking)
        cache = folder / _CACHE
        counters.clear()
        with _cache_in(cache):
            try:
                self._session(workload)
            except torch._dynamo.exc.Unsupported as error:  # noqa: SLF001
                raise UnsupportedOperator(f"torch.compile: {str(error).splitlines()[0]}") from error
        shutil.rmtree(cache / "locks", ignore_errors=True)
        return CompileReport(
            flags=tuple(f"{name}={value}" for name, value in {"mode": self.mode, **self._options()}.items()),
            subgraphs=counters["stats"]["unique_graphs"],
            graph_breaks=sum(counters["graph_break"].values()),
        )

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Capture the graph again, with a copy of the cache: torch writes into the cache that it reads."""
        assert folder is not None  # noqa: S101 - leaves_artifact
        with tempfile.TemporaryDirectory() as work:
            cache = Path(work) / _CACHE
            shutil.copytree(folder / _CACHE, cache)
            with _cache_in(cache):
                return self._session(workload)

    def refuse_training(self) -> str | None:
        """Refuse what no torch compiler trains with."""
        return self.refuse_training_options()

    def for_training(self, workload: Workload, folder: Path) -> TrainingSetup:
        """Compile in the first step, with an empty cache in `folder`. Weights change: nothing is frozen."""
        import torch
        from torch._dynamo.utils import counters

        counters.clear()
        use_own_folder()
        _use_cache(folder / _CACHE)
        options = {**torch._inductor.list_mode_options(self.mode), "cpp_wrapper": self.cpp_wrapper}  # noqa: SLF001
        compiled = partial(torch.compile, fullgraph=self.fullgraph, dynamic=self.dynamic, options=options)

        def report() -> CompileReport:
            return CompileReport(
                flags=(f"mode={self.mode}", f"cpp_wrapper={self.cpp_wrapper}"),
                subgraphs=counters["stats"]["unique_graphs"],
                graph_breaks=sum(counters["graph_break"].values()),
            )

        return replace(self.training_setup(workload), compiled=compiled, report=report)

    def _session(self, workload: Workload) -> Session:
        """Session of the module; a first call compiles it."""
        import torch

        arithmetic = self.configure(workload)
        module = self.prepared(workload)
        options = {**torch._inductor.list_mode_options(self.mode), **self._options()}  # noqa: SLF001
        compiled = torch.compile(module, fullgraph=self.fullgraph, dynamic=self.dynamic, options=options)
        inputs = self.inputs(workload)

        def call(*tensors: Any) -> Any:
            with torch.inference_mode():
                return compiled(*map(_inference, tensors))

        def _inference(tensor: Any) -> Any:
            # Dynamo treats tensors made under inference_mode (answers of other parts) unlike tensors read
            # from a file: it would compile again for each mixture of the two.
            return tensor if tensor.is_inference() else torch.from_dlpack(tensor)

        with torch.inference_mode():
            views = tuple(map(_inference, inputs))

        def call_and_keep(*tensors: Any) -> Any:
            # A replay overwrites the answers of the replay before, and torch then refuses to read those
            # (torch/_inductor/cudagraph_trees.py). A model that calls a part twice needs both answers.
            return [answer.clone() for answer in call(*tensors)]

        call(*views)
        return Session(
            run=lambda: call(*views),
            call=call_and_keep if self.mode in _CUDA_GRAPHS else call,
            arithmetic=arithmetic,
            inputs=inputs,
        )

    def _options(self) -> dict[str, Any]:
        return {"freezing": self.freezing, "cpp_wrapper": self.cpp_wrapper}


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Put torch's caches into `folder` while the block lasts, and clear them in memory before."""
    use_own_folder()
    before = {name: os.environ.get(name) for name in _FOLDERS}
    _use_cache(folder)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _use_cache(folder: Path) -> None:
    """Put torch's caches into `folder`, and clear them in memory."""
    from torch._inductor.utils import clear_caches

    clear_caches()
    os.environ.update({name: str(folder / below) for name, below in _FOLDERS.items()})
