"""optimum-neuron: Hugging Face's classes over torch-neuronx, for NeuronCores of the second generation on.

By the interface and the source of optimum-neuron 0.4.5; it has not run on a device yet.

It compiles by `optimum.exporters.neuron.main_export`, which is what `from_pretrained(export=True)` of these
classes calls: that one then loads the network to the device, so that compiling would take a core, and where
there is no device it returns None and drops what it wrote (`NeuronTracedModel._export`).

A call is one of `NeuronModelFor…`: beside the network it looks whether its inputs have to be padded, and
copies what it answers free of padding. That is part of what is timed here and isn't with compiler=neuronx.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from benchmark.errors import CompileFailed
from benchmark.host import libraries
from benchmark.neuron import compiler_logs, optimum_registry
from benchmark.neuron.optimum_registry import Exported
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
"""As `main_export` spells it; None becomes an explicit `--auto-cast none` (`prepare_compiler_flags`)."""
_TARGETS: Final = {"trn1": "trn1", "trn1n": "trn1", "inf2": "trn1", "trn2": "trn2"}
"""What it gives the compiler for an instance (`INSTANCE_VALUE_MAP` in optimum/neuron/utils/instance.py)."""
_SIZES: Final = {
    "batch_size": (("input_ids", 0), ("pixel_values", 0)),
    "text_batch_size": (("input_ids", 0),),
    "image_batch_size": (("pixel_values", 0),),
    "sequence_length": (("input_ids", 1),),
    "num_channels": (("pixel_values", 1),),
    "height": (("pixel_values", 2),),
    "width": (("pixel_values", 3),),
}
"""Where an axis of the export stands in our inputs: name and dimension, the first that there is."""


@frozen
class OptimumNeuron(CompilerDefaults):
    """`NeuronModelFor…` of one network; its own cache of compiled models, on the hub, is never used."""

    fast_math: FastMath = "none"
    """`auto_cast`: none is true fp32, matmult casts matrix products, all casts everything. Always given."""
    auto_cast_type: Literal["bf16", "fp16", "tf32"] = "bf16"
    """`auto_cast_type`: to what it is cast."""
    optlevel: Literal[1, 2, 3] = 2
    """`optlevel`: compile time against speed."""
    inline_weights: bool = True
    """`inline_weights_to_neff`: weights frozen into the compiled program, or copied to the device at load."""
    dynamic_batch: bool = False
    """`dynamic_batch_size`: whether it takes multiples of the batch it was compiled for."""
    python: str | None = None
    """Interpreter whose worker builds, compiles and measures; null: this one."""

    name: ClassVar[str] = "optimum_neuron"
    runs_on: ClassVar[frozenset[str]] = frozenset({"neuroncore-v2", "neuroncore-v3"})
    leaves_artifact: ClassVar[bool] = True
    # Nothing: `import optimum.neuron` sets NEURON_PLATFORM_TARGET_OVERRIDE, that is for the child alone.
    preload: ClassVar[tuple[str, ...]] = ()

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math."""
        return self.fast_math

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - the same on every device
        """Refuse options that exclude each other, or have no effect."""
        if self.dynamic_batch and not self.inline_weights:
            return (
                "inline_weights=false has no effect with dynamic_batch=true, the exporter inlines all "
                "the same: use inline_weights=true, or dynamic_batch=false"
            )
        if self.fast_math == "none" and self.auto_cast_type != "bf16":
            return (
                f"auto_cast_type={self.auto_cast_type} has no effect with fast_math=none: "
                "use fast_math=matmult or all, or auto_cast_type=bf16"
            )
        return None

    def refuse_model(self, model: Model, task: str) -> str | None:
        """Say why it has no class for this model under this task, or None."""
        return optimum_registry.refusal(model.architecture, task)

    def versions(self) -> Mapping[str, str]:
        """The library, and what it compiles and computes with."""
        found = libraries.versions(*_STATED, install=_INSTALL, python=self.python)
        return compiler_logs.real(found, _INSTALL, self.python)

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Export for the target, from the weights as `save_pretrained` writes them.

        Raises:
            UnsupportedOperator, OutOfDeviceMemory, CompileFailed: by the compiler's NCC_ codes.
        """
        entry = _entry(workload)
        # Before the import: on a host without a device that sets trn1 by itself, whatever is compiled for.
        if target := _target(workload):
            os.environ["NEURON_PLATFORM_TARGET_OVERRIDE"] = target
        from optimum.exporters.neuron import main_export

        asked = self.arguments(target) | sizes(workload, entry.axes)
        with _named_neutrally(workload) as (name, work), compiler_logs.listening() as messages:
            try:
                main_export(
                    name,
                    output=folder.resolve(),
                    task=workload.task,
                    compiler_workdir=work,
                    library_name="transformers",
                    local_files_only=True,
                    do_validation=False,  # answers are compared by whoever measures
                    **asked,
                )
            except Exception as error:
                log = "\n".join([*messages, compiler_logs.show_logs(work)])
                if failure := compiler_logs.failure(error, log):
                    raise failure from error
                raise
            neff_bytes = compiler_logs.neff_bytes(work)
        flags = tuple(f"{name}={_spelled(value)}" for name, value in asked.items())
        return CompileReport(flags=flags, neff_bytes=neff_bytes)

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load to one NeuronCore; calls take and return CPU tensors, so wall time is end to end."""
        import torch
        from optimum import neuron
        from optimum.utils import logging

        assert folder is not None  # noqa: S101 - leaves_artifact
        torch.set_grad_enabled(False)
        model = getattr(neuron, _entry(workload).loader).from_pretrained(folder, local_files_only=True)
        logging.set_verbosity_warning()  # its import sets INFO, of which every call writes a line
        names, outputs = _names(model, workload), _outputs(workload)
        inputs = _read_inputs(workload, names)

        def call(*tensors: Any) -> Any:
            answered = model(**dict(zip(names, tensors, strict=True)))
            return tuple(getattr(answered, name) for name in outputs)

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

    def arguments(self, target: str | None) -> dict[str, Any]:
        """Its fields as `main_export` names and spells them, for an instance."""
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
            "disable_neuron_cache": True,  # a hit there would be taken for a fast compilation
        }


def sizes(workload: Workload, axes: tuple[str, ...]) -> dict[str, int]:
    """The static sizes that an export has to be given, by name."""
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
    """What its registry has for a workload.

    Raises:
        CompileFailed: nothing, or the model is several networks.
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
def _named_neutrally(workload: Workload) -> Iterator[tuple[str, Path]]:
    """Stand where the weights have a relative name; give it, and the folder for the compiler's work.

    By its path a model is taken for a part of a diffusion pipeline, and compiled with other flags, where that
    contains `unet`, `vae`, `transformer` … (`add_stable_diffusion_compiler_args`), be it in a folder above.
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
    """Inputs of the loaded network by name: ours, and behind them those that only it has.

    Raises:
        CompileFailed: it was compiled for other sizes, which it would hide by padding.
    """
    compiled = {name: tuple(shape) for name, shape in model.input_static_shapes.items()}
    asked = {name: tuple(workload.input_shapes[name]) for name in workload.input_names}
    if wrong := {name: compiled.get(name) for name in asked if compiled.get(name) != asked[name]}:
        raise CompileFailed(
            f"optimum-neuron compiled for {wrong}, not for {asked}, and would pad: it takes the size of "
            "images from config.json; use that size, or compiler=neuronx"
        )
    return (*asked, *(name for name in compiled if name not in asked))


def _read_inputs(workload: Workload, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Tensors in the order of the names; a single segment where the network also asks for segments."""
    import torch

    from benchmark.models import networks

    given = dict(zip(workload.input_names, networks.read_inputs(workload), strict=True))
    if unknown := set(names) - given.keys() - {"token_type_ids"}:
        raise CompileFailed(
            f"the exported network asks for {', '.join(sorted(unknown))}, which we don't have"
        )
    return tuple(given[name] if name in given else torch.zeros_like(given["input_ids"]) for name in names)


def _outputs(workload: Workload) -> tuple[str, ...]:
    """Names of the answers in the reference, in its order: `000-logits` …, see `torch_parts`."""
    from safetensors import safe_open

    assert workload.reference is not None  # noqa: S101 - not simulated
    with safe_open(workload.reference / "outputs.safetensors", framework="np") as stored:
        return tuple(name.partition("-")[2] for name in sorted(stored.keys()))


def _spelled(value: Any) -> str:
    return json.dumps(value) if isinstance(value, Mapping) else str(value)
