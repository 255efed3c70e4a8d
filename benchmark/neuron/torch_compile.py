"""What the compilers behind torch.compile share, on Trainium2 and later: options, flags, types, the call.

Both put a "neuron" device and a Dynamo backend into torch. Neither has run on a device here; their documents
are named where each is used.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from benchmark.errors import CompileFailed
from benchmark.host import libraries
from benchmark.neuron import compiler_logs, integers, logical_cores
from benchmark.neuron.integers import Downcast, NativeInt64
from benchmark.neuron.known_faults import known_fault
from benchmark.neuron.parts import PROGRAM_VARIABLES
from benchmark.precision import Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import Arithmetic, FastMath, Model, Workload, frozen

DEVICE: Final = "neuron:0"
"""The first core that this process sees."""
_NARROWED: Final = {"int64": "int32", "float64": "float32"}
"""Types that both compilers narrow in silence."""


@frozen
class TorchCompileOnNeuron(CompilerDefaults):
    """Options of neuronx-cc, each always given: its defaults differ between versions and front ends."""

    fast_math: FastMath = "none"
    """`--auto-cast`. none: nothing is cast; matmult: matrix products are cast; all: everything is cast."""
    auto_cast_type: Literal["bf16", "fp16", "tf32", "fp8_e4m3"] = "bf16"
    """`--auto-cast-type`: type to cast to; without effect when fast_math is none."""
    optlevel: Literal[1, 2, 3] = 2
    """`--optlevel`: higher compiles longer, for faster code."""
    model_type: Literal["generic", "transformer", "unet-inference"] = "generic"
    """`--model-type`: the kind of model to optimise for."""
    lnc: Literal[1, 2] | None = None
    """`-lnc`: physical cores per logical core; null: 2, the default of compiler and runtime."""
    native_int64: NativeInt64 = "disabled"
    """`--native-int64`: compute in 64-bit integers, more slowly; neuronx-cc 2.27 and later."""
    implicit_integer_downcast: Downcast = "all"
    """`--implicit-integer-downcast`: all: 64-bit integers are narrowed; none: that is an error."""
    python: str | None = None
    """Interpreter that builds, compiles and measures; null: the one that runs this program."""

    name: ClassVar[str]
    runs_on: ClassVar[frozenset[str]] = frozenset({"neuroncore-v3", "neuroncore-v4"})
    leaves_artifact: ClassVar[bool] = True
    unpickles: ClassVar[bool] = True  # torch's caches are pickles, and the back ends keep theirs beside them
    preload: ClassVar[tuple[str, ...]] = ()
    distributions: ClassVar[tuple[str, ...]]
    install: ClassVar[str]
    """Command that installs them."""
    proof: ClassVar[tuple[str, str]]
    """Module that has to be importable, and an attribute that other libraries of its name lack."""

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math; casts to eight bits have that of quantisation to eight bits."""
        return "int8" if self.fast_math != "none" and self.auto_cast_type == "fp8_e4m3" else self.fast_math

    @property
    def variables(self) -> str:
        """Those of library and compiler."""
        return PROGRAM_VARIABLES

    def placement(self, parts: Sequence[str], cores: int) -> Mapping[str, tuple[int, ...]]:  # noqa: ARG002
        """Every part on the first core of the copy."""
        return dict.fromkeys(parts, (0,))

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - the same on both generations
        """Refuse a type of casts where there are none."""
        if self.fast_math == "none" and self.auto_cast_type != "bf16":
            return (
                f"auto_cast_type={self.auto_cast_type} has no effect with fast_math=none: "
                "use fast_math=matmult or all, or auto_cast_type=bf16"
            )
        return None

    def known_fault(self, model_type: str, versions: Mapping[str, str]) -> str:
        """By benchmark/neuron/known_faults.csv."""
        return known_fault(self.name, model_type, versions)

    def versions(self) -> Mapping[str, str]:
        """Versions of library and compiler; a stub, or what can't be imported, counts as missing."""
        found = libraries.versions(*self.distributions, install=self.install, python=self.python)
        compiler_logs.refuse_stubs(found, self.install, self.python)
        libraries.imports(*self.proof, install=self.install, python=self.python)
        return found

    def flags(self, target: str, version: str) -> list[str]:
        """Options for neuronx-cc of a version, a token each; framework, target and files are added."""
        cast = ["--auto-cast-type", self.auto_cast_type] if self.fast_math != "none" else []
        return [
            *("--auto-cast", self.fast_math, *cast),
            *("--optlevel", str(self.optlevel)),
            *("--model-type", self.model_type),
            *("-lnc", str(self.lnc or logical_cores.DEFAULT)),
            *integers.flags(self.native_int64, self.implicit_integer_downcast, target, version),
        ]

    def installed_flags(self, workload: Workload) -> list[str]:
        """Those for the compiler that is installed here.

        Raises:
            CompileFailed: the hardware has no target.
            Incompatible: the compiler is too old for an option.
        """
        if not (target := workload.target):
            raise CompileFailed("the hardware has no target: choose hardware=trn2 or trn3")
        version = metadata.version("neuronx-cc")
        integers.refuse_old(self.native_int64, self.implicit_integer_downcast, target, version)
        return self.flags(target, version)

    def commands(
        self,
        model: Model,  # noqa: ARG002 - its options are fields
        parts: Sequence[str],
        target: str | None,
        versions: Mapping[str, str],
    ) -> Mapping[str, str]:
        """Command line of neuronx-cc, without the names of its files."""
        if not target:
            return {}
        flags = self.flags(target, versions.get("neuronx-cc", integers.NEWEST))
        command = ["neuronx-cc", "compile", "--framework", "XLA", "--target", target, *flags]
        return dict.fromkeys(parts, shlex.join(command))

    def narrowed(self, module: Any, inputs: Iterable[Any]) -> tuple[str, ...]:
        """Types of weights, buffers and inputs that the device narrows, as `int64 to int32`."""
        tensors = (*module.parameters(), *module.buffers(), *inputs)
        kept = {"int64"} if self.native_int64 == "enabled" else set()
        found = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors} - kept
        return tuple(f"{wide} to {_NARROWED[wide]}" for wide in sorted(found & set(_NARROWED)))

    def set_cores(self) -> None:
        """Let the runtime see logical cores as they are compiled for.

        Raises:
            Incompatible: this process has others.
        """
        logical_cores.agree(self.lnc or logical_cores.DEFAULT, self.lnc)

    def arithmetic(self) -> Arithmetic:
        """As the casts make it; the weights stay fp32."""
        cast = {"fp8_e4m3": "fp8"}.get(self.auto_cast_type, self.auto_cast_type)
        return Arithmetic(
            model_dtype="fp32",
            matmul_dtype="fp32" if self.fast_math == "none" else cast,
            other_dtype=cast if self.fast_math == "all" else "fp32",
            autocast=self.fast_math,
        )


def set_variables(**variables: str | Path) -> None:
    """Set environment variables of this child, which the library reads."""
    os.environ.update({name: str(value) for name, value in variables.items()})
