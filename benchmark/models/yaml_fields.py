"""The fields of a transformers configuration that a model's YAML has to state: those that aren't defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import transformers
from transformers import PreTrainedConfig

from benchmark.models import networks
from benchmark.records import Model

_NOT_ARCHITECTURE = frozenset({
    "_attn_implementation", "_commit_hash", "_name_or_path", "architectures", "auto_map", "dtype", "id2label",
    "label2id", "model_type", "problem_type", "quantization_config", "task_specific_params", "torch_dtype",
    "transformers_version",
})  # fmt: skip
"""Keys of a configuration that change neither weights nor operations of an fp32 model."""


def architecture_of(config: Any) -> dict[str, Any]:
    """`model_type` and the fewest fields from which the same configuration is built again."""
    whole = full(config)
    fields = _differing(config)
    for name in list(fields):
        rest = {key: value for key, value in fields.items() if key != name}
        if _builds(config.model_type, rest, whole):
            fields = rest
    return {"model_type": config.model_type, **fields}


def of_part(config: Any) -> dict[str, Any]:
    """The fields of a nested configuration; all of them where it has no `model_type` of its own."""
    return architecture_of(config) if config.model_type in transformers.CONFIG_MAPPING else full(config)


def full(config: Any) -> dict[str, Any]:
    """Every field that is part of the architecture, as plain values; the labels as their number."""
    fields = {
        name: value
        for name, value in config.to_dict().items()
        if name not in _NOT_ARCHITECTURE and name[0] != "_"
    }
    if "id2label" in config.to_dict() or config.num_labels != PreTrainedConfig().num_labels:
        fields["num_labels"] = config.num_labels
    return fields


def nested(config: Any) -> dict[str, Any]:
    """The configurations inside this one, by the name of their field."""
    inner = ((name, getattr(config, name, None)) for name in type(config).sub_configs)
    return {name: value for name, value in inner if isinstance(value, PreTrainedConfig)}


def _differing(config: Any) -> dict[str, Any]:
    """Fields whose values aren't the defaults of their class."""
    inner, default = nested(config), {}
    try:
        default = full(type(config)())
    except Exception:  # noqa: BLE001 - a class without defaults, such as a pair of encoder and decoder
        default = {}
    missing = object()
    return {
        name: of_part(inner[name]) if name in inner else value
        for name, value in full(config).items()
        if default.get(name, missing) != value
    }


def _builds(model_type: str, fields: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    try:
        made = networks.configuration(Model(name="twin", architecture={"model_type": model_type, **fields}))
    except Exception:  # noqa: BLE001 - of any configuration class: then the field is needed
        return False
    return full(made) == expected
