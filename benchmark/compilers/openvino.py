"""OpenVINO: the model is converted to its representation and compiled for this CPU."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    python: str | None = None
    """Interpreter that builds, compiles and measures; null: the one that runs this program."""

    name: ClassVar[str] = "openvino"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ("openvino",)

    @property
    def tolerance(self) -> Tolerance:
        """That of its fast_math."""
        return self.fast_math

    def refuse(self, kind: str) -> str | None:  # noqa: ARG002 - the same on every device
        """Refuse casts that it lacks."""
        if self.fast_math not in _PRECISION:
            return (
                f"fast_math={self.fast_math} doesn't work, it casts all or nothing: use fast_math=none or all"
            )
        return None

    def versions(self) -> Mapping[str, str]:
        """Versions of the runtime and of torch, which it converts from."""
        return libraries.versions(
            "openvino", "torch", install=libraries.command_for("openvino"), python=self.python
        )

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Convert, compile, and store the compiled model."""
        import openvino
        import torch

        from benchmark.models import networks

        inputs = networks.read_inputs(workload)
        try:
            with torch.no_grad():
                converted = openvino.convert_model(
                    networks.exportable(workload.load_module()), example_input=inputs
                )
        except openvino.frontend.OpConversionFailure as error:
            operators = _unsupported(str(error))
            names = ", ".join(operators) or str(error).strip().splitlines()[-1]
            raise UnsupportedOperator(
                f"openvino has no translation of {names}", operators=operators
            ) from error
        for port, name in zip(converted.inputs, workload.input_names, strict=True):
            port.get_tensor().set_names({name})
        converted.reshape({name: list(workload.input_shapes[name]) for name in workload.input_names})
        settings = self.settings(workload.threads)
        # The blob has the whole model: CACHE_MODE=OPTIMIZE_SIZE, which stores weights beside it, loads BEiT
        # with a cosine of 0.944 to the reference (openvino 2026.4.1, 2026-11-22).
        blob = openvino.Core().compile_model(converted, "CPU", settings).export_model()
        (folder / _FILE).write_bytes(blob if isinstance(blob, bytes) else blob.getvalue())
        return CompileReport(
            flags=tuple(f"{name}={value}" for name, value in settings.items()), unsupported_ops=()
        )

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the blob. The request reads its inputs from our memory and shows its answers in its own."""
        import numpy as np
        import openvino
        from safetensors.numpy import load_file

        assert folder is not None  # noqa: S101 - leaves_artifact
        assert workload.reference is not None  # noqa: S101 - not simulated
        blob = np.memmap(folder / _FILE, dtype=np.uint8, mode="r")
        model = openvino.Core().import_model(openvino.Tensor(blob), "CPU", self.settings(workload.threads))
        stored = load_file(workload.reference / "inputs.safetensors")
        feed = {name: stored[name] for name in workload.input_names}
        request = model.create_infer_request()

        def run() -> Any:
            request.infer(feed, share_inputs=True, share_outputs=True)
            return [request.get_output_tensor(index).data for index in range(len(model.outputs))]

        def call(*arrays: Any) -> Any:
            request.infer(dict(zip(feed, arrays, strict=True)), share_inputs=True, share_outputs=True)
            return [request.get_output_tensor(index).data.copy() for index in range(len(model.outputs))]

        in_effect = {"f32": "fp32"}.get(
            hint := model.get_property("INFERENCE_PRECISION_HINT").to_string(), hint
        )
        return Session(
            run=run,
            call=call,
            inputs=tuple(feed.values()),
            arithmetic=Arithmetic(
                model_dtype="fp32", matmul_dtype=in_effect, other_dtype=in_effect, autocast=self.fast_math
            ),
        )

    def settings(self, threads: int | None) -> dict[str, Any]:
        """Properties of the library, from these options; those that are null are left out."""
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _PRECISION[self.fast_math],
            "PERFORMANCE_HINT": self.performance_hint.upper(),
        }
        chosen = {
            "INFERENCE_NUM_THREADS": None if machine.of_every_core(threads) else threads,
            "NUM_STREAMS": self.num_streams,
            "ENABLE_HYPER_THREADING": self.enable_hyper_threading,
            "ENABLE_CPU_PINNING": self.enable_cpu_pinning,
        }
        return settings | {name: value for name, value in chosen.items() if value is not None}


def _unsupported(error: str) -> tuple[str, ...]:
    """Names of operators in a conversion error: unknown ones, or else ones that it failed to convert."""
    unknown = re.search(r"No conversion rule found for operations: (.+)", error)
    failed = re.findall(r"(?:Conversion is failed for:|conversion of operation) (\S+)", error)
    names = unknown[1].split(",") if unknown else [name.rpartition("/")[2] for name in failed]
    return tuple(dict.fromkeys(name.strip(" ,") for name in names))
