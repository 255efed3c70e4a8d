"""What a person would write: load the model, warm up, time calls with perf_counter_ns. Prints p50 in ms.

python hand_loop.py FOLDER eager|torchscript|onnxruntime|openvino [SETTING ...] [--seconds S]

The folder has config.json, model.safetensors, inputs.safetensors (their values) and, for the last two,
model.onnx or model.xml, which `export` in place of a compiler writes. Nothing of the benchmark is imported.
The garbage collector is off in the timed calls, as it is in `timeit`; the setting `collect` leaves it on.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

WARMUP_S = 0.5
LEAST_CALLS = 5

Settings = Mapping[str, str]
"""By name; those without a value are empty."""


def network(folder: Path) -> Any:
    """The model of the folder. Weights count: compilers leave out biases of zero, which a new model has."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    images = hasattr(config, "num_channels")
    head = "AutoModelForImageClassification" if images else "AutoModelForSequenceClassification"
    return getattr(transformers, head).from_pretrained(folder).eval()


def inputs(folder: Path, kind: str) -> Mapping[str, Any]:
    """Tensors or arrays by the names of the network's arguments."""
    from importlib import import_module

    return import_module(f"safetensors.{kind}").load_file(folder / "inputs.safetensors")


def of_torch(folder: Path, compiler: str, settings: Settings) -> Callable[[], Any]:
    """Eager, or traced and frozen."""
    import torch

    if "threads" in settings:
        torch.set_num_threads(int(settings["threads"]))
    if "precision" in settings:
        torch.set_float32_matmul_precision(settings["precision"])
    if "flush_denormals" in settings:
        torch.set_flush_denormal(True)
    model, given = network(folder), inputs(folder, "torch")
    if "channels_last" in settings:
        model = model.to(memory_format=torch.channels_last)
        given = {
            name: tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
            for name, tensor in given.items()
        }
    mode = torch.no_grad if "no_grad" in settings else torch.inference_mode
    mode().__enter__()  # for the rest of this program
    if compiler == "eager":
        return lambda: model(**given)
    traced = torch.jit.trace(model, example_kwarg_inputs=dict(given), strict=False, check_trace=False)
    frozen = torch.jit.freeze(traced)
    return lambda: frozen(**given)


def of_onnxruntime(folder: Path, _: str, settings: Settings) -> Callable[[], Any]:
    """A session with its defaults."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if "threads" in settings:
        options.intra_op_num_threads = int(settings["threads"])
    if "flush_denormals" in settings:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if "no_spinning" in settings:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    feed = {name: array for name, array in inputs(folder, "numpy").items() if name in wanted}
    if "io_binding" not in settings:
        return lambda: session.run(None, feed)
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_cpu_input(name, array)
    for node in session.get_outputs():
        binding.bind_output(node.name)

    def bound() -> Any:
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    return bound


def of_openvino(folder: Path, _: str, settings: Settings) -> Callable[[], Any]:
    """A compiled model for latency, whose request shares memory with its inputs and answers.

    In fp32, as the tool's fast_math=none: OpenVINO's own choice is bf16 on CPUs that multiply in it.
    """
    import openvino

    precision = settings.get("inference_precision", "f32")
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    if "threads" in settings:
        properties["INFERENCE_NUM_THREADS"] = int(settings["threads"])
    if "flush_denormals" in settings:
        properties["CPU_DENORMALS_OPTIMIZATION"] = True
    if "no_pinning" in settings:
        properties["ENABLE_CPU_PINNING"] = False
    compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", properties)
    feed, request = dict(inputs(folder, "numpy")), compiled.create_infer_request()
    if "inputs_once" not in settings:
        return lambda: request.infer(feed, share_inputs=True, share_outputs=True)
    for name, array in feed.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    return lambda: request.infer(share_outputs=True)


def export(folder: Path) -> None:
    """Write the files of the compilers that don't take a torch module when they are called."""
    import openvino
    import torch

    warnings.simplefilter("ignore")
    model, given = network(folder), dict(inputs(folder, "torch"))
    with torch.no_grad():
        torch.onnx.export(
            model,
            (),
            folder / "model.onnx",
            kwargs=given,
            input_names=list(given),
            dynamo=True,
            verbose=False,
        )
        forward = model.forward
        model.forward = lambda *values: forward(**dict(zip(given, values, strict=True))).logits
        converted = openvino.convert_model(model, example_input=tuple(given.values()))
    for port, name in zip(converted.inputs, given, strict=True):
        port.get_tensor().set_names({name})
    converted.reshape({name: list(tensor.shape) for name, tensor in given.items()})
    openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)


def timed(call: Callable[[], Any], seconds: float, settings: Settings) -> list[float]:
    """Milliseconds of each call after the warm-up."""
    if "collect" not in settings:
        gc.disable()
    until = time.perf_counter() + WARMUP_S
    while time.perf_counter() < until:
        call()
    took, until = [], time.perf_counter() + seconds
    while len(took) < LEAST_CALLS or time.perf_counter() < until:
        start = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - start) / 1e6)
    return took


LOOPS = {
    "eager": of_torch,
    "torchscript": of_torch,
    "onnxruntime": of_onnxruntime,
    "openvino": of_openvino,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("compiler", choices=[*LOOPS, "export"])
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--percentile", type=int, default=50)
    asked = parser.parse_args()
    if asked.compiler == "export":
        export(asked.folder)
        return
    warnings.simplefilter("ignore")
    settings = {name: value for name, _, value in (one.partition("=") for one in asked.settings)}
    took = timed(LOOPS[asked.compiler](asked.folder, asked.compiler, settings), asked.seconds, settings)
    print(statistics.quantiles(took, n=100)[asked.percentile - 1])


if __name__ == "__main__":
    main()
