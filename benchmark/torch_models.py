"""Transformers models on disk and in memory: made from a configuration, saved, mapped back, wrapped.

Imported by children only. Tasks and compilers share it; the core never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from benchmark import torch_flops
from benchmark.errors import ConfigError, Unavailable
from benchmark.records import Model, Workload

with suppress(ImportError, AttributeError):  # transformers before 5 has none
    from transformers import conversion_mapping

    # Built here, in the server that children are forked from: else each compiles its 900 patterns, 0.2 s.
    conversion_mapping.get_checkpoint_conversion_mapping("bert")


class Positional(torch.nn.Module):  # type: ignore[misc]
    """Binds positional tensors to named inputs and returns plain tensors, as every exporter wants it."""

    def __init__(
        self, model: torch.nn.Module, input_names: Sequence[str], output_names: Sequence[str]
    ) -> None:
        super().__init__()
        self.model = model
        self.input_names = tuple(input_names)
        self.output_names = tuple(output_names)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the named outputs; inputs are bound by name, whatever order the model's forward has."""
        outputs = self.model(**dict(zip(self.input_names, tensors, strict=True)))
        return tuple(getattr(outputs, name) for name in self.output_names)


def write_weights(auto_class: str, model: Model, weights: str, seed: int, folder: Path) -> Mapping[str, Any]:
    """Save a model of random seeded weights, or the published one, into `folder`.

    Raises:
        ConfigError: the architecture has another number of parameters than the YAML states.
        Unavailable: the hub can't be reached and its cache doesn't hold the model.
    """
    if weights == "pretrained":
        return _write_pretrained(auto_class, model, folder)
    architecture = dict(model.architecture)
    config = transformers.AutoConfig.for_model(architecture.pop("model_type"), **architecture)
    torch.manual_seed(seed)
    network = getattr(transformers, auto_class).from_config(config).eval()
    count = network.num_parameters()
    if count != model.parameters:
        raise ConfigError(
            f"model.parameters={model.parameters}: this architecture has {count}; "
            f"correct conf/model/{model.name}.yaml, or give the model another name"
        )
    network.save_pretrained(folder)
    return {"parameters": count}


def _write_pretrained(auto_class: str, model: Model, folder: Path) -> Mapping[str, Any]:
    revision = model.revision or "main"
    try:
        network = getattr(transformers, auto_class).from_pretrained(model.hub_id, revision=revision).eval()
    except OSError as error:
        raise Unavailable(
            f"weights=pretrained: {model.hub_id}@{revision} is neither on this host nor to be had from "
            f"the hub: `hf download {model.hub_id}` where there is a network, or weights=FOLDER"
        ) from error
    network.save_pretrained(folder)
    return {"parameters": network.num_parameters(), "commit": getattr(network.config, "_commit_hash", None)}


def read_module(
    auto_class: str, folder: Path, input_names: Sequence[str], output_names: Sequence[str]
) -> Positional:
    """Return the model in `folder`, its weights memory-mapped, in fp32 and eval mode."""
    network = getattr(transformers, auto_class).from_pretrained(
        folder, local_files_only=True, dtype=torch.float32
    )
    return Positional(network, input_names, output_names).eval()  # type: ignore[no-any-return]


def write_reference(
    module: Positional, inputs: Mapping[str, torch.Tensor], folder: Path, threads: int | None
) -> Mapping[str, Any]:
    """Save the inputs and the module's fp32 answers; return what there is to know of a call.

    That is names, shapes and dtypes of the inputs, parameters, and what `torch_flops` counts. The module is
    spent afterwards.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    with torch.inference_mode():
        outputs = module(*inputs.values())
    save_file({name: tensor.contiguous() for name, tensor in inputs.items()}, folder / "inputs.safetensors")
    answers = {
        f"{i:03d}-{name}": output
        for i, (name, output) in enumerate(zip(module.output_names, outputs, strict=True))
    }
    save_file(
        {name: output.float().contiguous() for name, output in answers.items()},
        folder / "outputs.safetensors",
    )
    return {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "input_names": list(inputs),
        "input_shapes": {name: list(tensor.shape) for name, tensor in inputs.items()},
        "input_dtypes": {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in inputs.items()},
        "weight_bytes": torch_flops.weight_bytes(module),
        "flops_per_call": torch_flops.flops_per_call(module, tuple(inputs.values())),
    }


def read_inputs(workload: Workload) -> tuple[torch.Tensor, ...]:
    """Return the workload's inputs in the module's order, on its device."""
    assert workload.reference is not None  # noqa: S101 - simulated workloads never come here
    stored = load_file(workload.reference / "inputs.safetensors", device=workload.torch_device)
    return tuple(stored[name] for name in workload.input_names)
