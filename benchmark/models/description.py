"""What transformers says about a model: its configuration, parameters, inputs. For the verb `model`.

Nothing is downloaded but a configuration, and networks are built without memory (torch's meta device).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmark.errors import ConfigError
from benchmark.models import architectures, convnets, networks
from benchmark.protocols import Task
from benchmark.records import Model, Shape
from benchmark.spelling import did_you_mean

_MOST_PARAMETERS = 50_000_000
"""Networks with more aren't called: they would take memory and seconds."""


def quiet() -> None:
    """Keep the library's warnings about configurations away from the answer of a verb."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # the calls are tiny
    transformers.logging.set_verbosity(logging.ERROR)
    convnets.register()


def read_configuration(source: str, revision: str | None) -> Any:
    """The configuration in a local folder, or of a repository of the hub.

    Raises:
        ConfigError: there is none, or transformers doesn't know it.
    """
    folder = Path(source)
    _refuse_folder(folder, source)
    local = folder.is_dir()
    hint = f"{source}: transformers can't read its config.json"
    advice = "code from the hub isn't run; is the architecture newer than the installed transformers?"
    with networks.explained(hint, advice):
        try:
            return transformers.AutoConfig.from_pretrained(
                source, revision=revision or "main", local_files_only=local, trust_remote_code=False
            )
        except OSError as error:
            reason = " ".join(str(error).split())[:160]
            raise ConfigError(
                f"{source}: there is no such folder here, and the hub gives no config.json of that name "
                f"({reason}): download config.json into a folder, and name the folder"
            ) from error


def _refuse_folder(folder: Path, source: str) -> None:
    """Refuse a folder without a configuration, by what it has instead."""
    if (folder / "model_index.json").is_file():
        raise ConfigError(
            f"{source}: is a pipeline of diffusers: its networks are listed one by one in a YAML: copy "
            "conf/model/sd_tiny.yaml, and take the numbers from the config.json of each sub-folder"
        )
    if not folder.is_dir() or (folder / "config.json").is_file():
        return
    inside = " or ".join(str(file.parent) for file in sorted(folder.glob("*/config.json"))[:3])
    raise ConfigError(
        f"{source}: has no config.json: " + (f"use {inside}" if inside else "name another folder")
    )


def default_configuration(model_type: str) -> Any:
    """The default configuration of an architecture.

    Raises:
        ConfigError: transformers has no such architecture, or it has no defaults.
    """
    if model_type not in transformers.CONFIG_MAPPING:
        hint = did_you_mean(model_type, architectures.names()) or "is it newer than this version?"
        raise ConfigError(f"--architecture {model_type}: transformers has no such architecture; {hint}")
    with networks.explained(
        f"--architecture {model_type}: has no default configuration", "name a folder or a hub id instead"
    ):
        return transformers.AutoConfig.for_model(model_type)


def parameters(auto_class: str, model: Model) -> int:
    """Parameters of the model with this class, counted without memory."""
    config = networks.configuration(model)
    kind = networks.network_class(auto_class, config)
    what = f"a {config.model_type} ({kind.__name__}) can't be built"
    with networks.refused(what), torch.device("meta"):
        return int(kind._from_config(config).num_parameters())  # noqa: SLF001 - from_config, of a class


def call(auto_class: str, model: Model, inputs: Mapping[str, Any]) -> None:
    """Build the network with random weights, and call it once.

    Raises:
        ConfigError: it can't be built, or not be called with these inputs.
        LibraryMissing: it needs a library that isn't installed.
    """
    config = networks.configuration(model)
    kind = networks.network_class(auto_class, config)
    what = f"a {config.model_type} ({kind.__name__})"
    if (size := parameters(auto_class, model)) > _MOST_PARAMETERS:
        raise ConfigError(f"{what} is too large to be tried: {size} parameters")
    with networks.refused(f"{what} can't be built"):
        network = kind._from_config(config).eval()  # noqa: SLF001 - from_config, of a class
    known = networks.taken(network, inputs)
    others = architectures.unfed(model.architecture, auto_class, known)
    without = networks.without_memory(network)
    with networks.refused(f"{what} can't be called with {', '.join(known)}{others}"), torch.inference_mode():
        network(**{name: inputs[name] for name in known}, **without)


def configuration(model: Model) -> Any:
    """The configuration of a model's architecture.

    Raises:
        ConfigError: transformers refuses it.
    """
    return networks.configuration(model)


def inputs(task: Task, model: Model, shape: Shape) -> list[dict[str, Any]]:
    """Name, shape and dtype of every input of one call."""
    given = task.inputs(model, shape, 0)
    return [
        {"name": name, "dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
        for name, tensor in given.items()
    ]


def pipeline_parameters(model: Model) -> int:
    """Parameters of the networks of a pipeline of diffusers."""
    from benchmark.models import diffusion

    with networks.refused(f"model={model.name}: its networks can't be built"), torch.device("meta"):
        return diffusion.parameters(model)
