"""OpenVINO: converted to its own representation, compiled for the CPU at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmark import libraries
from benchmark.errors import UnsupportedOperator
from benchmark.records import Arithmetic, CompileReport, FastMath, Session, Workload, frozen

_FILE = "model.xml"
_PRECISION: dict[FastMath, str] = {"none": "f32", "all": "bf16"}


@frozen
class OpenVino:
    """`openvino.convert_model`; the precision hint is always set, since its default is bf16 where the CPU has it."""

    fast_math: FastMath = "none"
    """none: f32; all: bf16. It can't cast matrix products alone."""
    performance_hint: Literal["latency", "throughput"] = "latency"
    """What the runtime plans its streams for."""

    name: ClassVar[str] = "openvino"
    runs_on: ClassVar[frozenset[str]] = frozenset({"cpu"})
    leaves_artifact: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ("openvino",)

    def refuse(self) -> str | None:
        """Refuse casts that it doesn't have."""
        if self.fast_math not in _PRECISION:
            return f"fast_math={self.fast_math} can't be had, it casts all or nothing: use none or all"
        return None

    def versions(self) -> Mapping[str, str]:
        """The runtime and torch, which it converts from."""
        return libraries.versions("openvino", "torch", install="pip install -e '.[openvino]'")

    def compile(self, workload: Workload, folder: Path) -> CompileReport:
        """Convert, save the representation in fp32, and leave the compiled blob beside it."""
        import openvino
        import torch

        from benchmark import torch_models

        inputs = torch_models.read_inputs(workload)
        try:
            with torch.no_grad():
                converted = openvino.convert_model(workload.load_module(), example_input=inputs)
        except openvino.frontend.OpConversionFailure as error:
            raise UnsupportedOperator(f"openvino: {str(error).splitlines()[0]}") from error
        for port, name in zip(converted.inputs, workload.input_names, strict=True):
            port.get_tensor().set_names({name})
        converted.reshape({name: list(workload.input_shapes[name]) for name in workload.input_names})
        openvino.save_model(converted, folder / _FILE, compress_to_fp16=False)
        settings = self._settings(workload, folder)
        openvino.Core().compile_model(folder / _FILE, "CPU", settings)
        return CompileReport(flags=tuple(f"{name}={value}" for name, value in settings.items() if name != "CACHE_DIR"))

    def load(self, workload: Workload, folder: Path | None) -> Session:
        """Load the blob; the request reads its inputs from memory that we hold."""
        import openvino
        from safetensors.numpy import load_file

        assert folder is not None  # noqa: S101 - leaves_artifact
        assert workload.reference is not None  # noqa: S101 - not simulated
        model = openvino.Core().compile_model(folder / _FILE, "CPU", self._settings(workload, folder))
        stored = load_file(workload.reference / "inputs.safetensors")
        feed = {name: stored[name] for name in workload.input_names}
        request = model.create_infer_request()

        def run() -> Any:
            request.infer(feed, share_inputs=True)
            return [request.get_output_tensor(index).data for index in range(len(model.outputs))]

        in_effect = {"f32": "fp32"}.get(hint := model.get_property("INFERENCE_PRECISION_HINT").to_string(), hint)
        return Session(
            run=run,
            arithmetic=Arithmetic(
                model_dtype="fp32", matmul_dtype=in_effect, other_dtype=in_effect, autocast=self.fast_math
            ),
        )

    def _settings(self, workload: Workload, folder: Path) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _PRECISION[self.fast_math],
            "PERFORMANCE_HINT": self.performance_hint.upper(),
            "CACHE_MODE": "OPTIMIZE_SIZE",  # the blob holds no weights: the representation beside it does
            "CACHE_DIR": str(folder / "blob"),
        }
        return settings | ({"INFERENCE_NUM_THREADS": workload.threads} if workload.threads else {})
