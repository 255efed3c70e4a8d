"""Transformers models on disk and in memory: made from a configuration, saved, mapped back, wrapped.

Imported by children only. Tasks and compilers share it; the core never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file

from benchmark.errors import ConfigError, Unavailable
from benchmark.models import numerics
from benchmark.precision import Dtype
from benchmark.records import Arithmetic, Model, Session, Workload

with suppress(ImportError, AttributeError):  # transformers before 5 has none
    from transformers import conversion_mapping

    # Built here, in the server that children are forked from: else each compiles its 900 patterns, 0.2 s.
    conversion_mapping.get_checkpoint_conversion_mapping("bert")


class Positional(torch.nn.Module):  # type: ignore[misc]
    """Binds positional tensors to named inputs and returns plain tensors, as every exporter wants it."""

    def __init__(
        self,
        model: torch.nn.Module,
        input_names: Sequence[str],
        output_names: Sequence[str],
        **constants: Any,
    ) -> None:
        super().__init__()
        self.model = model
        self.input_names = tuple(input_names)
        self.output_names = tuple(output_names)
        self.constants = constants

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the named outputs; inputs are bound by name, whatever order the model's forward has."""
        outputs = self.model(**dict(zip(self.input_names, tensors, strict=True)), **self.constants)
        return tuple(getattr(outputs, name) for name in self.output_names)


def write_weights(  # noqa: PLR0913, PLR0917 - which model, and where to
    auto_class: str, model: Model, task: str, weights: str, seed: int, folder: Path
) -> Mapping[str, Any]:
    """Save a model of random seeded weights, or the published one, into `folder`.

    Raises:
        ConfigError: the architecture has another number of parameters than the YAML states for the task.
        Unavailable: the hub can't be reached and its cache doesn't hold the model.
    """
    if weights == "pretrained":
        return _write_pretrained(auto_class, model, folder)
    config = configuration(model)
    torch.manual_seed(seed)
    network = network_class(auto_class, config)._from_config(config).eval()  # noqa: SLF001 - from_config, of a class
    check_parameters(model, task, network.num_parameters())
    network.save_pretrained(folder)
    return {"parameters": network.num_parameters()}


def configuration(model: Model) -> Any:
    """The transformers configuration of an architecture; a nested one names its own `model_type`."""
    fields = {name: _nested(value) for name, value in model.architecture.items() if name != "model_type"}
    return transformers.AutoConfig.for_model(model.architecture["model_type"], **fields)


def _nested(value: Any) -> Any:
    if isinstance(value, Mapping) and "model_type" in value:
        rest = {name: inner for name, inner in value.items() if name != "model_type"}
        return transformers.AutoConfig.for_model(value["model_type"], **rest)
    return value


def network_class(auto_class: str, config: Any) -> Any:
    """The class that an Auto class would take; of several, the one that `architectures` names.

    A class of one architecture is that class: not every model has an Auto class.
    """
    kind = getattr(transformers, auto_class)
    if not hasattr(kind, "_model_mapping"):
        return kind
    found = kind._model_mapping[type(config)]  # noqa: SLF001 - it has no public name
    classes = found if isinstance(found, (tuple, list)) else (found,)
    named = [kind for kind in classes if kind.__name__ in (config.architectures or ())]
    return (named or classes)[0]


def check_parameters(model: Model, task: str, count: int) -> None:
    """Refuse an architecture that isn't the published one.

    Raises:
        ConfigError: it has another number of parameters than the YAML states for the task.
    """
    if count != (stated := model.parameters[task]):
        raise ConfigError(
            f"model.parameters.{task}={stated}: this architecture has {count}; "
            f"correct conf/model/{model.name}.yaml, or give the model another name"
        )


def _write_pretrained(auto_class: str, model: Model, folder: Path) -> Mapping[str, Any]:
    revision = model.revision or "main"
    try:
        config = transformers.AutoConfig.from_pretrained(model.hub_id, revision=revision)
        kind = network_class(auto_class, config)
        network = kind.from_pretrained(model.hub_id, revision=revision).eval()
    except OSError as error:
        raise Unavailable(
            f"weights=pretrained: {model.hub_id}@{revision} is neither on this host nor to be had from "
            f"the hub: `hf download {model.hub_id}` where there is a network, or weights=FOLDER"
        ) from error
    network.save_pretrained(folder)
    _write_processors(model.hub_id, revision, folder)
    return {"parameters": network.num_parameters(), "commit": getattr(network.config, "_commit_hash", None)}


def _write_processors(hub_id: str | None, revision: str, folder: Path) -> None:
    """Save beside a model what prepares its text and pictures, for `inputs=real`; not all have both."""
    for kind in (transformers.AutoTokenizer, transformers.AutoImageProcessor):
        with suppress(OSError, ValueError, KeyError):
            kind.from_pretrained(hub_id, revision=revision).save_pretrained(folder)


def read_network(auto_class: str, folder: Path) -> torch.nn.Module:
    """Return the model in `folder` as its library has it, weights memory-mapped, in fp32 and eval mode."""
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    kind = network_class(auto_class, config)
    return kind.from_pretrained(folder, local_files_only=True).float().eval()


def read_module(
    auto_class: str, folder: Path, input_names: Sequence[str], output_names: Sequence[str], **constants: Any
) -> Positional:
    """Return the same, taking positional tensors; `constants` are arguments that never change."""
    network = read_network(auto_class, folder)
    return Positional(network, input_names, output_names, **constants).eval()  # type: ignore[no-any-return]


def read_inputs(workload: Workload, dtype: Dtype = "fp32") -> tuple[torch.Tensor, ...]:
    """Return the workload's inputs in the module's order, on its device, real numbers in `dtype`."""
    assert workload.reference is not None  # noqa: S101 - simulated workloads never come here
    stored = load_file(workload.reference / "inputs.safetensors", device=workload.torch_device)
    inputs = (stored[name] for name in workload.input_names)
    return tuple(
        tensor.to(numerics.TYPES[dtype]) if tensor.is_floating_point() else tensor for tensor in inputs
    )


def inference_session(
    model: Callable[..., Sequence[torch.Tensor]], inputs: tuple[torch.Tensor, ...], arithmetic: Arithmetic
) -> Session:
    """Return a session that calls `model` under inference mode."""

    def call(*tensors: torch.Tensor) -> Sequence[torch.Tensor]:
        with torch.inference_mode():
            return model(*tensors)

    return Session(run=lambda: call(*inputs), call=call, arithmetic=arithmetic, inputs=inputs)
