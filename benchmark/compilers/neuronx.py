"""torch-neuronx: NeuronCores since the second generation (inf2, trn1, trn2).

By the documented interface (aws-neuron-sdk at 81ce03ae, torch_neuronx.trace and the reference of neuronx-cc's
flags); it has not run on a device yet.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from benchmark.errors import CompileFailed, Fallback, Incompatible
from benchmark.neuron import compiler_logs, integers, logical_cores
from benchmark.neuron import cores as neuron_cores
from benchmark.neuron.compiler import NeuronCompiler, Operators
from benchmark.neuron.integers import Downcast, NativeInt64
from benchmark.neuron.parts import NeuronDtype, Parts, Variables
from benchmark.precision import Tolerance
from benchmark.records import Arithmetic, CompileReport, Model, Session, Workload, frozen

_FILE = "model.pt"
_TARGETS = {"neuroncore-v2": ("inf2", "trn1", "trn1n"), "neuroncore-v3": ("trn2",)}
_OF_PARTITIONER: dict[str, Any] = {
    "ops_to_partition": (),
    "min_subgraph_size": -1,
    "max_subgraph_count": -1,
    "support_threshold": 0.5,
}
"""Fields without effect unless partitioner=true, and their defaults."""
_DENOISERS = frozenset({"unet", "transformer", "refiner"})
_GENERATIONS = frozenset({"text-generation", "text2text-generation", "automatic-speech-recognition"})
_CALLED_OFTEN = _DENOISERS | {"decode"}
"""Parts that are called for each step or token."""

Count = Annotated[int, Field(ge=-1)]
"""Operators or subgraphs; -1 is no limit, as the partitioner spells it."""


@frozen
class NeuronX(NeuronCompiler):
    """`torch_neuronx.trace`, for Inferentia2 and Trainium (inf2, trn1, trn2).

    fast_math is `--auto-cast`, and none is true fp32. It is always given: its default was matmult until
    neuronx-cc 2.22 and is none since.
    """

    auto_cast_type: Literal["bf16", "fp16", "tf32", "fp8_e4m3"] = "bf16"
    """`--auto-cast-type`: type to cast to; without effect when fast_math is none."""
    optlevel: Literal[1, 2, 3] = 2
    """`--optlevel`: higher compiles longer, for faster code."""
    model_type: Literal["generic", "transformer", "unet-inference"] = "generic"
    """`--model-type`: the kind of model to optimise for."""
    dtype: NeuronDtype = "fp32"
    """Type of the weights, and of real-valued inputs and outputs."""
    parts: Parts = Parts()
    """Options of single parts of a model, such as its VAE."""
    environment: Variables = ()
    """Environment variables of the compilation, such as NEURON_FUSE_SOFTMAX."""
    target: Literal["inf2", "trn1", "trn1n", "trn2"] | None = None
    """`--target`: instances that the code is for; null: those of the hardware."""
    lnc: Literal[1, 2] | None = None
    """`-lnc`: physical cores per logical core, trn2 only; null: the compiler's default, 2 there."""
    mixed_precision_accumulation: bool = True
    """Sums within operators such as softmax in fp32; false is `--disable-mixed-precision-accumulation`."""
    native_int64: NativeInt64 = "disabled"
    """`--native-int64`: compute in 64-bit integers, more slowly. With the next, of neuronx-cc 2.27 and later
    for trn2 and later, and always given there, since the next version changes both defaults."""
    implicit_integer_downcast: Downcast = "all"
    """`--implicit-integer-downcast`: all: 64-bit integers are narrowed; none: that is an error."""
    inline_weights: bool = True
    """Weights are part of the program; false keeps them apart, and loading copies them to the core."""
    partitioner: bool = False
    """Leave operators that the compiler lacks to the CPU; false: fail at the first one."""
    ops_to_partition: Operators = ()
    """Operators to leave to the CPU in any case, such as aten::embedding."""
    min_subgraph_size: Count = -1
    """Fewest operators of a subgraph; -1: no limit."""
    max_subgraph_count: Count = -1
    """Most subgraphs; -1: no limit."""
    support_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Smallest share of the operators that the compiler must support."""
    denoiser_data_parallel: bool | None = None
    """Give each half of a denoiser's batch, with guidance and without, to a core of its own, by
    `torch_neuronx.DataParallel`; null: where a copy of the model has two cores."""
    kv_cache: Literal["device", "host"] | None = None
    """Where keys and values of a generation are between its tokens. device: `input_output_aliases` of the
    library; host: they cross to the device and back for each token; null: on the device where it can."""
    analyze: bool = False
    """Check each operator first (`torch_neuronx.analyze`), for columns of the row; takes minutes."""

    name: ClassVar[str] = "neuronx"
    runs_on: ClassVar[frozenset[str]] = frozenset(_TARGETS)
    distributions: ClassVar[tuple[str, str]] = ("torch-neuronx", "neuronx-cc")
    install: ClassVar[str] = (
        "pip install torch-neuronx neuronx-cc --extra-index-url https://pip.repos.neuron.amazonaws.com"
    )
    """Installs SDK 2.31's 2.9, the newest and last with trace (src/helperscripts/n2-manifest.json)."""

    @field_validator("min_subgraph_size", "max_subgraph_count")
    @classmethod
    def _is_a_limit(cls, value: int) -> int:
        if value == 0:
            raise ValueError("should be 1 or more, or -1 for no limit")
        return value

    def placement(self, parts: Sequence[str], cores: int) -> Mapping[str, tuple[int, ...]]:
        """Denoisers on two cores, half of the batch on each, and everything else on the first.

        Where a denoiser isn't divided, the parts that are called for each step or token have the second core
        to themselves.
        """
        wanted = self.denoiser_data_parallel
        divides = cores > 1 and self.inline_weights if wanted is None else wanted
        placed: dict[str, tuple[int, ...]] = dict.fromkeys(parts, (0,))
        for part in parts:
            if part in _DENOISERS and divides:
                placed[part] = (0, 1)
            elif part in _CALLED_OFTEN and cores > 1:
                placed[part] = (1,)
        return placed

    @property
    def tolerance(self) -> Tolerance:
        """That of the least exact part; casts to eight bits have that of quantisation to eight bits."""
        exactness: tuple[Tolerance, ...] = ("none", "matmult", "all", "int8")
        return max(map(_tolerance, [self, *map(self.of_part, self.parts.named)]), key=exactness.index)

    @property
    def parts_named(self) -> tuple[str, ...]:
        """Those with options of their own."""
        return self.parts.named

    def weight_bytes(self, part: str) -> int:
        """Those of its type; fewer where they are cast."""
        options = self.of_part(part)
        return 4 if (options.fast_math, options.dtype) == ("none", "fp32") else 2

    def of_part(self, part: str) -> NeuronX:
        """The options in effect for one part."""
        return replace(self, **self.parts.of(part), parts=Parts())

    def commands(
        self,
        model: Model,  # noqa: ARG002 - its options are fields
        parts: Sequence[str],
        target: str | None,
        versions: Mapping[str, str],
    ) -> Mapping[str, str]:
        """Variables and command line of neuronx-cc; the names of its files aside, which the library adds."""
        if not (target := self.target or target):
            return {}
        version = versions.get("neuronx-cc", integers.NEWEST)
        variables = [f"{name}={value}" for name, value in self.environment]
        return {
            part: shlex.join(
                [*variables, "neuronx-cc", "compile", *self.of_part(part).flags(target, version)]
            )
            for part in parts
        }

    def refuse(self, kind: str) -> str | None:
        """Refuse options that this generation of cores lacks, or that have no effect."""
        for name, default in _OF_PARTITIONER.items():
            if not self.partitioner and (value := getattr(self, name)) != default:
                return f"{name}={value} has no effect without partitioner=true: add that, or leave {name} out"
        targets = _TARGETS[kind]
        if self.target and self.target not in targets:
            return (
                f"target={self.target} generates code for other cores than {kind}: "
                f"use target=null, or {' or '.join(targets)}"
            )
        if self.lnc and kind != "neuroncore-v3":  # NCC_EARG001 (compiler/error-codes/EARG001.rst)
            return f"lnc={self.lnc} is for neuroncore-v3 (trn2), not {kind}: use lnc=null"
        if kind == "neuroncore-v2" and self._integers != integers.WITHOUT:
            return (
                f"native_int64={self.native_int64} and implicit_integer_downcast="
                f"{self.implicit_integer_downcast} have no effect on {kind}: use "
                f"{' and '.join(integers.WITHOUT)}"
            )
        named = {f"parts.{name}.": self.of_part(name) for name in self.parts.named}
        for key, options in {"": self, **named}.items():
            # It is accepted there, "it has no effect".
            if options.saturate_infinity is True and kind == "neuroncore-v3":
                return f"{key}saturate_infinity=true has no effect on {kind}: use before_trn2 or false"
        return self._refuse_placing()

    def _refuse_placing(self) -> str | None:
        """Refuse what the library can't do with states on the device, or with a divided batch."""
        if self.kv_cache == "device" and (crossing := self.of_part("decode")._states_cross):  # noqa: SLF001 - of this class
            return f"kv_cache=device: the library can't with {crossing}: use kv_cache=host"
        if self.denoiser_data_parallel and not self.inline_weights:
            return "denoiser_data_parallel=true: needs inline_weights=true: use that, or leave it null"
        return None

    def refuse_model(self, model: Model, task: str) -> str | None:
        """Refuse to divide a denoiser that the model doesn't have."""
        if self.kv_cache is not None and task not in _GENERATIONS:
            return f"kv_cache={self.kv_cache} has no effect on model={model.name} as {task}: use null"
        if self.denoiser_data_parallel is not None and task != "text-to-image":
            return (
                f"denoiser_data_parallel={str(self.denoiser_data_parallel).lower()} has no effect on "
                f"model={model.name}, which has no denoiser: use null"
            )
        return None

    def flags(self, target: str, version: str = "") -> list[str]:
        """Command line of neuronx-cc of a version, a token each; the last of two competing options wins."""
        cast = ["--auto-cast-type", self.auto_cast_type] if self.fast_math != "none" else []
        sums = [] if self.mixed_precision_accumulation else ["--disable-mixed-precision-accumulation"]
        return [
            *("--target", self.target or target),
            *("--auto-cast", self.fast_math),
            *cast,
            *("--optlevel", str(self.optlevel)),
            *("--model-type", self.model_type),
            *(("-lnc", str(self.lnc)) if self.lnc else ()),
            *sums,
            *integers.flags(*self._integers, self.target or target, version),
            *self.switches(self.target or target),
        ]

    @property
    def _integers(self) -> tuple[NativeInt64, Downcast]:
        return self.native_int64, self.implicit_integer_downcast

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Trace the module for the target; this needs no device.

        Raises:
            UnsupportedOperator, OutOfDeviceMemory, CompileFailed: by the compiler's NCC_ codes.
            Fallback: nothing was placed on the device.
            Incompatible: a variable has another value here, or the compiler is too old for an option.
        """
        if self.parts.named:
            return self.of_part(workload.name).compile(workload, folder)
        if not (target := self.target or workload.target):
            raise CompileFailed("the hardware has no target: set compiler.target, such as inf2")
        import torch

        from benchmark.models import divided, kept_states, networks

        self._set_variables()
        os.environ["NEURON_PLATFORM_TARGET_OVERRIDE"] = target  # else a host without a device is refused
        library = self.library()
        flags = self.flags(target, version := metadata.version("neuronx-cc"))
        integers.refuse_old(*self._integers, target, version)
        module, inputs, aliases = self._network(workload), networks.read_inputs(workload, self.dtype), {}
        if self._keeps_states(workload):
            inputs, states = kept_states.split(workload, inputs)
            module = kept_states.WithStates(module, states)
            aliases = {"input_output_aliases": module.aliases()}
        elif len(workload.cores) > 1:
            inputs = divided.share(inputs, len(workload.cores))
        with tempfile.TemporaryDirectory() as work:
            share, unknown = self._analysed(library, module, inputs, Path(work, "analysis"))
            with compiler_logs.compiling(Path(work)) as messages:
                traced = library.trace(
                    module, inputs, **aliases, **self._arguments(library, flags, Path(work, "trace"))
                )
            neff_bytes = compiler_logs.neff_bytes(Path(work, "trace"))
        if not (placed := _on_device(traced)):
            raise Fallback("torch_neuronx.trace returned a program without a neuron:: operator")
        if self.dynamic_batch:
            library.dynamic_batch(traced)
        if len(workload.cores) > 1:  # else it is loaded to one core first, and then to each
            library.lazy_load(traced)
        torch.jit.save(traced, str(folder / _FILE))
        facts = compiler_logs.read("\n".join(messages))
        return CompileReport(
            flags=(*(f"{name}={value}" for name, value in self.environment), *flags),
            subgraphs=facts.subgraphs or placed,
            ops_on_device_fraction=facts.ops_on_device_fraction if share is None else share,
            unsupported_ops=(unknown if share is not None else facts.unsupported_ops) or None,
            script_modules=sum(1 for _ in traced.modules()) - 1,
            neff_bytes=neff_bytes,
        )

    def _network(self, workload: Workload) -> Any:
        """The module to trace, in its type."""
        import torch

        module = workload.load_module()
        return module if self.dtype == "fp32" else module.to(torch.bfloat16)

    def _set_variables(self) -> None:
        """Set the variables of the compilation; the library reads some when it is imported."""
        for name, value in self.environment:
            if os.environ.setdefault(name, value) != value:
                raise Incompatible(
                    f"compiler.environment.{name}={value}, but this command was started with "
                    f"{name}={os.environ[name]}: unset it, or make both equal"
                )

    def _arguments(self, library: Any, flags: list[str], work: Path) -> dict[str, Any]:
        """Keyword arguments of `torch_neuronx.trace`; positional ones draw a warning since SDK 2.15.

        `cpu_backend` is always set, and needs `--target`. Without it the tracing process takes NeuronCores,
        which a timed run beside it uses. With it, hosts with and without a device make the same artefact.
        """
        work.mkdir()
        common = {"compiler_workdir": str(work), "compiler_args": flags, "cpu_backend": True}
        config = None
        if self.partitioner:
            # It ignores unknown names: min_operator_percentage_threshold of its app note is really
            # model_support_percentage_threshold (api-torch-neuronx-trace.rst). Arguments of trace don't
            # reach the subgraphs, so they are repeated here.
            config = library.PartitionerConfig(
                trace_kwargs=dict(common),
                model_support_percentage_threshold=self.support_threshold,
                min_subgraph_size=self.min_subgraph_size,
                max_subgraph_count=self.max_subgraph_count,
                ops_to_partition=set(self.ops_to_partition) or None,
            )
        return {**common, "partitioner_config": config, "inline_weights_to_neff": self.inline_weights}

    def _analysed(
        self, library: Any, module: Any, inputs: Any, work: Path
    ) -> tuple[float | None, tuple[str, ...]]:
        """Share of operators that the compiler supports, names of the others; (None, ()) unless `analyze`."""
        if not self.analyze:
            return None, ()
        work.mkdir()
        answer = library.analyze(
            module,
            inputs,
            compiler_workdir=str(work),
            # "To prevent deadlocks" (api-torch-neuronx-analyze.rst).
            is_hf_transformers=any(
                type(part).__module__.startswith("transformers.") for part in module.modules()
            ),
        )
        return compiler_logs.analysis(answer)

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load to one NeuronCore; calls take and return CPU tensors, so wall time is end to end.

        Raises:
            Incompatible: this process has other logical cores than the program was compiled for.
        """
        if self.parts.named:
            return self.of_part(workload.name).load(workload, folder)
        if compiled_for := self.lnc or (
            logical_cores.DEFAULT if (self.target or workload.target) in logical_cores.TARGETS else None
        ):
            logical_cores.agree(compiled_for, self.lnc)
        import torch

        from benchmark.models import divided, kept_states, networks

        library = self.library()
        assert folder is not None  # noqa: S101 - leaves_artifact
        cores, inputs = workload.cores or (0,), networks.read_inputs(workload, self.dtype)
        if len(cores) > 1:
            model = neuron_cores.divide(library, torch.jit.load(str(folder / _FILE)), cores)
            inputs = divided.spread(inputs)
        else:
            with neuron_cores.on_cores(library, cores):
                model = torch.jit.load(str(folder / _FILE))
            if not self.inline_weights:
                neuron_cores.move_weights(library, model, cores[0])
        keeps = self._keeps_states(workload)
        if keeps:
            inputs, _ = kept_states.split(workload, inputs)

        def call(*tensors: Any) -> Any:
            with torch.no_grad():  # a switch of the process would be one of this thread alone
                return model(*(divided.spread(tensors) if len(cores) > 1 else tensors))

        return Session(
            run=lambda: call(*inputs),
            call=call,
            inputs=inputs,
            write_states=partial(kept_states.write, model) if keeps else None,
            arithmetic=self._arithmetic(),
        )

    def _keeps_states(self, workload: Workload) -> bool:
        """Whether keys and values stay on the device."""
        return bool(workload.states) and self.kv_cache != "host" and not self._states_cross

    @property
    def _states_cross(self) -> str:
        """The option, as the user gave it, with which the library can't keep states; empty: none."""
        apart = {
            "inline_weights=false": not self.inline_weights,
            "partitioner=true": self.partitioner,
            "dynamic_batch=true": self.dynamic_batch,
        }
        return next((option for option, is_on in apart.items() if is_on), "")

    def _arithmetic(self) -> Arithmetic:
        cast = {"fp8_e4m3": "fp8"}.get(self.auto_cast_type, self.auto_cast_type)
        return Arithmetic(
            model_dtype=self.dtype,
            matmul_dtype=self.dtype if self.fast_math == "none" else cast,
            other_dtype=cast if self.fast_math == "all" else self.dtype,
            autocast=self.fast_math,
        )


def _tolerance(options: NeuronX) -> Tolerance:
    if options.fast_math != "none" and options.auto_cast_type == "fp8_e4m3":
        return "int8"
    return options.fast_math if options.dtype == "fp32" else "all"


def _on_device(traced: Any) -> int:
    """Count of `neuron::forward…` operators, which call the device (api-torch-neuronx-trace.rst)."""
    return sum(1 for node in traced.inlined_graph.nodes() if node.kind().startswith("neuron::forward"))
