"""torch-neuronx: NeuronCores of the second generation on (inf2, trn1, trn2).

By the documented interface (aws-neuron-sdk at 81ce03ae, torch_neuronx.trace and the reference of neuronx-cc's
flags); it has not run on a device yet.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from benchmark.errors import CompileFailed, Fallback, Incompatible, LibraryMissing
from benchmark.host import libraries
from benchmark.neuron import compiler_logs
from benchmark.precision import Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import Arithmetic, CompileReport, FastMath, Names, Session, Workload, frozen

_FILE = "model.pt"
_INSTALL = "pip install torch-neuronx neuronx-cc --extra-index-url https://pip.repos.neuron.amazonaws.com"
"""The newest there is SDK 2.31's 2.9, the last that has trace (src/helperscripts/n2-manifest.json)."""
_TARGETS = {"neuroncore-v2": ("inf2", "trn1", "trn1n"), "neuroncore-v3": ("trn2",)}
_OF_PARTITIONER: dict[str, Any] = {
    "ops_to_partition": (),
    "min_subgraph_size": -1,
    "max_subgraph_count": -1,
    "support_threshold": 0.5,
}
"""Fields that mean something with `partitioner` alone, and what they are without."""
_LNC = "NEURON_LOGICAL_NC_CONFIG"
Count = Annotated[int, Field(ge=-1)]
"""Of operators or subgraphs; -1 is no limit, as the partitioner spells it."""


@frozen
class NeuronX(CompilerDefaults):
    """`torch_neuronx.trace`; what changes the generated code is always spelled out.

    `--auto-cast` above all: its default was matmult until neuronx-cc 2.22 and is none since.
    """

    fast_math: FastMath = "none"
    """`--auto-cast`: none is true fp32, matmult casts matrix products, all casts everything."""
    auto_cast_type: Literal["bf16", "fp16", "tf32", "fp8_e4m3"] = "bf16"
    """`--auto-cast-type`: what is cast to; without effect when fast_math is none."""
    optlevel: Literal[1, 2, 3] = 2
    """`--optlevel`: compile time against speed."""
    model_type: Literal["generic", "transformer", "unet-inference"] = "generic"
    """`--model-type`: which optimisations apply."""
    target: Literal["inf2", "trn1", "trn1n", "trn2"] | None = None
    """`--target`: which instances the code is for; null: those of the hardware."""
    lnc: Literal[1, 2] | None = None
    """`-lnc`: physical cores to a logical one, trn2 only; null: the compiler's default, 2 there."""
    mixed_precision_accumulation: bool = True
    """Sums within operators such as softmax in fp32; false is `--disable-mixed-precision-accumulation`."""
    saturate_infinity: bool = False
    """`--enable-saturate-infinity`: infinities become the greatest number in transposes; CLIP needs it."""
    fast_context_switch: bool = False
    """`--enable-fast-context-switch`: some weights are loaded when a call starts."""
    fast_loading: bool = False
    """`--enable-fast-loading-neuron-binaries`: an uncompressed program, larger and faster to load."""
    inline_weights: bool = True
    """Weights within the program; false keeps them apart, and loading places them on the core."""
    dynamic_batch: bool = False
    """`torch_neuronx.dynamic_batch`: other batches are split and padded into compiled ones."""
    partitioner: bool = False
    """Leave to the CPU what the compiler doesn't know; false fails there."""
    ops_to_partition: Names = ()
    """Operators for the CPU whatever the compiler knows, such as aten::embedding."""
    min_subgraph_size: Count = -1
    """Operators that each subgraph has at least; -1: any."""
    max_subgraph_count: Count = -1
    """Subgraphs at most; -1: any."""
    support_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the operators that the compiler has to know."""
    analyze: bool = False
    """Ask the compiler for each operator before (`torch_neuronx.analyze`): minutes, for the row's columns."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "neuronx"
    runs_on: ClassVar[frozenset[str]] = frozenset(_TARGETS)
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ()

    @field_validator(*_OF_PARTITIONER)
    @classmethod
    def _partitions_only_if_asked(cls, value: Any, told: ValidationInfo) -> Any:
        name = str(told.field_name)
        if not told.data.get("partitioner") and value != _OF_PARTITIONER[name]:
            raise ValueError(f"without partitioner=true it has no effect: add that, or leave {name} out")
        if value == 0 and name != "support_threshold":
            raise ValueError("1 or more, or -1 for no limit")
        if name == "ops_to_partition" and (strange := [op for op in value if not op.startswith("aten::")]):
            raise ValueError(f"{strange[0]} is no aten::operator, such as aten::embedding")
        return value

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math; eight bits are held to what quantisation to eight bits is."""
        cast_to_8 = self.fast_math != "none" and self.auto_cast_type == "fp8_e4m3"
        return "int8" if cast_to_8 else self.fast_math

    def refuse(self, kind: str) -> str | None:
        """Refuse what one generation of cores alone has."""
        targets = _TARGETS[kind]
        if self.target and self.target not in targets:
            return (
                f"target={self.target} generates code for other cores than {kind}: "
                f"use target=null, or {' or '.join(targets)}"
            )
        if self.lnc and kind != "neuroncore-v3":  # NCC_EARG001 (compiler/error-codes/EARG001.rst)
            return f"lnc={self.lnc} is for neuroncore-v3 (trn2), not {kind}: use lnc=null"
        if self.saturate_infinity and kind == "neuroncore-v3":  # accepted there, "it has no effect"
            return f"saturate_infinity=true has no effect on {kind}: use saturate_infinity=false"
        return None

    def versions(self) -> Mapping[str, str]:
        """Library and compiler; PyPI's packages of these names are stubs."""
        found = libraries.versions("torch-neuronx", "neuronx-cc", install=_INSTALL, python=self.python)
        return compiler_logs.real(found, _INSTALL, self.python)

    def flags(self, target: str) -> list[str]:
        """What neuronx-cc is given, a token each; of competing options it takes the right-most."""
        cast = ["--auto-cast-type", self.auto_cast_type] if self.fast_math != "none" else []
        switches = {
            "--disable-mixed-precision-accumulation": not self.mixed_precision_accumulation,
            "--enable-saturate-infinity": self.saturate_infinity,
            "--enable-fast-context-switch": self.fast_context_switch,
            "--enable-fast-loading-neuron-binaries": self.fast_loading,
        }
        return [
            *("--target", self.target or target),
            *("--auto-cast", self.fast_math),
            *cast,
            *("--optlevel", str(self.optlevel)),
            *("--model-type", self.model_type),
            *(("-lnc", str(self.lnc)) if self.lnc else ()),
            *(flag for flag, is_on in switches.items() if is_on),
        ]

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Trace for the target, on any host.

        Raises:
            UnsupportedOperator, OutOfDeviceMemory, CompileFailed: by the compiler's NCC_ codes.
            Fallback: nothing was placed on the device.
        """
        if not (target := self.target or workload.target):
            raise CompileFailed("the hardware tells no target: set compiler.target, such as inf2")
        import torch

        from benchmark.models import networks

        library = _library()
        flags, inputs = self.flags(target), networks.read_inputs(workload)
        with tempfile.TemporaryDirectory() as work:
            share, unknown = self._analysed(library, workload, inputs, Path(work, "analysis"))
            with compiler_logs.listening() as messages:
                try:
                    traced = library.trace(
                        workload.load_module(), inputs, **self._arguments(library, flags, Path(work, "trace"))
                    )
                except Exception as error:
                    log = "\n".join([*messages, compiler_logs.show_logs(Path(work))])
                    if failure := compiler_logs.failure(error, log):
                        raise failure from error
                    raise
            neff_bytes = compiler_logs.neff_bytes(Path(work, "trace"))
        if not (placed := _on_device(traced)):
            raise Fallback("torch_neuronx.trace returned a program without a neuron:: operator")
        if self.dynamic_batch:
            library.dynamic_batch(traced)
        torch.jit.save(traced, str(folder / _FILE))
        told = compiler_logs.read("\n".join(messages))
        return CompileReport(
            flags=tuple(flags),
            subgraphs=told.subgraphs or placed,
            ops_on_device_fraction=told.ops_on_device_fraction if share is None else share,
            unsupported_ops=(unknown if share is not None else told.unsupported_ops) or None,
            script_modules=sum(1 for _ in traced.modules()) - 1,
            neff_bytes=neff_bytes,
        )

    def _arguments(self, library: Any, flags: list[str], work: Path) -> dict[str, Any]:
        """Of `torch_neuronx.trace`, each by its name: by position they draw a warning since SDK 2.15.

        `cpu_backend` always: else the tracing process takes NeuronCores, which belong to what is timed beside
        it; and the artefact is the same as that of a host without a device. It needs `--target`.
        """
        work.mkdir()
        common = {"compiler_workdir": str(work), "compiler_args": flags, "cpu_backend": True}
        config = None
        if self.partitioner:
            # It swallows names that it doesn't know: its app note's min_operator_percentage_threshold is
            # really model_support_percentage_threshold (api-torch-neuronx-trace.rst). And what trace itself
            # is given doesn't reach the subgraphs.
            config = library.PartitionerConfig(
                trace_kwargs=dict(common),
                model_support_percentage_threshold=self.support_threshold,
                min_subgraph_size=self.min_subgraph_size,
                max_subgraph_count=self.max_subgraph_count,
                ops_to_partition=set(self.ops_to_partition) or None,
            )
        return {**common, "partitioner_config": config, "inline_weights_to_neff": self.inline_weights}

    def _analysed(
        self, library: Any, workload: Workload, inputs: Any, work: Path
    ) -> tuple[float | None, tuple[str, ...]]:
        """Share of operators that the compiler knows, and the others; nothing where nobody asked."""
        if not self.analyze:
            return None, ()
        work.mkdir()
        module = workload.load_module()
        answer = library.analyze(
            module,
            inputs,
            compiler_workdir=str(work),
            # "To prevent deadlocks" (api-torch-neuronx-analyze.rst).
            is_hf_transformers=any(
                type(part).__module__.startswith("transformers.") for part in module.modules()
            ),
        )
        return compiler_logs.analysed(answer)

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load to one NeuronCore; calls take and return CPU tensors, so wall time is end to end.

        Raises:
            Incompatible: the process runs with other logical cores than it was compiled for.
        """
        self._agree_on_cores(self.target or workload.target)
        import torch

        from benchmark.models import networks

        library = _library()  # it registers the operators that the file names
        assert folder is not None  # noqa: S101 - leaves_artifact
        torch.set_grad_enabled(False)
        model = torch.jit.load(str(folder / _FILE))
        if not self.inline_weights:  # else every call copies them to the device
            if move := getattr(library, "move_trace_to_device", None):
                move(model, 0)
            else:  # its successor since SDK 2.25 (api-torch-neuronx-core-placement.rst)
                library.set_neuron_cores(model, start_nc=0, nc_count=1)
        inputs = networks.read_inputs(workload)
        return Session(run=lambda: model(*inputs), call=model, inputs=inputs, arithmetic=self._arithmetic())

    def _agree_on_cores(self, target: str | None) -> None:
        """The runtime reads the variable when it starts; it has to be what the compiler was told, or took."""
        compiled_for = self.lnc or (2 if target == "trn2" else None)
        if compiled_for is None:
            return
        if os.environ.setdefault(_LNC, str(compiled_for)) != str(compiled_for):
            raise Incompatible(
                f"compiled for {compiled_for} physical cores to a logical one (compiler.lnc={self.lnc}), but "
                f"{_LNC}={os.environ[_LNC]} here: make compiler.lnc and hardware.lnc equal"
            )

    def _arithmetic(self) -> Arithmetic:
        cast = {"fp8_e4m3": "fp8"}.get(self.auto_cast_type, self.auto_cast_type)
        return Arithmetic(
            model_dtype="fp32",
            matmul_dtype="fp32" if self.fast_math == "none" else cast,
            other_dtype=cast if self.fast_math == "all" else "fp32",
            autocast=self.fast_math,
        )


def _library() -> Any:
    """In the child: the real torch_neuronx.

    Raises:
        LibraryMissing: it can't be imported, or can't compile.
    """
    try:
        import torch_neuronx
    except ImportError as error:
        raise LibraryMissing(f"torch_neuronx can't be imported ({error}): {_INSTALL}") from error
    if not hasattr(torch_neuronx, "trace"):
        raise LibraryMissing(f"torch_neuronx here has no trace: {_INSTALL}")
    return torch_neuronx


def _on_device(traced: Any) -> int:
    """Calls of the device in a traced program: `neuron::forward…` operators (api-torch-neuronx-trace.rst)."""
    return sum(1 for node in traced.inlined_graph.nodes() if node.kind().startswith("neuron::forward"))
