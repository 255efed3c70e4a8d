"""Torch-TensorRT, for NVIDIA GPUs: exported, converted to TensorRT engines, saved as an exported program.

By the documented interface (torch_tensorrt.compile with ir="dynamo", torch_tensorrt.save), with the options
of the wheels 2.10 and 2.14 (torch_tensorrt/dynamo/_compiler.py, 2026-11). It has not run on a device yet.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from benchmark.errors import Fallback, LibraryMissing
from benchmark.host import libraries
from benchmark.precision import AutocastDtype, Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.ep"
_INSTALL = f"{libraries.command_for('tensorrt')}, beside torch of CUDA"
_TENSORRT = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")
"""Distributions of TensorRT: torch-tensorrt 2.14 requires only the last, 2.10 also the first."""
_LOW = {"bf16": "bfloat16", "fp16": "float16"}


@frozen
class TensorRt(CompilerDefaults):
    """`torch_tensorrt.compile(ir="dynamo")`. Torch runs the operators that TensorRT lacks."""

    fast_math: FastMath = "none"
    """none: fp32; matmult: tf32 products; all: casts where Torch-TensorRT's rules for autocast allow it."""
    autocast_dtype: AutocastDtype = "fp16"
    """Type that `fast_math=all` casts to."""
    optimization_level: Annotated[int, Field(ge=0, le=5)] = 3
    """How many tactics TensorRT times: 0 takes the first, 5 compiles longest; 3 is its default."""
    workspace_gib: PositiveFloat | None = None
    """GPU memory that a tactic may use; null: all."""
    min_block_size: PositiveInt = 5
    """Fewest operators of a TensorRT engine; torch runs shorter sequences."""
    fullgraph: bool = False
    """Fail if torch would run any operator."""
    python: str | None = None
    """Interpreter that builds, compiles and measures; null: the one that runs this program."""

    name: ClassVar[str] = "tensorrt"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cuda"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ("benchmark.models.networks",)

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math."""
        return self.fast_math

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - it runs on one kind only
        """Refuse a type to cast to without a cast."""
        if self.autocast_dtype == "bf16" and self.fast_math != "all":
            return (
                f"autocast_dtype=bf16 has no effect with fast_math={self.fast_math}: "
                "use fast_math=all, or autocast_dtype=fp16"
            )
        return None

    def versions(self) -> Mapping[str, str]:
        """Versions of torch-tensorrt, torch and TensorRT."""
        found = libraries.versions("torch-tensorrt", "torch", install=_INSTALL, python=self.python)
        for name in _TENSORRT:
            with suppress(LibraryMissing):
                return found | libraries.versions(name, install=_INSTALL, python=self.python)
        return found | libraries.versions(_TENSORRT[0], install=_INSTALL, python=self.python)

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Export with static shapes, convert, save.

        Raises:
            Fallback: TensorRT would run no part of the model.
        """
        import torch
        import torch_tensorrt

        from benchmark.models import networks, numerics

        options = self.options()
        flags = tuple(f"{name}={value}" for name, value in options.items())
        if low := options.pop("autocast_low_precision_type", None):
            options["autocast_low_precision_type"] = getattr(torch, low)
        # Torch computes the constants that are folded.
        numerics.configure(self.fast_math, workload.threads, workload.torch_device)
        inputs = networks.read_inputs(workload)
        module = workload.load_module().to(workload.torch_device)
        # By default its timing cache outlives the process, and a later compilation would use the earlier's.
        if "attn_bias_is_causal" in signature(torch_tensorrt.dynamo.compile).parameters:
            options["attn_bias_is_causal"] = False  # by default a mask of padding becomes a causal one
        with torch.no_grad(), tempfile.TemporaryDirectory() as work:
            converted = torch_tensorrt.compile(
                module,
                ir="dynamo",
                inputs=list(inputs),
                timing_cache_path=str(Path(work) / "timing_cache.bin"),
                **options,
            )
            engines = sum("_run_on_acc" in name for name, _ in converted.named_children())
            if not engines:
                raise Fallback(
                    "Torch-TensorRT made no engine, torch would run the whole model: lower "
                    f"compiler.min_block_size={self.min_block_size}, or use compiler=inductor"
                )
            torch_tensorrt.save(
                converted, str(folder / _FILE), output_format="exported_program", arg_inputs=list(inputs)
            )
        return CompileReport(flags=flags, subgraphs=engines)

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the engines, and torch's operators between them."""
        import torch_tensorrt

        from benchmark.models import networks, numerics

        assert folder is not None  # noqa: S101 - leaves_artifact
        # Torch's switches apply to its operators between the engines. The type of torch's products shows
        # whether this GPU has tf32.
        arithmetic = numerics.configure(
            self.fast_math, workload.threads, workload.torch_device, autocast_dtype=self.autocast_dtype
        )
        module = torch_tensorrt.load(str(folder / _FILE)).module()
        return networks.inference_session(module, networks.read_inputs(workload), arithmetic)

    def options(self) -> dict[str, Any]:
        """Arguments of `torch_tensorrt.compile`; a type is the name of torch's."""
        autocast = {"enable_autocast": True, "autocast_low_precision_type": _LOW[self.autocast_dtype]}
        return {
            "disable_tf32": self.fast_math == "none",
            "optimization_level": self.optimization_level,
            "workspace_size": round((self.workspace_gib or 0) * 2**30),
            "min_block_size": self.min_block_size,
            "require_full_compilation": self.fullgraph,
        } | (autocast if self.fast_math == "all" else {})
