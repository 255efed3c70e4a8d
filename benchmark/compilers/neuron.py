"""torch-neuron: NeuronCores of the first generation (inf1); archived by AWS, kept for comparison.

By the documented interface (aws-neuron-sdk at 81ce03ae: archive/torch-neuron/api-compilation-python-api.rst,
compiler/neuron-cc/command-line-reference.rst); it has not run on a device yet.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from benchmark.errors import CompileFailed, Fallback, Incompatible
from benchmark.neuron import compiler_logs
from benchmark.neuron.compiler import NeuronCompiler, Operators
from benchmark.neuron.cores import on_cores
from benchmark.precision import Tolerance
from benchmark.records import Arithmetic, CompileReport, FastMath, Model, Session, Workload, frozen

_FILE = "model.pt"
_CASTS: dict[tuple[FastMath, str], str] = {
    ("none", "bf16"): "none",
    ("matmult", "bf16"): "fp32-cast-matmult-bf16",
    ("matmult", "fp16"): "fp32-cast-matmult-fp16",
    ("matmult", "mixed"): "fp32-cast-matmult",
    ("all", "bf16"): "all",
    ("all", "fp16"): "fp32-cast-all-fp16",
}
"""Values of `--fast-math`, as optimum-neuron maps those of neuronx-cc, and two of neuron-cc's reference."""
_OF_PARTITIONER: dict[str, Any] = {
    "force_operators": None,
    "minimum_segment_size": 2,
    "single_fusion_ratio_threshold": 0.6,
}
"""Fields without effect when fallback=false, and the library's defaults."""
_PLAIN = ("minimum_segment_size", "single_fusion_ratio_threshold")
_RELAYOUT = {True: ["fast-relayout"], False: ["no-fast-relayout"], None: []}


@frozen
class Neuron(NeuronCompiler):
    """`torch_neuron.trace`, for Inferentia (inf1).

    fast_math is `--fast-math`. This hardware multiplies matrices in bf16 even when it is none, with exact
    transposes; the row says so.
    """

    cast_type: Literal["bf16", "fp16", "mixed"] = "bf16"
    """Type to cast to; mixed (for fast_math=matmult) is bf16, and fp16 in transposes. No effect with none."""
    fast_relayout: bool | None = None
    """true: transposes on the matrix engine; false: exact transposes; null: as fast_math implies."""
    pipeline_cores: PositiveInt = 1
    """`--neuroncore-pipeline-cores`: cores that one model is split over; the run needs as many."""
    fallback: bool = True
    """Leave operators that the compiler lacks to the CPU; false: fail at the first one."""
    force_operators: Operators | None = None
    """Operators to place on the device beside those that the library chooses, such as aten::embedding.

    The library leaves out operators that the compiler has: aten::embedding since 1.0.1001.0, for speed.
    fallback=false places it too, but fails on unknown operators, of which LayoutLMv3 has two (aten::amax,
    aten::repeat) in torch-neuron 2.3.0.0.
    """
    minimum_segment_size: PositiveInt = 2
    """Fewest operators of a subgraph that is placed on the device."""
    single_fusion_ratio_threshold: Annotated[float, Field(ge=0, le=1)] = 0.6
    """A subgraph with more than this share of the operators is the only one compiled; 1 compiles all."""
    separate_weights: bool = False
    """Keep weights apart from the program: for models with more than 1.9 GB of constants."""
    float32_to_float16: bool = False
    """Convert tensors to fp16 for the transfer to the device and back: fewer bytes."""

    name: ClassVar[str] = "neuron"
    runs_on: ClassVar[frozenset[str]] = frozenset({"neuroncore-v1"})
    distributions: ClassVar[tuple[str, str]] = ("torch-neuron", "neuron-cc")
    install: ClassVar[str] = (
        "pip install torch-neuron==1.13.1.* 'neuron-cc[tensorflow]' "
        "--extra-index-url https://pip.repos.neuron.amazonaws.com (Python 3.9 or 3.10)"
    )

    @property
    def tolerance(self) -> Tolerance:
        """That of the arithmetic in effect: matrix products have sixteen bits at most."""
        return "all" if self.fast_math == "all" or self.float32_to_float16 else "matmult"

    def placement(self, parts: Sequence[str], cores: int) -> Mapping[str, tuple[int, ...]]:  # noqa: ARG002 - the pipeline decides
        """All parts on the cores of the pipeline."""
        return dict.fromkeys(parts, tuple(range(self.pipeline_cores)))

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - it runs on one kind only
        """Refuse options that exclude each other or have no effect."""
        if self.fast_math == "all" and self.cast_type == "mixed":
            return "cast_type=mixed is for fast_math=matmult: use bf16 or fp16 with fast_math=all"
        for name, default in _OF_PARTITIONER.items():
            if not self.fallback and (value := getattr(self, name)) != default:
                return (
                    f"{name}={value}: fallback=false sends the whole model to the device: use fallback=true, "
                    f"or leave {name} out"
                )
        return None

    def flags(self) -> list[str]:
        """Command line of neuron-cc; each value of `--fast-math` is a token of its own."""
        cast = _CASTS[self.fast_math, "bf16" if self.fast_math == "none" else self.cast_type]
        return [
            *("--fast-math", cast, *_RELAYOUT[self.fast_relayout]),
            *("--neuroncore-pipeline-cores", str(self.pipeline_cores)),
            *self.switches(),
        ]

    def commands(
        self,
        model: Model,  # noqa: ARG002 - its options are fields
        parts: Sequence[str],
        target: str | None,  # noqa: ARG002 - it has one
        versions: Mapping[str, str],  # noqa: ARG002 - all have these flags
    ) -> Mapping[str, str]:
        """Command line of neuron-cc, and the operators that the library sends to it beside its own choice."""
        line = shlex.join(["neuron-cc", "compile", *self.flags()])
        forced = self.force_operators
        return dict.fromkeys(
            parts, line if forced is None else f"{line}, force_operators: {' '.join(forced)}"
        )

    def arguments(self) -> dict[str, Any]:
        """Arguments of `torch_neuron.trace` that differ from its defaults, the compiler's flags aside."""
        arguments = {
            **{name: (getattr(self, name), _OF_PARTITIONER[name]) for name in _PLAIN},
            "fallback": (self.fallback, True),
            "dynamic_batch_size": (self.dynamic_batch, False),
            "separate_weights": (self.separate_weights, False),
        }
        # Defaults are left out: an older library passes names that it lacks to torch.jit.trace.
        return {name: value for name, (value, usual) in arguments.items() if value != usual}

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Trace the module; this needs no device.

        Raises:
            UnsupportedOperator: with fallback=false, an operator that the compiler lacks.
            Fallback: the library left something to the CPU that it was to compile.
        """
        import torch

        from benchmark.models import networks

        library = self.library()
        flags, inputs = self.flags(), networks.read_inputs(workload)
        # For an unsupported operator fallback=False raises AttributeError, says the page of trace.
        unknown_operator = () if self.fallback else AttributeError
        with (
            tempfile.TemporaryDirectory() as work,
            compiler_logs.compiling(Path(work), unknown_operator) as messages,
        ):
            traced = library.trace(
                workload.load_module(),
                inputs,
                compiler_args=flags,
                compiler_workdir=work,
                **self._objects(library),
                **self.arguments(),
            )
            log, neff_bytes = "\n".join(messages), compiler_logs.neff_bytes(Path(work))
        placed = _on_device(traced)
        if sentence := compiler_logs.fallback_sentence(log):
            raise Fallback(f"torch_neuron.trace compiled {placed} subgraphs, and then: {sentence}")
        if not placed:
            raise Fallback("torch_neuron.trace returned a program without a NeuronModule")
        torch.jit.save(traced, str(folder / _FILE))
        facts = compiler_logs.read(log)
        return CompileReport(
            flags=tuple(flags),
            subgraphs=placed,
            ops_on_device_fraction=facts.ops_on_device_fraction,
            unsupported_ops=facts.unsupported_ops or None,
            script_modules=sum(1 for _ in traced.modules()) - 1,
            neff_bytes=neff_bytes,
        )

    def _objects(self, library: Any) -> dict[str, Any]:
        """Arguments of `torch_neuron.trace` that are objects of the library."""
        found: dict[str, Any] = {}
        if self.float32_to_float16:
            found["optimizations"] = [library.Optimization.FLOAT32_TO_FLOAT16]
        if self.force_operators is not None:
            from torch import neuron  # torch_neuron puts it there

            taken = {*neuron.get_supported_operations(), *self.force_operators}
            found["subgraph_builder_function"] = _chosen(frozenset(taken))
        return found

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load to as many NeuronCores as the pipeline has; calls take and return CPU tensors.

        Answers are refused where the library warns that it calculated nothing.

        Raises:
            Incompatible: the run sees fewer cores than the pipeline has.
        """
        if (cores := _visible_cores()) is not None and cores < self.pipeline_cores:
            raise Incompatible(
                f"compiler.pipeline_cores={self.pipeline_cores} needs as many cores, this run has {cores}: "
                f"use hardware.cores={self.pipeline_cores}"
            )
        import torch

        from benchmark.models import networks

        library = self.library()
        assert folder is not None  # noqa: S101 - leaves_artifact
        log = compiler_logs.ProcessLog()
        with on_cores(library, workload.cores or (0,)):
            model = torch.jit.load(str(folder / _FILE))
        inputs = networks.read_inputs(workload)

        def call(*tensors: Any) -> Any:
            with torch.no_grad():  # torch computes the operators that are left to the CPU, in any thread
                return model(*tensors)

        def answers(_: Path) -> Any:
            outputs = call(*inputs)
            if log.says_not_calculated():
                raise Fallback("without a device the library calculates nothing (** NOT CALCULATED **)")
            return outputs

        if workload.name != "model":  # answers of a part aren't compared: check them here
            answers(folder)
        return Session(
            run=lambda: call(*inputs),
            call=call,
            inputs=inputs,
            answers=answers,
            arithmetic=self._arithmetic(),
        )

    def _arithmetic(self) -> Arithmetic:
        """In effect: by neuron-cc's reference `none` is fp32-cast-matmult-bf16 with exact transposes."""
        cast = "fp16" if self.fast_math != "none" and self.cast_type == "fp16" else "bf16"
        return Arithmetic(
            model_dtype="fp16" if self.float32_to_float16 else "fp32",
            matmul_dtype=cast,
            other_dtype=cast if self.fast_math == "all" else "fp32",
            autocast=self.fast_math,
        )


def _chosen(taken: frozenset[str]) -> Callable[[Any], bool]:
    """Predicate for nodes of the device, by their names: tuples of module names, the last with the operator.

    Logs spell them AEVComputer#6/aten::index_add_#191 (issue #297); no other attribute is documented.
    """

    def is_chosen(node: Any) -> bool:
        name = node.name if isinstance(node.name, str) else "/".join(map(str, node.name))
        operators = re.findall(r"(?:aten|prim)::\w+", name)
        if not operators:
            raise CompileFailed(
                f"force_operators: the name of a node, {name}, has no operator in this torch-neuron: "
                "use compiler.fallback=false, or force_operators=null"
            )
        return operators[-1] in taken

    return is_chosen


def _on_device(traced: Any) -> int:
    """Count of compiled subgraphs: modules that were a NeuronModule before torch.jit wrapped them."""
    return sum(getattr(part, "original_name", "").startswith("NeuronModule") for part in traced.modules())


def _visible_cores() -> int | None:
    """NeuronCores of this process, by the variables that the runtime reads; None where neither is set."""
    if visible := os.environ.get("NEURON_RT_VISIBLE_CORES"):
        spans = [span.partition("-") for span in visible.split(",")]
        return sum(int(last or first) - int(first) + 1 for first, _, last in spans)
    count = os.environ.get("NEURON_RT_NUM_CORES", "0")
    return int(count) or None  # 0: all cores
