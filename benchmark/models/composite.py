"""Models whose call is the calls of several networks: each is compiled apart, all are timed together.

Imported by children only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmark.models import flops, networks
from benchmark.models.networks import Positional
from benchmark.records import Session, Workload

Network = Callable[..., Sequence[torch.Tensor]]
"""One part, compiled or not: positional tensors in, tensors out."""
Answers = dict[str, torch.Tensor]


class CompositeModel:
    """A model in parts: `parts` loads them one by one, `run` calls them.

    A task's module may be one of these instead of a network.
    """

    parts: Mapping[str, Callable[[], Positional]]
    """By name how to load one; cheap until then."""
    forced_tokens: tuple[str, ...] = ()
    """Answers that are choices on the way, such as tokens: a compiled model that is compared follows those
    of the reference, since after one other choice nothing is comparable any more."""
    per_token = False
    """Whether `mark` is called for each token."""

    def run(self, parts: Mapping[str, Network], inputs: Answers, mark: Callable[[], None]) -> Answers:
        """One call as users make it."""
        raise NotImplementedError

    def run_teacher_forced(
        self, parts: Mapping[str, Network], inputs: Answers, forced_tokens: Answers
    ) -> Answers:
        """The same along the choices of `forced_tokens`."""
        del forced_tokens
        return self.run(parts, inputs, _unmarked)

    def save_image(self, answers: Answers, file: Path) -> bool:  # noqa: ARG002
        """Save what people can look at; say whether there is such a thing."""
        return False

    def parameters(self, of_parts: Sequence[int]) -> int:
        """Parameters of the whole, by those of its parts."""
        return sum(of_parts)


def write_reference(
    module: Any, inputs: Mapping[str, torch.Tensor], folder: Path, threads: int | None
) -> Mapping[str, Any]:
    """Save the inputs and the fp32 answers to them; return what there is to know of a call and of its parts.

    That is names, shapes and dtypes of inputs, parameters, and what `torch_flops` counts. The module is spent
    afterwards.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    inputs = dict(inputs)
    _save(inputs, folder / "inputs.safetensors")
    told = _padding(inputs)
    if not isinstance(module, CompositeModel):
        with torch.inference_mode():
            outputs = module(*inputs.values())
        answers = dict(zip(module.output_names, outputs, strict=True))
        _save_answers(answers, folder)
        return told | {"name": "model", "calls": 1} | _facts(module, inputs)
    recorders = {name: _Recorder(load()) for name, load in module.parts.items()}
    with torch.inference_mode():
        answers = module.run(recorders, inputs, _unmarked)
    _save({name: answers.pop(name) for name in module.forced_tokens}, folder / "forced_tokens.safetensors")
    _save_answers(answers, folder)
    parts = [recorder.told(name, folder) for name, recorder in recorders.items() if recorder.inputs]
    return (
        told
        | _described(inputs)
        | {
            "name": "model",
            "calls": 1,
            "parts": parts,
            "parameters": module.parameters([part["parameters"] for part in parts]),
            "flops_per_call": _times(parts, "flops_per_call"),
            "weight_bytes": _times(parts, "weight_bytes"),
        }
    )


def assembled(workload: Workload, sessions: Mapping[str, Session]) -> Session:
    """The whole as one session, from those of its parts."""
    composed: CompositeModel = workload.load_module()
    stored = networks.read_inputs(workload)
    inputs = dict(zip(workload.input_names, stored, strict=True))
    by_part = {name: _network(session) for name, session in sessions.items()}
    forced_tokens = _read_forced_tokens(workload)
    calls: list[list[int]] = []
    found: Answers = {}

    def run() -> Any:
        marks: list[int] = []
        calls.append(marks)
        start = time.perf_counter_ns()
        with torch.inference_mode():
            return composed.run(by_part, inputs, lambda: marks.append(time.perf_counter_ns() - start))

    def answers() -> Sequence[Any]:
        nonlocal found
        with torch.inference_mode():
            found = composed.run_teacher_forced(by_part, inputs, forced_tokens)
        return [tensor for name, tensor in found.items() if name not in composed.forced_tokens]

    def token_ns() -> Sequence[Sequence[int]]:
        told = [*calls]
        calls.clear()
        return told

    return Session(
        run=run,
        inputs=stored,
        answers=answers,
        save_image=lambda file: composed.save_image(found, file),
        token_ns=token_ns if composed.per_token else None,
        arithmetic=next(iter(sessions.values())).arithmetic,
    )


def _network(session: Session) -> Network:
    """A loaded part as it is called: tensors in and out, whatever its runtime takes."""
    call = session.call
    assert call is not None  # noqa: S101 - every compiler of models in parts gives one
    if not any(isinstance(value, np.ndarray) for value in session.inputs):
        dtypes = [value.dtype for value in session.inputs]

        def on_tensors(*tensors: torch.Tensor) -> Sequence[torch.Tensor]:
            return call(*map(_as_compiled, tensors, dtypes))

        return on_tensors

    def on_arrays(*tensors: torch.Tensor) -> Sequence[torch.Tensor]:
        return [torch.from_numpy(array) for array in call(*(tensor.numpy() for tensor in tensors))]

    return on_arrays


def _as_compiled(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Contiguous: AOTInductor refuses PixArt's expanded time otherwise. Most are so already."""
    return tensor if tensor.dtype is dtype and tensor.is_contiguous() else tensor.to(dtype).contiguous()


class _Recorder:
    """Calls a network and remembers what its first call was given."""

    def __init__(self, network: Positional) -> None:
        self.network, self.calls = network, 0
        self.inputs: Answers = {}

    def __call__(self, *tensors: torch.Tensor) -> Sequence[torch.Tensor]:
        if not self.calls:
            named = zip(self.network.input_names, tensors, strict=True)
            self.inputs = {name: tensor.clone() for name, tensor in named}
        self.calls += 1
        return self.network(*tensors)  # type: ignore[no-any-return]

    def told(self, name: str, folder: Path) -> dict[str, Any]:
        (folder / name).mkdir()
        _save(self.inputs, folder / name / "inputs.safetensors")
        return {"name": name, "calls": self.calls} | _facts(self.network, self.inputs)


def _facts(network: Positional, inputs: Answers) -> dict[str, Any]:
    return _described(inputs) | {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "weight_bytes": flops.weight_bytes(network),
        "flops_per_call": flops.flops_per_call(network, tuple(inputs.values())),
    }


def _described(inputs: Answers) -> dict[str, Any]:
    return {
        "input_names": list(inputs),
        "input_shapes": {name: list(tensor.shape) for name, tensor in inputs.items()},
        "input_dtypes": {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in inputs.items()},
    }


def _padding(inputs: Answers) -> dict[str, Any]:
    mask = inputs.get("attention_mask")
    return {"padding_share": None if mask is None else 1 - float(mask.float().mean())}


def _times(parts: Sequence[Mapping[str, Any]], what: str) -> int | None:
    """Of a whole call: what each part has, as often as it is called."""
    counts = [part[what] for part in parts]
    return (
        None
        if None in counts
        else sum(count * part["calls"] for count, part in zip(counts, parts, strict=True))
    )


def _read_forced_tokens(workload: Workload) -> Answers:
    assert workload.reference is not None  # noqa: S101 - simulated workloads never come here
    return dict(load_file(workload.reference / "forced_tokens.safetensors", device=workload.torch_device))


def _save(tensors: Answers, file: Path) -> None:
    # Cloned: outputs may be views of each other, as CLIP's of a batch of 1 are, which safetensors refuses.
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, file)


def _save_answers(answers: Answers, folder: Path) -> None:
    """In an order that their names keep: a compiled model answers by position."""
    numbered = {f"{i:03d}-{name}": output.float() for i, (name, output) in enumerate(answers.items())}
    _save(numbered, folder / "outputs.safetensors")


def _unmarked() -> None:
    """Of a call that nobody times by its tokens."""
