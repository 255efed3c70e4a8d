"""optimum-neuron: Hugging Face's classes over torch-neuronx, for NeuronCores since the second generation.

By the interface and the source of optimum-neuron 0.4.5; it has not run on a device yet.

It compiles by `optimum.exporters.neuron.main_export`, which `from_pretrained(export=True)` of these classes
calls too. The latter then loads the network to the device, so compiling would take a core; without a device
it returns None and deletes what it wrote (`NeuronTracedModel._export`).

A timed call is a call of `NeuronModelFor…`. Beside the network it checks whether inputs need padding, and
copies answers without padding; compiler=neuronx does neither.
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from benchmark.errors import CompileFailed, LibraryMissing
from benchmark.host import libraries
from benchmark.neuron import compiler_logs, optimum_registry
from benchmark.neuron.known_faults import known_fault
from benchmark.neuron.optimum_registry import Exported
from benchmark.neuron.parts import PROGRAM_VARIABLES
from benchmark.precision import Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import Arithmetic, CompileReport, FastMath, Model, Session, Workload, frozen

_STATED: Final = (
    "optimum-neuron",
    "torch-neuronx",
    "neuronx-cc",
    "neuronx-distributed",
    "transformers",
    "torch",
)
_INSTALL: Final = (
    "pip install 'optimum-neuron[neuronx]==0.4.5' --extra-index-url https://pip.repos.neuron.amazonaws.com "
    "(Python 3.10 or 3.11)"
)
_AUTO_CAST: Final[Mapping[FastMath, str | None]] = {"none": None, "matmult": "matmul", "all": "all"}
"""Values of `main_export`; None becomes an explicit `--auto-cast none` (`prepare_compiler_flags`)."""
_TARGETS: Final = {"trn1": "trn1", "trn1n": "trn1", "inf2": "trn1", "trn2": "trn2"}
"""Targets of the compiler by instance (`INSTANCE_VALUE_MAP` in optimum/neuron/utils/instance.py)."""
_GENERIC: Final = frozenset({
    "hubert", "levit", "mobilenet-v2", "mobilevit", "unispeech", "unispeech-sat", "wav2vec2", "wavlm",
})  # fmt: skip
"""Models that the library compiles without `--model-type transformer`
(optimum/exporters/neuron/convert.py:619 of optimum-neuron at 213224e6)."""
_SIZES: Final = {
    "batch_size": (("input_ids", 0), ("pixel_values", 0)),
    "text_batch_size": (("input_ids", 0),),
    "image_batch_size": (("pixel_values", 0),),
    "sequence_length": (("input_ids", 1),),
    "num_channels": (("pixel_values", 1),),
    "height": (("pixel_values", 2),),
    "width": (("pixel_values", 3),),
}
"""Input and dimension that an axis of the export is read from; the first input that exists counts."""


@frozen
class OptimumNeuron(CompilerDefaults):
    """`NeuronModelFor…`, for models of one network. Its cache of compiled models on the hub is never used."""

    fast_math: FastMath = "none"
    """`auto_cast`: none is true fp32, matmult casts matrix products, all casts everything. Always given."""
    auto_cast_type: Literal["bf16", "fp16", "tf32"] = "bf16"
    """`auto_cast_type`: type to cast to."""
    optlevel: Literal[1, 2, 3] = 2
    """`optlevel`: higher compiles longer, for faster code."""
    inline_weights: bool = True
    """`inline_weights_to_neff`: weights are part of the program; false copies them to the device at load."""
    dynamic_batch: bool = False
    """`dynamic_batch_size`: take multiples of the batch size compiled for."""
    python: str | None = None
    """Interpreter that builds, compiles and measures; null: the one that runs this program."""

    name: ClassVar[str] = "optimum_neuron"
    runs_on: ClassVar[frozenset[str]] = frozenset({"neuroncore-v2", "neuroncore-v3"})
    leaves_artifact: ClassVar[bool] = True
    # `import optimum.neuron` sets NEURON_PLATFORM_TARGET_OVERRIDE, which must happen in the child alone.
    preload: ClassVar[tuple[str, ...]] = ()

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math."""
        return self.fast_math

    @property
    def variables(self) -> str:
        """Those of the compiler that it calls."""
        return PROGRAM_VARIABLES

    def known_fault(self, model_type: str, versions: Mapping[str, str]) -> str:
        """By benchmark/neuron/known_faults.csv."""
        return known_fault(self.name, model_type, versions)

    def placement(self, parts: Sequence[str], cores: int) -> Mapping[str, tuple[int, ...]]:  # noqa: ARG002 - the library knows one core
        """The first core: `NeuronTracedModel.load_model` calls `set_neuron_cores(start_nc=0, nc_count=1)`."""
        return dict.fromkeys(parts, (0,))

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - the same on every device
        """Refuse options that exclude each other or have no effect."""
        if self.dynamic_batch and not self.inline_weights:
            return (
                "inline_weights=false has no effect with dynamic_batch=true, the exporter inlines them "
                "anyway: use inline_weights=true, or dynamic_batch=false"
            )
        if self.fast_math == "none" and self.auto_cast_type != "bf16":
            return (
                f"auto_cast_type={self.auto_cast_type} has no effect with fast_math=none: "
                "use fast_math=matmult or all, or auto_cast_type=bf16"
            )
        return None

    def refuse_model(self, model: Model, task: str) -> str | None:
        """Return why no class of the library takes this model for this task, or None."""
        return optimum_registry.refusal(model.architecture, task)

    def versions(self) -> Mapping[str, str]:
        """Versions of the library and of those that it compiles and computes with."""
        found = libraries.versions(*_STATED, install=_INSTALL, python=self.python)
        compiler_logs.refuse_stubs(found, _INSTALL, self.python)
        libraries.imports("optimum.neuron", "", install=_INSTALL, python=self.python)
        return found

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Export for the target from the weights that `save_pretrained` wrote.

        Raises:
            UnsupportedOperator, OutOfDeviceMemory, CompileFailed: by the compiler's NCC_ codes.
        """
        entry = _entry(workload)
        # Before the import: on a host without a device the import sets trn1, whatever the target.
        if target := _target(workload):
            os.environ["NEURON_PLATFORM_TARGET_OVERRIDE"] = target
        main_export = _imported("optimum.exporters.neuron").main_export

        options = self.arguments(target) | sizes(workload, entry.axes)
        with _neutral_name(workload) as (name, work):
            with compiler_logs.compiling(work):
                main_export(
                    name,
                    output=folder.resolve(),
                    task=workload.task,
                    compiler_workdir=work,
                    library_name="transformers",
                    local_files_only=True,
                    do_validation=False,  # the stage verify compares answers
                    **options,
                )
            neff_bytes = compiler_logs.neff_bytes(work)
        flags = tuple(f"{name}={_spelled(value)}" for name, value in options.items())
        return CompileReport(flags=flags, neff_bytes=neff_bytes)

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load to one NeuronCore; calls take and return CPU tensors, so wall time is end to end."""
        import torch

        neuron, logging = _imported("optimum.neuron"), _imported("optimum.utils.logging")

        assert folder is not None  # noqa: S101 - leaves_artifact
        model = getattr(neuron, _entry(workload).loader).from_pretrained(folder, local_files_only=True)
        logging.set_verbosity_warning()  # its import sets INFO: every call would write a line
        names, outputs = _names(model, workload), _outputs(workload)
        inputs = _read_inputs(workload, names)

        def call(*tensors: Any) -> Any:
            with torch.no_grad():  # a switch of the process would be one of this thread alone
                answer = model(**dict(zip(names, tensors, strict=True)))
            return tuple(getattr(answer, name) for name in outputs)

        matmul = "fp32" if self.fast_math == "none" else self.auto_cast_type
        other = self.auto_cast_type if self.fast_math == "all" else "fp32"
        return Session(
            run=lambda: call(*inputs),
            call=lambda *given: call(*given, *inputs[len(given) :]),
            inputs=inputs[: len(workload.input_names)],
            arithmetic=Arithmetic(
                model_dtype="fp32", matmul_dtype=matmul, other_dtype=other, autocast=self.fast_math
            ),
        )

    def commands(
        self,
        model: Model,
        parts: Sequence[str],
        target: str | None,
        versions: Mapping[str, str],  # noqa: ARG002 - the library's version is pinned
    ) -> Mapping[str, str]:
        """Command line of neuronx-cc, as the library makes it of the arguments (`prepare_compiler_flags`)."""
        if target not in _TARGETS:
            return {}
        kind = str(model.architecture.get("model_type")).replace("_", "-")
        cast = [] if self.fast_math == "none" else ["--auto-cast-type", self.auto_cast_type]
        line = [
            *("neuronx-cc", "compile", "--auto-cast", self.fast_math, *cast),
            *("--optlevel", str(self.optlevel), "--target", _TARGETS[target]),
            *(() if kind in _GENERIC else ("--model-type", "transformer")),
        ]
        return dict.fromkeys(parts, shlex.join(line))

    def arguments(self, target: str | None) -> dict[str, Any]:
        """Arguments of `main_export` for an instance."""
        auto_cast = _AUTO_CAST[self.fast_math]
        return {
            "compiler_kwargs": {
                "auto_cast": auto_cast,
                "auto_cast_type": auto_cast and self.auto_cast_type,
                "instance_type": target,
            },
            "optlevel": str(self.optlevel),
            "inline_weights_to_neff": self.inline_weights,
            "dynamic_batch_size": self.dynamic_batch,
            "disable_neuron_cache": True,  # a hit there would look like a fast compilation
        }


def _imported(name: str) -> Any:
    """Import a module of the library.

    Raises:
        LibraryMissing: it can't be imported, or lacks a program that it calls when it is.
    """
    try:
        return import_module(name)
    except (ImportError, OSError) as error:
        raise LibraryMissing(f"{name} can't be imported ({error}): {_INSTALL}") from error


def sizes(workload: Workload, axes: tuple[str, ...]) -> dict[str, int]:
    """Static sizes that an export needs, by name."""
    shapes = workload.input_shapes
    found: dict[str, int] = {}
    for axis in axes:
        name, dimension = next(place for place in _SIZES[axis] if place[0] in shapes)
        found[axis] = shapes[name][dimension]
    return found


def _target(workload: Workload) -> str | None:
    if workload.target is None:
        return None
    if workload.target not in _TARGETS:
        raise CompileFailed(
            f"optimum-neuron {optimum_registry.VERSION} has no target {workload.target}, only "
            f"{', '.join(_TARGETS)}: use compiler=neuronx"
        )
    return _TARGETS[workload.target]


def _entry(workload: Workload) -> Exported:
    """Entry of the library's registry for a workload.

    Raises:
        CompileFailed: there is none, or the model has several networks.
    """
    if workload.name != "model":
        raise CompileFailed(
            "compiler=optimum_neuron takes models of one network; its classes for generation and diffusion "
            "compile the parts their own way: use compiler=neuronx"
        )
    assert workload.weights is not None  # noqa: S101 - not simulated
    config = json.loads((workload.weights / "config.json").read_text(encoding="utf-8"))
    if refusal := optimum_registry.refusal(config, workload.task):
        raise CompileFailed(refusal)
    return optimum_registry.table()[config["model_type"], workload.task]


@contextmanager
def _neutral_name(workload: Workload) -> Iterator[tuple[str, Path]]:
    """Change to a folder where the weights have a neutral relative name; yield it and the compiler's folder.

    Where a path contains `unet`, `vae`, `transformer` …, even in a folder above, the library takes the model
    for a part of a diffusion pipeline and changes the flags (`add_stable_diffusion_compiler_args`).
    """
    assert workload.weights is not None  # noqa: S101 - not simulated
    weights, before = workload.weights.resolve(), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "weights").symlink_to(weights)
        work = Path(folder) / "work"
        work.mkdir()
        os.chdir(folder)
        try:
            yield "weights", work
        finally:
            os.chdir(before)


def _names(model: Any, workload: Workload) -> tuple[str, ...]:
    """Names of the loaded network's inputs: the workload's first, then those that only the network has.

    Raises:
        CompileFailed: it was compiled for other sizes; padding would hide that.
    """
    compiled = {name: tuple(shape) for name, shape in model.input_static_shapes.items()}
    requested = {name: tuple(workload.input_shapes[name]) for name in workload.input_names}
    if wrong := {name: compiled.get(name) for name in requested if compiled.get(name) != requested[name]}:
        raise CompileFailed(
            f"optimum-neuron compiled for {wrong}, not for {requested}, and would pad: it takes the size of "
            "images from config.json; use that size, or compiler=neuronx"
        )
    return (*requested, *(name for name in compiled if name not in requested))


def _read_inputs(workload: Workload, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Tensors in the order of the names; zeros for `token_type_ids`: a single segment."""
    import torch

    from benchmark.models import networks

    given = dict(zip(workload.input_names, networks.read_inputs(workload), strict=True))
    if unknown := set(names) - given.keys() - {"token_type_ids"}:
        raise CompileFailed(
            f"the exported network needs {', '.join(sorted(unknown))}, which this task doesn't make"
        )
    return tuple(given[name] if name in given else torch.zeros_like(given["input_ids"]) for name in names)


def _outputs(workload: Workload) -> tuple[str, ...]:
    """Names of the answers in the reference, in its order: `000-logits` …, see `models.composite`."""
    from safetensors import safe_open

    assert workload.reference is not None  # noqa: S101 - not simulated
    with safe_open(workload.reference / "outputs.safetensors", framework="np") as stored:
        return tuple(name.partition("-")[2] for name in sorted(stored.keys()))


def _spelled(value: Any) -> str:
    return json.dumps(value) if isinstance(value, Mapping) else str(value)
