"""torch-neuron: NeuronCores of the first generation (inf1); archived by AWS, kept for comparison.

By the documented interface (aws-neuron-sdk at 81ce03ae: archive/torch-neuron/api-compilation-python-api.rst,
compiler/neuron-cc/command-line-reference.rst); it has not run on a device yet.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from benchmark.errors import CompileFailed, Fallback, Incompatible, LibraryMissing
from benchmark.host import libraries
from benchmark.neuron import compiler_logs
from benchmark.precision import Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import Arithmetic, CompileReport, FastMath, Names, Session, Workload, frozen

_FILE = "model.pt"
_INSTALL = (
    "pip install torch-neuron==1.13.1.* 'neuron-cc[tensorflow]' "
    "--extra-index-url https://pip.repos.neuron.amazonaws.com (Python 3.9 or 3.10)"
)
_CASTS: dict[tuple[FastMath, str], str] = {
    ("none", "bf16"): "none",
    ("matmult", "bf16"): "fp32-cast-matmult-bf16",
    ("matmult", "fp16"): "fp32-cast-matmult-fp16",
    ("matmult", "mixed"): "fp32-cast-matmult",
    ("all", "bf16"): "all",
    ("all", "fp16"): "fp32-cast-all-fp16",
}
"""As optimum-neuron maps the words of neuronx-cc, and those that neuron-cc's reference has beside."""
_OF_PARTITIONER: dict[str, Any] = {
    "force_operators": None,
    "minimum_segment_size": 2,
    "single_fusion_ratio_threshold": 0.6,
}
"""Fields that mean something with `fallback` alone, and the library's defaults."""
_PLAIN = ("minimum_segment_size", "single_fusion_ratio_threshold")
_RELAYOUT = {True: ["fast-relayout"], False: ["no-fast-relayout"], None: []}


@frozen
class Neuron(CompilerDefaults):
    """`torch_neuron.trace`; even `none` multiplies matrices in bf16 on this hardware, and the row says so."""

    fast_math: FastMath = "none"
    """`--fast-math`: none is bf16 in products and exact transposes, matmult casts products, all all."""
    cast_type: Literal["bf16", "fp16", "mixed"] = "bf16"
    """What is cast to; mixed (matmult only) is bf16, and fp16 in transposes. Without effect when none."""
    fast_relayout: bool | None = None
    """Transposes by the matrix engine (true) or exact (false); null: as fast_math implies."""
    pipeline_cores: PositiveInt = 1
    """`--neuroncore-pipeline-cores`: cores that one model is cut over; the run needs as many."""
    fallback: bool = True
    """Leave to the CPU what the compiler doesn't know; false fails there."""
    force_operators: Names | None = None
    """Operators for the device beside those that the library takes, such as aten::embedding; null: none.

    The library leaves out operators that the compiler has, aten::embedding since 1.0.1001.0 for its speed;
    fallback=false takes it in too, but fails on unknown ones, of which LayoutLMv3 has two (aten::amax,
    aten::repeat) in torch-neuron 2.3.0.0.
    """
    minimum_segment_size: PositiveInt = 2
    """Operators of a subgraph that is worth the device."""
    single_fusion_ratio_threshold: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Share of the operators in one subgraph above which it is the only one; 1 compiles all."""
    dynamic_batch: bool = False
    """`dynamic_batch_size`: other batches too."""
    separate_weights: bool = False
    """For models of more than 1.9 GB of constants."""
    float32_to_float16: bool = False
    """Tensors go to the device and back in fp16: less to transfer."""
    saturate_infinity: bool = False
    """`--enable-saturate-infinity`: infinities become the greatest number."""
    fast_context_switch: bool = False
    """`--enable-fast-context-switch`: some weights are loaded when a call starts."""
    fast_loading: bool = False
    """`--enable-fast-loading-neuron-binaries`: an uncompressed program, larger and faster to load."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "neuron"
    runs_on: ClassVar[frozenset[str]] = frozenset({"neuroncore-v1"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ()

    @field_validator("cast_type")
    @classmethod
    def _can_be_cast_to(cls, value: str, told: ValidationInfo) -> str:
        if told.data.get("fast_math") == "all" and value == "mixed":
            raise ValueError("goes with fast_math=matmult: use bf16 or fp16 with fast_math=all")
        return value

    @field_validator(*_OF_PARTITIONER)
    @classmethod
    def _parts_only_with_fallback(cls, value: Any, told: ValidationInfo) -> Any:
        name = str(told.field_name)
        if not told.data.get("fallback") and value != _OF_PARTITIONER[name]:
            raise ValueError(
                f"fallback=false sends the whole model to the device: use fallback=true, or leave {name} out"
            )
        if name == "force_operators" and (bad := [op for op in value or () if not op.startswith("aten::")]):
            raise ValueError(f"{bad[0]} is no aten::operator, such as aten::embedding")
        return value

    @property
    def tolerance(self) -> Tolerance:
        """What the arithmetic in effect allows: products of sixteen bits at least."""
        return "all" if self.fast_math == "all" or self.float32_to_float16 else "matmult"

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - it runs on one kind only
        """Every option is the compiler's own."""
        return None

    def versions(self) -> Mapping[str, str]:
        """Library and compiler; PyPI's packages of these names are stubs."""
        found = libraries.versions("torch-neuron", "neuron-cc", install=_INSTALL, python=self.python)
        return compiler_logs.real(found, _INSTALL, self.python)

    def flags(self) -> list[str]:
        """What neuron-cc is given; the words of `--fast-math` are tokens of their own."""
        cast = _CASTS[self.fast_math, "bf16" if self.fast_math == "none" else self.cast_type]
        switches = {
            "--enable-saturate-infinity": self.saturate_infinity,
            "--enable-fast-context-switch": self.fast_context_switch,
            "--enable-fast-loading-neuron-binaries": self.fast_loading,
        }
        return [
            *("--fast-math", cast, *_RELAYOUT[self.fast_relayout]),
            *("--neuroncore-pipeline-cores", str(self.pipeline_cores)),
            *(flag for flag, is_on in switches.items() if is_on),
        ]

    def arguments(self) -> dict[str, Any]:
        """Of `torch_neuron.trace` beside the compiler's flags, as far as they differ from its defaults."""
        asked = {
            **{name: (getattr(self, name), _OF_PARTITIONER[name]) for name in _PLAIN},
            "fallback": (self.fallback, True),
            "dynamic_batch_size": (self.dynamic_batch, False),
            "separate_weights": (self.separate_weights, False),
        }
        # An older library takes a name that it doesn't know for one of torch.jit.trace's.
        return {name: value for name, (value, usual) in asked.items() if value != usual}

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Trace; needs no device.

        Raises:
            UnsupportedOperator: with fallback=false, an operator that the compiler doesn't know.
            Fallback: something that was to be compiled was left to the CPU instead.
        """
        import torch

        from benchmark.models import networks

        library = _library()
        flags, inputs = self.flags(), networks.read_inputs(workload)
        with tempfile.TemporaryDirectory() as work, compiler_logs.listening() as messages:
            try:
                traced = library.trace(
                    workload.load_module(),
                    inputs,
                    compiler_args=flags,
                    compiler_workdir=work,
                    **self._objects(library),
                    **self.arguments(),
                )
            except Exception as error:
                log = "\n".join([*messages, compiler_logs.show_logs(Path(work))])
                # What fallback=False raises for an operator that isn't supported, says the page of trace.
                unknown = not self.fallback and isinstance(error, AttributeError)
                if failure := compiler_logs.failure(error, log, unknown_operator=unknown):
                    raise failure from error
                raise
            log, neff_bytes = "\n".join(messages), compiler_logs.neff_bytes(Path(work))
        placed = _on_device(traced)
        if sentence := compiler_logs.fallback(log):
            raise Fallback(f"torch_neuron.trace compiled {placed} subgraphs, and then: {sentence}")
        if not placed:
            raise Fallback("torch_neuron.trace returned a program without a NeuronModule")
        torch.jit.save(traced, str(folder / _FILE))
        told = compiler_logs.read(log)
        return CompileReport(
            flags=tuple(flags),
            subgraphs=placed,
            ops_on_device_fraction=told.ops_on_device_fraction,
            unsupported_ops=told.unsupported_ops or None,
            script_modules=sum(1 for _ in traced.modules()) - 1,
            neff_bytes=neff_bytes,
        )

    def _objects(self, library: Any) -> dict[str, Any]:
        """Of `torch_neuron.trace` what no list of words could spell."""
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

        Its answers are refused where the library warns that they are none.

        Raises:
            Incompatible: the run sees fewer cores than the pipeline has.
        """
        if (cores := _visible_cores()) is not None and cores < self.pipeline_cores:
            raise Incompatible(
                f"compiler.pipeline_cores={self.pipeline_cores} needs as many cores, this run sees {cores}: "
                f"use hardware.cores={self.pipeline_cores}"
            )
        import torch

        from benchmark.models import networks

        _library()  # it registers the operators that the file names
        assert folder is not None  # noqa: S101 - leaves_artifact
        torch.set_grad_enabled(False)  # operators left to the CPU are torch's own
        words = compiler_logs.Words()
        model = torch.jit.load(str(folder / _FILE))
        inputs = networks.read_inputs(workload)

        def answers() -> Any:
            outputs = model(*inputs)
            if words.say_not_calculated():
                raise Fallback("without a device the library calculates nothing (** NOT CALCULATED **)")
            return outputs

        if workload.name != "model":  # nobody asks a part for its answers
            answers()
        return Session(
            run=lambda: model(*inputs),
            call=model,
            inputs=inputs,
            answers=answers,
            arithmetic=self._arithmetic(),
        )

    def _arithmetic(self) -> Arithmetic:
        """`none` is fp32-cast-matmult-bf16 with exact transposes, as neuron-cc's reference says."""
        cast = "fp16" if self.fast_math != "none" and self.cast_type == "fp16" else "bf16"
        return Arithmetic(
            model_dtype="fp16" if self.float32_to_float16 else "fp32",
            matmul_dtype=cast,
            other_dtype=cast if self.fast_math == "all" else "fp32",
            autocast=self.fast_math,
        )


def _library() -> Any:
    """In the child: the real torch_neuron.

    Raises:
        LibraryMissing: it can't be imported, or can't compile.
    """
    try:
        import torch_neuron
    except ImportError as error:
        raise LibraryMissing(f"torch_neuron can't be imported ({error}): {_INSTALL}") from error
    if not hasattr(torch_neuron, "trace"):
        raise LibraryMissing(f"torch_neuron here has no trace: {_INSTALL}")
    return torch_neuron


def _chosen(taken: frozenset[str]) -> Callable[[Any], bool]:
    """Which nodes go to the device: by their names, "tuples of Module names", whose last holds the operator.

    So logs spell them, AEVComputer#6/aten::index_add_#191 (issue #297); no other attribute is documented.
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
    """Subgraphs that were compiled: modules that were a NeuronModule before torch.jit wrapped them."""
    return sum(getattr(part, "original_name", "").startswith("NeuronModule") for part in traced.modules())


def _visible_cores() -> int | None:
    """NeuronCores of this process, by the variables that the runtime reads; null where neither tells."""
    if visible := os.environ.get("NEURON_RT_VISIBLE_CORES"):
        spans = [span.partition("-") for span in visible.split(",")]
        return sum(int(last or first) - int(first) + 1 for first, _, last in spans)
    count = os.environ.get("NEURON_RT_NUM_CORES", "0")
    return int(count) or None  # 0 is all
