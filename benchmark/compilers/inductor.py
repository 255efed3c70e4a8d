"""torch.compile: Dynamo captures, Inductor compiles; Inductor's cache folder is the artefact."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmark import precision
from benchmark.errors import UnsupportedOperator
from benchmark.host import libraries
from benchmark.precision import AutocastDtype, Dtype, Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import CompileReport, FastMath, Session, Workload, frozen

_CACHE = "cache"
_CUDA_GRAPHS = {"reduce-overhead": "default", "max-autotune": "max-autotune-no-cudagraphs"}
"""Modes that replay CUDA graphs, and what they are without."""


@frozen
class Inductor(CompilerDefaults):
    """`torch.compile(backend="inductor")`; loading captures the graph again and finds its code cached."""

    fast_math: FastMath = "none"
    """none: true fp32; matmult: torch's matmul precision "medium", on GPUs tf32; all: the graph casts."""
    dtype: Dtype = "fp32"
    """The whole model and its real-valued inputs; fp16 is for GPUs."""
    autocast_dtype: AutocastDtype = "bf16"
    """What `fast_math=all` casts to; fp16 is for GPUs, those before Ampere have nothing faster."""
    mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "default"
    """reduce-overhead replays CUDA graphs; max-autotune times kernel candidates; slow to compile."""
    freezing: bool = True
    """Fold and pre-pack constant weights: with bf16 this is most of the speed."""
    fullgraph: bool = False
    """Refuse a model that can't be captured as one graph, instead of running what lies between in Python."""
    dynamic: bool = False
    """Code for any sizes instead of those of the cell."""
    cpp_wrapper: bool = False
    """Call the kernels from generated C++ instead of Python: less time between them."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "inductor"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = (
        "benchmark.models.numerics",
        "torch._dynamo",
        "torch._inductor.compile_fx",
    )

    @property
    def tolerance(self) -> Tolerance:
        """Sixteen bits are held to what `fast_math=all` is."""
        return precision.tolerance(self.fast_math, self.dtype)

    def refuse(self, kind: str) -> str | None:
        """Refuse CUDA graphs where there is no CUDA, and types as every torch compiler does."""
        if kind == "cpu" and self.mode in _CUDA_GRAPHS:
            return f"mode={self.mode} replays CUDA graphs, a CPU has none: use mode={_CUDA_GRAPHS[self.mode]}"
        return precision.refuse(self.fast_math, self.dtype, kind, self.autocast_dtype)

    def versions(self) -> Mapping[str, str]:
        """Torch and the C++ compiler that builds its kernels."""
        found = libraries.versions("torch", install="pip install torch", python=self.python)
        return {**found, "g++": libraries.gxx(self.name)}

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Call the module once with its cache in `folder`."""
        import torch
        from torch._dynamo.utils import counters

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
        """Capture again, over a copy of the cache: torch writes into it as it reads."""
        assert folder is not None  # noqa: S101 - leaves_artifact
        with tempfile.TemporaryDirectory() as work:
            cache = Path(work) / _CACHE
            shutil.copytree(folder / _CACHE, cache)
            with _cache_in(cache):
                return self._session(workload)

    def _session(self, workload: Workload) -> Session:
        """The module, compiled by a first call."""
        import torch

        from benchmark.models import networks, numerics

        device = workload.torch_device
        arithmetic = numerics.configure(
            self.fast_math, workload.threads, device, self.dtype, self.autocast_dtype
        )
        module = numerics.prepared(
            workload.load_module(), self.fast_math, device, self.dtype, self.autocast_dtype
        )
        options = {**torch._inductor.list_mode_options(self.mode), **self._options()}  # noqa: SLF001
        compiled = torch.compile(module, fullgraph=self.fullgraph, dynamic=self.dynamic, options=options)
        inputs = networks.read_inputs(workload, self.dtype)

        def call(*tensors: Any) -> Any:
            with torch.inference_mode():
                return compiled(*map(_inference, tensors))

        def _inference(tensor: Any) -> Any:
            # Tensors made under inference_mode, as answers of other parts are, are of another kind to Dynamo
            # than those read from a file: it would compile anew for every mixture of both.
            return tensor if tensor.is_inference() else torch.from_dlpack(tensor)

        with torch.inference_mode():
            views = tuple(map(_inference, inputs))

        def call_and_keep(*tensors: Any) -> Any:
            # A replay writes where the one before did, and torch then refuses to read that one's answers
            # (torch/_inductor/cudagraph_trees.py); who calls a part twice wants both.
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
    """Torch's caches in `folder`, nothing remembered from before."""
    from torch._inductor.utils import clear_caches

    ours = {"TORCHINDUCTOR_CACHE_DIR": str(folder), "TRITON_CACHE_DIR": str(folder / "triton")}
    before = {name: os.environ.get(name) for name in ours}
    clear_caches()
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
