"""OpenVINO: the model is converted to its representation and compiled for this CPU."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from benchmark.errors import UnsupportedOperator
from benchmark.host import libraries, machine
from benchmark.precision import Tolerance
from benchmark.protocols import CompilerDefaults
from benchmark.records import Arithmetic, CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.blob"
_PRECISION: dict[FastMath, str] = {"none": "f32", "all": "bf16"}
_GROUP = 64
"""Numbers that share a scale in int4: a divisor of the widths of usual decoders."""
_BYTES: dict[FastMath, int] = {"none": 4, "all": 2}


@frozen
class OpenVino(CompilerDefaults):
    """`openvino.convert_model`. The precision hint is always set: a CPU with bf16 uses bf16 by default."""

    fast_math: FastMath = "none"
    """none: f32; all: bf16. It can't cast matrix products only."""
    performance_hint: Literal["latency", "throughput", "cumulative_throughput"] = "latency"
    """Goal that the runtime chooses its streams for."""
    num_streams: PositiveInt | None = None
    """Inferences that may run at a time, each with its share of the threads; null: by the hint."""
    enable_hyper_threading: bool | None = None
    """Whether threads may share a physical core; null: by the hint."""
    enable_cpu_pinning: bool | None = None
    """Whether threads are bound to cores; null: the library's choice."""
    quantization: Literal["none", "int8", "int4"] = "none"
    """Weights of fewer bits, by NNCF: int8 for each channel, int4 for each 64 numbers; products stay as they
    are."""
    python: str | None = None
    """Interpreter that builds, compiles and measures; null: the one that runs this program."""

    name: ClassVar[str] = "openvino"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ("openvino",)

    @property
    def tolerance(self) -> Tolerance:
        """That of its quantization, else of its fast_math."""
        return self.fast_math if self.quantization == "none" else self.quantization

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - the same on every device
        """Refuse casts that it lacks."""
        if self.fast_math not in _PRECISION:
            return (
                f"fast_math={self.fast_math} doesn't work, it casts all or nothing: use fast_math=none or all"
            )
        return None

    def versions(self) -> Mapping[str, str]:
        """Versions of the runtime and of torch, which it converts from."""
        found = libraries.versions(
            "openvino", "torch", install=libraries.command_for("openvino"), python=self.python
        )
        if self.quantization != "none":
            found |= libraries.versions("nncf", install=libraries.command_for("llm"), python=self.python)
        return found

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Convert, compile, and store the compiled model."""
        import openvino
        import torch

        from benchmark.models import growing_decode, networks

        inputs = networks.read_inputs(workload)
        module = workload.load_module()
        inside = growing_decode.growing(module)
        try:
            with torch.no_grad():
                converted = openvino.convert_model(
                    networks.exportable(inside or module), example_input=inputs
                )
        except openvino.frontend.OpConversionFailure as error:
            operators = _unsupported(str(error))
            names = ", ".join(operators) or str(error).strip().splitlines()[-1]
            raise UnsupportedOperator(
                f"openvino has no translation of {names}", operators=operators
            ) from error
        for port, name in zip(converted.inputs, workload.input_names, strict=True):
            port.get_tensor().set_names({name})
        shapes = {name: list(workload.input_shapes[name]) for name in workload.input_names}
        if inside:
            _keep_inside(converted, workload.states, shapes)
        else:
            converted.reshape(shapes)
        converted = self._compressed(converted)
        settings = self.settings(workload.threads, keeps_states=bool(workload.states))
        # The blob has the whole model: CACHE_MODE=OPTIMIZE_SIZE, which stores weights beside it, loads BEiT
        # with a cosine of 0.944 to the reference (openvino 2026.4.1, 2026-11-22).
        blob = openvino.Core().compile_model(converted, "CPU", settings).export_model()
        (folder / _FILE).write_bytes(blob if isinstance(blob, bytes) else blob.getvalue())
        flags = {**settings, "quantization": self.quantization}
        return CompileReport(
            flags=tuple(f"{name}={value}" for name, value in flags.items()), unsupported_ops=()
        )

    def _compressed(self, model: Any) -> Any:
        if self.quantization == "none":
            return model
        import nncf

        mode = nncf.CompressWeightsMode
        if self.quantization == "int8":
            return nncf.compress_weights(model, mode=mode.INT8_ASYM)
        # All layers in int4: else the first and last ones, which are most of a small model, stay in int8.
        return nncf.compress_weights(model, mode=mode.INT4_SYM, group_size=_GROUP, ratio=1.0, all_layers=True)

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the blob. The request reads its inputs from our memory and shows its answers in its own."""
        import numpy as np
        import openvino
        from safetensors.numpy import load_file

        assert folder is not None  # noqa: S101 - leaves_artifact
        assert workload.reference is not None  # noqa: S101 - not simulated
        blob = np.memmap(folder / _FILE, dtype=np.uint8, mode="r")
        settings = self.settings(workload.threads, keeps_states=bool(workload.states))
        model = openvino.Core().import_model(openvino.Tensor(blob), "CPU", settings)
        stored = load_file(workload.reference / "inputs.safetensors")
        request = model.create_infer_request()
        inside = {state.name: state for state in request.query_state()}
        feed = {
            name: stored[name] for name in workload.input_names if not inside or name not in workload.states
        }

        def run() -> Any:
            request.infer(feed, share_inputs=True, share_outputs=True)
            return [request.get_output_tensor(index).data for index in range(len(model.outputs))]

        def call(*arrays: Any) -> Any:
            request.infer(dict(zip(feed, arrays, strict=True)), share_inputs=True, share_outputs=True)
            return [request.get_output_tensor(index).data.copy() for index in range(len(model.outputs))]

        def write_states(states: Any) -> None:
            for name, state in zip(workload.states, states, strict=True):
                inside[name + _grown(name)].state = openvino.Tensor(np.ascontiguousarray(state.numpy()))

        in_effect = {"f32": "fp32"}.get(
            hint := model.get_property("INFERENCE_PRECISION_HINT").to_string(), hint
        )
        return Session(
            run=run,
            call=call,
            inputs=tuple(feed.values()),
            write_states=write_states if inside else None,
            grows_states=bool(inside),
            state_bytes=_BYTES[self.fast_math] if inside else None,
            arithmetic=Arithmetic(
                model_dtype="fp32" if self.quantization == "none" else self.quantization,
                matmul_dtype=in_effect,
                other_dtype=in_effect,
                autocast=self.fast_math,
            ),
        )

    def settings(self, threads: int | None, *, keeps_states: bool = False) -> dict[str, Any]:
        """Properties of the library, from these options; those that are null are left out."""
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _PRECISION[self.fast_math],
            "PERFORMANCE_HINT": self.performance_hint.upper(),
        }
        if keeps_states:  # the default is 8 bits for states that grow (openvino 2026.4.1)
            settings["KV_CACHE_PRECISION"] = _PRECISION[self.fast_math]
        if self.quantization != "none":  # else inputs of compressed layers become 8 bits, too
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
        chosen = {
            "INFERENCE_NUM_THREADS": None if machine.of_every_core(threads) else threads,
            "NUM_STREAMS": self.num_streams,
            "ENABLE_HYPER_THREADING": self.enable_hyper_threading,
            "ENABLE_CPU_PINNING": self.enable_cpu_pinning,
        }
        return settings | {name: value for name, value in chosen.items() if value is not None}


def _keep_inside(model: Any, states: Sequence[str], shapes: dict[str, list[int]]) -> None:
    """Make inputs and outputs of these names states of the model, which grow along their third axis."""
    from openvino._offline_transformations import apply_make_stateful_transformation

    for port, name in zip(model.outputs[1:], states, strict=True):
        port.get_tensor().set_names({_grown(name)})
    for name in states:
        shapes[name][2] = -1
    model.reshape(shapes)
    apply_make_stateful_transformation(model, {name: _grown(name) for name in states})


def _grown(name: str) -> str:
    return f"{name}_grown"


def _unsupported(error: str) -> tuple[str, ...]:
    """Names of operators in a conversion error: unknown ones, or else ones that it failed to convert."""
    unknown = re.search(r"No conversion rule found for operations: (.+)", error)
    failed = re.findall(r"(?:Conversion is failed for:|conversion of operation) (\S+)", error)
    names = unknown[1].split(",") if unknown else [name.rpartition("/")[2] for name in failed]
    return tuple(dict.fromkeys(name.strip(" ,") for name in names))
