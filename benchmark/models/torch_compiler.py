"""What the compilers of torch itself share: eager, torchscript, inductor and aot_inductor."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmark.host import libraries
from benchmark.precision import AutocastDtype, Dtype, MatmulPrecision, Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import Arithmetic, FastMath, Workload, frozen
from benchmark.training_records import TrainingSetup


def use_own_folder() -> None:
    """Keep what torch compiles for itself where only this user can write.

    Torch's default, `torchinductor_USER` in the temporary folder, is a name that anyone can take first. The
    precompiled headers there become part of compiled models (torch 2.13, torch/_inductor/codecache.py).
    """
    from torch._inductor import codecache

    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        folder = Path(home, "benchmark", "torchinductor")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        is_own = folder.stat().st_uid == os.geteuid()
    except (OSError, RuntimeError):  # of another user, or there is no home that can be written
        is_own = False
    folder = folder if is_own else Path(tempfile.mkdtemp())
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    headers = folder / "precompiled_headers"
    codecache._HEADER_DIR = str(headers)  # noqa: SLF001 - has no setting
    codecache._HEADER_LOCK_DIR = str(headers / "locks")  # noqa: SLF001


@frozen
class TorchCompiler(CompilerDefaults):
    """Options of every torch compiler, and what they mean for the module and its inputs."""

    fast_math: FastMath = "none"
    """none: true fp32; matmult: torch's matmul precision "medium", on GPUs tf32; all: autocast."""
    dtype: Dtype = "fp32"
    """Type of all weights and real-valued inputs; fp16 is for GPUs."""
    autocast_dtype: AutocastDtype = "bf16"
    """Type that `fast_math=all` casts to; fp16 is for GPUs: those before Ampere have nothing faster."""
    matmul_precision: Literal["highest", "high", "medium", "fastest"] | None = None
    """Torch's setting for products of fp32; null: torch's own, "highest", unless fast_math asks for less.
    fastest: timed on the model's own call, among those that stay within fast_math."""
    python: str | None = None
    """Interpreter that builds, compiles and measures; null: the one that runs this program."""

    name: ClassVar[str]
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    fixes_precision: ClassVar[bool] = False
    """Whether the matmul precision is that of the compilation, not that of the call."""

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math. A model of sixteen bits is as inexact as casting everything."""
        return self.fast_math if self.dtype == "fp32" else "all"

    def refuse(self, kind: str) -> str | None:
        """Refuse types that are slow on this kind of device, and casts without effect."""
        if self.autocast_dtype == "fp16" and self.fast_math != "all":
            return (
                f"autocast_dtype=fp16 has no effect with fast_math={self.fast_math}: "
                "use fast_math=all, or autocast_dtype=bf16"
            )
        for option, value in {"dtype": self.dtype, "autocast_dtype": self.autocast_dtype}.items():
            if value == "fp16" and kind == "cpu":
                return (
                    f"{option}=fp16 is for GPUs, on a CPU fp16 products were 188 times slower than bf16 ones "
                    f"(AMD, 2026-11): use {option}=bf16"
                )
        if self.dtype != "fp32" and self.fast_math != "none":
            return (
                f"fast_math={self.fast_math} casts from fp32, of which dtype={self.dtype} leaves nothing: "
                f"use fast_math=none with dtype={self.dtype}, or dtype=fp32"
            )
        return self._refuse_precision(kind) if self.matmul_precision else None

    def _refuse_precision(self, kind: str) -> str | None:
        """Refuse a matmul precision without effect, against fast_math, or that can't be timed."""
        chosen = f"matmul_precision={self.matmul_precision}"
        if self.dtype != "fp32" or self.fast_math == "all":
            option = f"dtype={self.dtype}" if self.dtype != "fp32" else "fast_math=all"
            return (
                f"{chosen} is for products of fp32, of which {option} leaves none: use matmul_precision=null"
            )
        if self.matmul_precision == "fastest" and self.fixes_precision:
            return (
                f"{chosen} is timed on the compiled model, but {self.name} fixes it when it compiles: "
                "use -m and compiler.matmul_precision=highest,medium"
            )
        if self.matmul_precision == "highest" and self.fast_math == "matmult":
            return f"{chosen} leaves fast_math=matmult nothing to do: use fast_math=none"
        if kind == "cuda" and self.fast_math == "none" and self.matmul_precision in {"high", "medium"}:
            return f"{chosen} is tf32 on a GPU, fast_math=none is fp32: use fast_math=matmult"
        return None

    def versions(self) -> Mapping[str, str]:
        """Version of torch."""
        return libraries.versions("torch", install="pip install torch", python=self.python)

    def configure(self, workload: Workload) -> Arithmetic:
        """Set the threads and the precision of this process; return the arithmetic in effect."""
        return self._configure(
            workload, None if self.matmul_precision == "fastest" else self.matmul_precision
        )

    def _configure(self, workload: Workload, precision: MatmulPrecision | None) -> Arithmetic:
        import torch

        from benchmark.models import numerics

        arithmetic = numerics.configure(
            self.fast_math,
            workload.threads,
            workload.torch_device,
            self.dtype,
            self.autocast_dtype,
            precision,
        )
        return replace(arithmetic, matmul_precision=torch.get_float32_matmul_precision())

    def refuse_training_options(self) -> str | None:
        """Refuse options of a torch compiler that have no meaning in training."""
        if self.dtype != "fp32":
            return (
                f"dtype={self.dtype} would train weights of 16 bits, whose small updates are lost: "
                "use dtype=fp32 with fast_math=all"
            )
        if self.matmul_precision == "fastest":
            return "matmul_precision=fastest is timed on calls: name one, such as highest or medium"
        return None

    def training_setup(self, workload: Workload) -> TrainingSetup:
        """Set the arithmetic of this process; operators run one by one."""
        casts = self.fast_math == "all"
        return TrainingSetup(
            arithmetic=self.configure(workload), autocast=self.autocast_dtype if casts else None
        )

    def choices(self, workload: Workload) -> tuple[Callable[[], Arithmetic], ...]:
        """Return the matmul precisions to choose the fastest of; none unless that is asked for."""
        if self.matmul_precision != "fastest":
            return ()
        from benchmark.models import numerics

        possible = numerics.allowed(self.fast_math, workload.torch_device)
        return tuple(partial(self._configure, workload, precision) for precision in possible)

    def prepared(self, workload: Workload) -> Any:
        """The workload's module, on its device and in its type, with autocast inside where that is chosen."""
        from benchmark.models import numerics

        return numerics.prepared(
            workload.load_module(), self.fast_math, workload.torch_device, self.dtype, self.autocast_dtype
        )

    def inputs(self, workload: Workload) -> tuple[Any, ...]:
        """The workload's inputs, on its device and in its type."""
        from benchmark.models import networks

        return networks.read_inputs(workload, self.dtype)
